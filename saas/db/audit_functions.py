"""The trigger functions that write the audit log, and beside it what each change adds to the
tenant's usage. Migrations hold this text literally.

They run as the owner (SECURITY DEFINER), so the app role needs no right to write the log; the owner
is bound by the same policy (FORCE), so even it cannot write into another tenant's log. The first
trigger argument is the entity's name (on Citus TG_TABLE_NAME names the shard), the others are the
columns whose values must not appear in the log.
"""

from saas.db.definer_functions import DefinerFunction
from saas.db.roles import PLATFORM

# An import brings a tenant's log along, and the log of the moved rows must not say that they are
# new. Two steps, so that everybody else pays for one comparison. Who may be silent, and why nobody
# else can, is in `restore_functions.py`.
_UNLESS_IMPORTED = f"""IF session_user = '{PLATFORM}' THEN
    IF public.is_importing() THEN RETURN NULL; END IF;
  END IF;"""

# A row's size: its values in PostgreSQL's binary form. Unlike what lies on disk it follows from the
# values alone, so that adding up what changes gives what counting all rows gives. Without what the
# form says of each column, so that one more column without a value is nothing more.
BYTES = "(octet_length({0}) - 4 - 8 * (256 * get_byte({0}, 2) + get_byte({0}, 3)))"
# Types whose binary form is as long as what a row holds.
_OF_ONE_SIZE = "{bool,int2,int4,int8,float4,float8,uuid,date,time,timestamp,timestamptz,interval}"
_ACTIVE = """{0} ->> 'deleted_at' IS NULL AND {0} ->> 'revoked_at' IS NULL
      AND {0} -> 'is_active' IS DISTINCT FROM 'false'"""
_ACTOR = "coalesce(nullif(current_setting('app.actor', true), ''), 'role:' || session_user)"
_REQUEST = "nullif(current_setting('app.request_id', true), '')"
_IP = "nullif(current_setting('app.ip', true), '')"
# unscoped: a part of the bodies below; tenant_id comes from the rows that they fire for
_LOG = """INSERT INTO public.audit_log
    (tenant_id, at, actor, request_id, ip, action, entity, entity_id, changes)"""
_USAGE = """INSERT INTO public.usage_changes
    (tenant, at, entity, actor, created, updated, deleted, live, active, removed, bytes)"""

# `changes` is {"old": {…}, "new": {…}}: the whole row for an insert or a delete, the changed
# columns for an update. version, updated_at and updated_by follow from any change; alone they are
# none. The row's own key stands in the entry.
# unscoped: the body of a trigger; tenant_id comes from the row that it fires for
_ROW = f"""DECLARE
  was jsonb; is_now jsonb; before jsonb; after jsonb; masked text; sent bytea;
  done text := lower(TG_OP);
  who text := {_ACTOR};
  bytes integer := 0; live integer := 0; active integer := 0; held integer := 0;
BEGIN
  {_UNLESS_IMPORTED}
  IF TG_OP <> 'INSERT' THEN
    was := to_jsonb(old);
    sent := record_send(old);
    bytes := -{BYTES.format("sent")};
    live := -(was ->> 'deleted_at' IS NULL)::integer;
    active := -({_ACTIVE.format("was")})::integer;
    held := -1;
  END IF;
  IF TG_OP <> 'DELETE' THEN
    is_now := to_jsonb(new);
    sent := record_send(new);
    bytes := bytes + {BYTES.format("sent")};
    live := live + (is_now ->> 'deleted_at' IS NULL)::integer;
    active := active + ({_ACTIVE.format("is_now")})::integer;
    held := held + 1;
  END IF;
  IF TG_OP = 'UPDATE' THEN
    SELECT jsonb_object_agg(c.key, was -> c.key), jsonb_object_agg(c.key, c.value)
      INTO before, after
      FROM jsonb_each(is_now) AS c
      WHERE c.value IS DISTINCT FROM was -> c.key
        AND c.key <> ALL ('{{version,updated_at,updated_by}}');
    IF after IS NULL THEN
      IF bytes = 0 THEN RETURN NULL; END IF;
      done := '';
    ELSIF after ? 'deleted_at' THEN
      done := CASE WHEN was ->> 'deleted_at' IS NULL THEN 'soft_delete' ELSE 'restore' END;
    END IF;
  ELSE
    before := was - '{{tenant_id,id}}'::text[];
    after := is_now - '{{tenant_id,id}}'::text[];
  END IF;
  is_now := coalesce(is_now, was);
  -- The row of the tenant itself is none of those that it has.
  IF is_now ? 'tenant_id' THEN
    {_USAGE}
    VALUES (
      (is_now ->> 'tenant_id')::uuid, now(), TG_ARGV[0], who,
      (done = 'insert')::integer, (done IN ('update', 'restore'))::integer,
      (done IN ('delete', 'soft_delete'))::integer, live, active, held - live, bytes);
  END IF;
  IF done = '' THEN RETURN NULL; END IF;
  FOREACH masked IN ARRAY TG_ARGV[1:] LOOP
    before := jsonb_set(before, ARRAY[masked], '"***"', false);
    after := jsonb_set(after, ARRAY[masked], '"***"', false);
  END LOOP;
  {_LOG}
  VALUES (
    coalesce(is_now ->> 'tenant_id', is_now ->> 'id')::uuid, now(), who, {_REQUEST}, {_IP},
    done, TG_ARGV[0], (is_now ->> 'id')::uuid,
    jsonb_build_object('old', before, 'new', after));
  RETURN NULL;
END"""

