"""The trigger functions that write the audit log, and beside it what each change adds to the
tenant's usage. Migrations hold this text literally.

They run as the owner (SECURITY DEFINER), so the app role needs no right to write the log; the owner
is bound by the same policy (FORCE), so even it cannot write into another tenant's log. The first
trigger argument is the entity's name (on Citus TG_TABLE_NAME names the shard), the others are the
columns whose values must not appear in the log.
"""

from saas.db.audit_inserted import INSERTED
from saas.db.audit_parts import (
    ACTIVE,
    ACTOR,
    BYTES,
    CHANGED,
    IP,
    LOG,
    REQUEST,
    UNLESS_IMPORTED,
    USAGE,
)
from saas.db.audit_updated import UPDATED
from saas.db.definer_functions import DefinerFunction

# `changes` is {"old": {…}, "new": {…}}: the whole row for an insert or a delete, the changed
# columns for an update. The row's own key stands in the entry.
# unscoped: the body of a trigger; tenant_id comes from the row that it fires for
_ROW = f"""DECLARE
  was jsonb; is_now jsonb; before jsonb; after jsonb; same text[]; masked text; sent bytea;
  done text := lower(TG_OP);
  who text := {ACTOR};
  bytes integer := 0; live integer := 0; active integer := 0; held integer := 0;
BEGIN
  {UNLESS_IMPORTED}
  IF TG_OP <> 'INSERT' THEN
    was := to_jsonb(old);
    sent := record_send(old);
    bytes := -{BYTES.format("sent")};
    live := -(was ->> 'deleted_at' IS NULL)::integer;
    active := -({ACTIVE.format("was")})::integer;
    held := -1;
  END IF;
  IF TG_OP <> 'DELETE' THEN
    is_now := to_jsonb(new);
    sent := record_send(new);
    bytes := bytes + {BYTES.format("sent")};
    live := live + (is_now ->> 'deleted_at' IS NULL)::integer;
    active := active + ({ACTIVE.format("is_now")})::integer;
    held := held + 1;
  END IF;
  IF TG_OP = 'UPDATE' THEN
    {CHANGED}
    IF done = '' AND bytes = 0 THEN RETURN NULL; END IF;
  ELSE
    before := was - '{{tenant_id,id}}'::text[];
    after := is_now - '{{tenant_id,id}}'::text[];
  END IF;
  is_now := coalesce(is_now, was);
  -- The row of the tenant itself is none of those that it has.
  IF is_now ? 'tenant_id' THEN
    {USAGE}
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
  {LOG}
  VALUES (
    coalesce(is_now ->> 'tenant_id', is_now ->> 'id')::uuid, now(), who, {REQUEST}, {IP},
    done, TG_ARGV[0], (is_now ->> 'id')::uuid,
    jsonb_build_object('old', before, 'new', after));
  RETURN NULL;
END"""

AUDIT_FUNCTIONS = (
    DefinerFunction("audit_row", _ROW),
    DefinerFunction("audit_inserted", INSERTED),
    # PostgreSQL knows nothing about the rows of a statement, and would sort them by two keys.
    DefinerFunction("audit_updated", UPDATED, settings=(("enable_mergejoin", "off"),)),
)
