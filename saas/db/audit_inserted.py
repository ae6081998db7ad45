"""The audit trigger of an INSERT, which is by statement (docs/decisions/0004)."""

from saas.db.audit_parts import (
    ACTIVE,
    ACTOR,
    ARE_ACTIVE,
    BYTES,
    COLUMNS,
    HALVES_OF_FIRST_ID,
    IP,
    LOG,
    REQUEST,
    SET_BYTES,
    SET_SIZE,
    SIZES,
    UNLESS_IMPORTED,
    USAGE,
)

# All rows of one INSERT at once; one row by statements of VALUES, which take half the time of those
# for a set. From fifty rows on, by the hundred in `audit_sets`, in the order of their ids, with a
# statement that names the columns of the table; of wide rows fewer, for a set is read as a whole. A
# row to which nothing but this INSERT has happened is there without its version, authors and times,
# which follow from the set (`AuditEntry`).
# One by one go rows whose ids tell no time, for a row's set is found by the range of its ids; and
# those of a statement that is not bound to their tenant, as of a migration, which may have opened
# the log alone.
# unscoped: the body of a trigger; tenant_id comes from the row that it fires for
INSERTED = f"""#variable_conflict use_variable
DECLARE
  stamps CONSTANT name[] :=
    '{{version,created_at,created_by,updated_at,updated_by,deleted_at,deleted_by}}';
  who text := {ACTOR};
  r record;
  seen integer := 0;
  is_now jsonb; sent bytea; live integer; active integer;
  own text; are_active text; size text;
  bound uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;
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
  IF EXISTS (SELECT FROM inserted OFFSET 49) AND NOT EXISTS (
    SELECT FROM inserted AS i
    WHERE (i.tenant_id = bound AND uuid_extract_version(i.id) = 7) IS NOT TRUE
  ) THEN
    SELECT string_agg(format('%L, r.%I', attname, attname), ', ')
        FILTER (WHERE attname <> ALL (stamps || '{{tenant_id,id}}')),
      concat('r.deleted_at IS NULL',
        {ARE_ACTIVE}),
      {SIZES}
      INTO own, are_active, size
      {COLUMNS}
      -- A table without them has no such short form. jsonb_build_object takes fifty columns.
      HAVING count(*) FILTER (WHERE attname = ANY (stamps)) = 7 AND count(*) <= 58;
  END IF;
  IF own IS NOT NULL THEN
    first_id := uuidv7();
    EXECUTE format($sql$
      WITH placed AS (
        SELECT r.*, row_number() OVER ids - 1 AS "place in the statement",
          sum(%3$s) OVER ids AS "bytes up to here"
        FROM inserted AS r
        WINDOW ids AS (ORDER BY r.id)
      ), sets AS MATERIALIZED (
        SELECT min(r."place in the statement") AS place, count(*)::integer AS size,
          array_agg(r.id ORDER BY r.id) AS ids,
          jsonb_agg(
            CASE WHEN r.version = 1 AND r.created_at = now() AND r.updated_at = now()
                AND r.created_by = $4 AND r.updated_by = $4
                AND r.deleted_at IS NULL AND r.deleted_by IS NULL
              THEN jsonb_build_object('id', r.id, %1$s)
              ELSE to_jsonb(r.*) - '{{tenant_id,place in the statement,bytes up to here}}'::text[]
            END ORDER BY r.id) AS rows,
          count(*) FILTER (WHERE r.deleted_at IS NULL) AS live,
          count(*) FILTER (WHERE %2$s) AS active, count(r.deleted_at) AS removed, sum(%3$s) AS bytes
        FROM placed AS r
        GROUP BY r."place in the statement" / {SET_SIZE}, r."bytes up to here" / {SET_BYTES}
      ), logged AS (
        INSERT INTO public.audit_sets
          (tenant_id, id, at, actor, request_id, ip, entity, size, first_id, last_id, rows)
        SELECT $3, ($1 || to_hex($2 + s.place))::uuid,
          now(), $4, $5, $6, $7, s.size, s.ids[1], s.ids[s.size], s.rows
        FROM sets AS s)
      {USAGE}
      SELECT $3, now(), $7, $4, sum(s.size), 0, 0, sum(s.live), sum(s.active), sum(s.removed),
        sum(s.bytes)
      FROM sets AS s$sql$, own, are_active, size)
    USING {HALVES_OF_FIRST_ID},
      bound, who, {REQUEST}, {IP}, TG_ARGV[0];
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