# All rows of one INSERT at once; one row by statements of VALUES, which take half the time of those
# for a set. From fifty rows on by a statement that names the table's columns, which takes half the
# time of one that does not know them. A row to which nothing but this INSERT has happened is logged
# without its version, authors and times: `is_new` says that they follow from the entry
# (`AuditEntry`). The ids of the entries count up from a random one (RFC 9562, 6.2, method 2), for
# each uuidv7() asks the system for random bytes. See docs/decisions/0004.
# unscoped: the body of a trigger; tenant_id comes from the row that it fires for
_INSERTED = f"""DECLARE
  stamps CONSTANT name[] :=
    '{{version,created_at,created_by,updated_at,updated_by,deleted_at,deleted_by}}';
  who text := {_ACTOR};
  r record;
  seen integer := 0;
  is_now jsonb; sent bytea; live integer; active integer;
  own text; are_active text; size text;
  first_id text;
BEGIN
  {_UNLESS_IMPORTED}
  FOR r IN SELECT * FROM inserted LIMIT 2 LOOP
    seen := seen + 1;
  END LOOP;
  IF seen = 1 THEN
    is_now := to_jsonb(r);
    sent := record_send(r);
    live := (is_now ->> 'deleted_at' IS NULL)::integer;
    active := ({_ACTIVE.format("is_now")})::integer;
    {_USAGE}
    VALUES (
      r.tenant_id, now(), TG_ARGV[0], who, 1, 0, 0, live, active, 1 - live,
      {BYTES.format("sent")});
    {_LOG}
    VALUES (
      r.tenant_id, now(), who, {_REQUEST}, {_IP}, 'insert', TG_ARGV[0], r.id,
      jsonb_build_object('old', NULL, 'new', is_now - '{{tenant_id,id}}'::text[]));
    RETURN NULL;
  END IF;
  IF EXISTS (SELECT FROM inserted OFFSET 49) THEN
    SELECT string_agg(format('%L, r.%I', attname, attname), ', ')
        FILTER (WHERE attname <> ALL (stamps || '{{tenant_id,id}}')),
      concat('r.deleted_at IS NULL',
        max(' AND r.is_active IS NOT FALSE')
          FILTER (WHERE attname = 'is_active' AND atttypid = 'boolean'::regtype),
        max(' AND r.revoked_at IS NULL') FILTER (WHERE attname = 'revoked_at')),
      string_agg(format(
        CASE
          WHEN typname = ANY ('{_OF_ONE_SIZE}') THEN 'CASE WHEN r.%2$I IS NULL THEN 0 ELSE %3$s END'
          WHEN typname = ANY ('{{text,varchar,bytea}}') THEN 'coalesce(octet_length(r.%2$I), 0)'
          ELSE 'coalesce(octet_length(%1$s(r.%2$I)), 0)' END,
        typsend, attname, attlen), ' + ')
      INTO own, are_active, size
      FROM pg_attribute JOIN pg_type AS t ON t.oid = atttypid
      WHERE attrelid = TG_RELID AND attnum > 0 AND NOT attisdropped
      -- A table without them has no such short form. jsonb_build_object takes fifty columns.
      HAVING count(*) FILTER (WHERE attname = ANY (stamps)) = 7 AND count(*) <= 59;
  END IF;
  IF own IS NOT NULL THEN
    first_id := uuidv7();
    EXECUTE format($sql$
      WITH logged AS (
        INSERT INTO public.audit_log
          (tenant_id, id, at, actor, request_id, ip, action, entity, entity_id, changes)
        SELECT r.tenant_id, ($1 || to_hex($2 + row_number() OVER ()))::uuid, now(), $3, $4, $5,
          'insert', $6, r.id,
          CASE WHEN r.version = 1 AND r.created_at = now() AND r.updated_at = now()
              AND r.created_by = $3 AND r.updated_by = $3
              AND r.deleted_at IS NULL AND r.deleted_by IS NULL
            THEN jsonb_build_object('is_new', true, 'old', NULL, 'new', jsonb_build_object(%s))
            ELSE jsonb_build_object('old', NULL,
              'new', to_jsonb(r.*) - '{{tenant_id,id}}'::text[]) END
        FROM inserted AS r)
      {_USAGE}
      SELECT r.tenant_id, now(), $6, $3, count(*), 0, 0,
        count(*) FILTER (WHERE r.deleted_at IS NULL), count(*) FILTER (WHERE %s),
        count(r.deleted_at), sum(%s)
      FROM inserted AS r
      GROUP BY r.tenant_id$sql$, own, are_active, size)
    USING left(first_id, 24),
      -- Twelve digits, also a million rows on.
      ('x' || right(first_id, 12))::bit(48)::bigint & x'3fffffffffff'::bigint
        | x'800000000000'::bigint,
      who, {_REQUEST}, {_IP}, TG_ARGV[0];
    RETURN NULL;
  END IF;
  WITH row AS MATERIALIZED (
    SELECT i.tenant_id, i.id, to_jsonb(i.*) AS "all", record_send(i.*) AS sent FROM inserted AS i
  ), logged AS (
    {_LOG}
    SELECT row.tenant_id, now(), who, {_REQUEST}, {_IP}, 'insert', TG_ARGV[0], row.id,
      jsonb_build_object('old', NULL, 'new', row."all" - '{{tenant_id,id}}'::text[])
    FROM row)
  {_USAGE}
  SELECT row.tenant_id, now(), TG_ARGV[0], who, count(*), 0, 0,
    count(*) FILTER (WHERE row."all" ->> 'deleted_at' IS NULL),
    count(*) FILTER (WHERE {_ACTIVE.format('row."all"')}),
    count(row."all" ->> 'deleted_at'), sum({BYTES.format("row.sent")})
  FROM row
  GROUP BY row.tenant_id;
  RETURN NULL;
END"""

AUDIT_FUNCTIONS = (DefinerFunction("audit_row", _ROW), DefinerFunction("audit_inserted", _INSERTED))
