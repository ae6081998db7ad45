"""The audit trigger of an INSERT, which is by statement (docs/decisions/0004)."""

from saas.db.audit_parts import (
    ACTIVE,
    ACTOR,
    ARE_ACTIVE,
    BYTES,
    COLUMNS,
    COUNTED_ID,
    HALVES_OF_FIRST_ID,
    IP,
    LOG,
    REQUEST,
    SIZES,
    UNLESS_IMPORTED,
    USAGE,
)

# All rows of one INSERT at once; one row by statements of VALUES, which take half the time of those
# for a set. From fifty rows on by a statement that names the table's columns, which takes half the
# time of one that does not know them. A row to which nothing but this INSERT has happened is logged
# without its version, authors and times: `is_new` says that they follow from the entry
# (`AuditEntry`).
# unscoped: the body of a trigger; tenant_id comes from the row that it fires for
INSERTED = f"""DECLARE
  stamps CONSTANT name[] :=
    '{{version,created_at,created_by,updated_at,updated_by,deleted_at,deleted_by}}';
  who text := {ACTOR};
  r record;
  seen integer := 0;
  is_now jsonb; sent bytea; live integer; active integer;
  own text; are_active text; size text;
  first_id text;
BEGIN
  {UNLESS_IMPORTED}
  FOR r IN SELECT * FROM inserted LIMIT 2 LOOP
    seen := seen + 1;
  END LOOP;
  IF seen = 1 THEN
    is_now := to_jsonb(r);
    sent := record_send(r);
    live := (is_now ->> 'deleted_at' IS NULL)::integer;
    active := ({ACTIVE.format("is_now")})::integer;
    {USAGE}
    VALUES (
      r.tenant_id, now(), TG_ARGV[0], who, 1, 0, 0, live, active, 1 - live,
      {BYTES.format("sent")});
    {LOG}
    VALUES (
      r.tenant_id, now(), who, {REQUEST}, {IP}, 'insert', TG_ARGV[0], r.id,
      jsonb_build_object('old', NULL, 'new', is_now - '{{tenant_id,id}}'::text[]));
    RETURN NULL;
  END IF;
  IF EXISTS (SELECT FROM inserted OFFSET 49) THEN
    SELECT string_agg(format('%L, r.%I', attname, attname), ', ')
        FILTER (WHERE attname <> ALL (stamps || '{{tenant_id,id}}')),
      concat('r.deleted_at IS NULL',
        {ARE_ACTIVE}),
      {SIZES}
      INTO own, are_active, size
      {COLUMNS}
      -- A table without them has no such short form. jsonb_build_object takes fifty columns.
      HAVING count(*) FILTER (WHERE attname = ANY (stamps)) = 7 AND count(*) <= 59;
  END IF;
  IF own IS NOT NULL THEN
    first_id := uuidv7();
    EXECUTE format($sql$
      WITH logged AS (
        INSERT INTO public.audit_log
          (tenant_id, id, at, actor, request_id, ip, action, entity, entity_id, changes)
        SELECT r.tenant_id, {COUNTED_ID}, now(), $3, $4, $5,
          'insert', $6, r.id,
          CASE WHEN r.version = 1 AND r.created_at = now() AND r.updated_at = now()
              AND r.created_by = $3 AND r.updated_by = $3
              AND r.deleted_at IS NULL AND r.deleted_by IS NULL
            THEN jsonb_build_object('is_new', true, 'old', NULL, 'new', jsonb_build_object(%s))
            ELSE jsonb_build_object('old', NULL,
              'new', to_jsonb(r.*) - '{{tenant_id,id}}'::text[]) END
        FROM inserted AS r)
      {USAGE}
      SELECT r.tenant_id, now(), $6, $3, count(*), 0, 0,
        count(*) FILTER (WHERE r.deleted_at IS NULL), count(*) FILTER (WHERE %s),
        count(r.deleted_at), sum(%s)
      FROM inserted AS r
      GROUP BY r.tenant_id$sql$, own, are_active, size)
    USING {HALVES_OF_FIRST_ID},
      who, {REQUEST}, {IP}, TG_ARGV[0];
    RETURN NULL;
  END IF;
  WITH row AS MATERIALIZED (
    SELECT i.tenant_id, i.id, to_jsonb(i.*) AS "all", record_send(i.*) AS sent FROM inserted AS i
  ), logged AS (
    {LOG}
    SELECT row.tenant_id, now(), who, {REQUEST}, {IP}, 'insert', TG_ARGV[0], row.id,
      jsonb_build_object('old', NULL, 'new', row."all" - '{{tenant_id,id}}'::text[])
    FROM row)
  {USAGE}
  SELECT row.tenant_id, now(), TG_ARGV[0], who, count(*), 0, 0,
    count(*) FILTER (WHERE row."all" ->> 'deleted_at' IS NULL),
    count(*) FILTER (WHERE {ACTIVE.format('row."all"')}),
    count(row."all" ->> 'deleted_at'), sum({BYTES.format("row.sent")})
  FROM row
  GROUP BY row.tenant_id;
  RETURN NULL;
END"""
