"""The audit trigger of an INSERT, which is by statement (docs/decisions/0004)."""

from saas.db.audit_parts import (
    ACTIVE,
    ACTOR,
    BYTES,
    COLUMNS,
    GATHERER,
    HALVES_OF_FIRST_ID,
    IP,
    LOG,
    MOST_SET_BYTES,
    REQUEST,
    SET_BYTES,
    SET_SIZE,
    UNLESS_IMPORTED,
    USAGE,
    are_active,
    sizes_of_new,
)

_GATHERED = f"""format('%1$L, %2$s(r.%1$I ORDER BY r.id)', attname,
        {GATHERER})"""

# All rows of one INSERT at once; one row by statements of VALUES, which take half the time of those
# for a set. From fifty rows on, by the hundred in `audit_sets`, in the order of their ids, with a
# statement that names the columns of the table: the values of each column together, which takes
# less than half the time of an object for each row. Of wide rows sets have fewer, for they are read
# as a whole. Where nothing but this INSERT has happened to any of the rows, they are there without
# version, authors and times, which follow from the set (`AuditEntry`).
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
  own text; stamped text; are_active text; size text;
  bound uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;
  are_fit boolean; are_new boolean; removed bigint; bytes bigint;
  step integer; ids uuid[]; firsts uuid[];
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
    SELECT string_agg({_GATHERED}, ', ')
        FILTER (WHERE attname <> ALL (stamps || '{{tenant_id,id}}')),
      string_agg({_GATHERED}, ', ') FILTER (WHERE attname = ANY (stamps)),
      concat('r.deleted_at IS NULL',
        {are_active("r")}),
      {sizes_of_new("r")}
      INTO own, stamped, are_active, size
      {COLUMNS}
      -- What follows names them all. jsonb_build_object takes fifty columns.
      HAVING count(*) FILTER (WHERE attname = ANY (stamps)) = 7 AND count(*) <= 52;
  END IF;
  IF own IS NOT NULL THEN
    EXECUTE format($sql$
      SELECT bool_and((r.tenant_id = $1 AND uuid_extract_version(r.id) = 7) IS TRUE),
        bool_and((r.version = 1 AND r.created_at = now() AND r.updated_at = now()
          AND r.created_by = $2 AND r.updated_by = $2
          AND r.deleted_at IS NULL AND r.deleted_by IS NULL) IS TRUE),
        count(*), count(r.deleted_at), count(*) FILTER (WHERE %1$s), sum(%2$s)
      FROM inserted AS r$sql$, are_active, size)
    INTO are_fit, are_new, seen, removed, active, bytes
    USING bound, who;
  END IF;
  IF are_fit THEN
    {USAGE}
    VALUES (
      bound, now(), TG_ARGV[0], who, seen, 0, 0, seen - removed, active, removed, bytes);
    step := greatest(1, least({SET_SIZE}, {SET_BYTES} / (bytes / seen)));
    IF bytes > {MOST_SET_BYTES} THEN
      EXECUTE format($sql$
        SELECT greatest(1, least($1, {MOST_SET_BYTES} / max(%s))) FROM inserted AS r$sql$, size)
      INTO step USING step;
    END IF;
    ids := ARRAY(SELECT i.id FROM inserted AS i ORDER BY i.id);
    firsts := ARRAY(SELECT ids[n] FROM generate_series(1, seen, step) AS n);
    first_id := uuidv7();
    EXECUTE format($sql$
      INSERT INTO public.audit_sets
        (tenant_id, id, at, actor, request_id, ip, entity, size, first_id, last_id, ids, columns)
      SELECT $3, ($1 || to_hex($2 + (s.place - 1) * $9))::uuid, now(), $4, $5, $6, $7,
        cardinality(s.ids), s.ids[1], s.ids[cardinality(s.ids)], s.ids, s.columns
      FROM (
        SELECT width_bucket(r.id, $8) AS place, array_agg(r.id ORDER BY r.id) AS ids,
          jsonb_build_object(%s) AS columns
        FROM inserted AS r
        GROUP BY 1) AS s$sql$, concat_ws(', ', own, CASE WHEN NOT are_new THEN stamped END))
    USING {HALVES_OF_FIRST_ID},
      bound, who, {REQUEST}, {IP}, TG_ARGV[0], firsts, step;
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
