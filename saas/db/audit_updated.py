"""The audit trigger of an UPDATE, which is by statement (docs/decisions/0004)."""

from saas.db.audit_many_updated import MANY_UPDATED
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

# Few rows one after another; from twenty on by statements that name the table's columns, which take
# less for each row, and a millisecond to be made and planned.
# unscoped: the body of a trigger; tenant_id comes from the row that it fires for
UPDATED = f"""DECLARE
  who text := {ACTOR};
  seen integer := (SELECT count(*) FROM changed_to);
  olds refcursor; o record; n record;
  was jsonb; is_now jsonb; before jsonb; after jsonb; same text[]; done text; sent bytea;
  bytes integer; live integer; active integer;
BEGIN
  {UNLESS_IMPORTED}
  IF seen >= 20 THEN
    {MANY_UPDATED}
  END IF;
  -- Both sets are in the order of the changes. A row is in them twice where foreign keys of it were
  -- set to null by the same statement.
  OPEN olds FOR SELECT * FROM changed_from;
  FOR n IN SELECT * FROM changed_to LOOP
    FETCH olds INTO o;
    IF o.tenant_id IS DISTINCT FROM n.tenant_id OR o.id IS DISTINCT FROM n.id THEN
      -- Nobody's log would tell what became of the row.
      RAISE integrity_constraint_violation
        USING MESSAGE = format('A row of %s keeps its tenant_id and its id.', TG_ARGV[0]);
    END IF;
    was := to_jsonb(o);
    is_now := to_jsonb(n);
    sent := record_send(n);
    bytes := {BYTES.format("sent")};
    sent := record_send(o);
    bytes := bytes - {BYTES.format("sent")};
    live := (is_now ->> 'deleted_at' IS NULL)::integer - (was ->> 'deleted_at' IS NULL)::integer;
    active := ({ACTIVE.format("is_now")})::integer
      - ({ACTIVE.format("was")})::integer;
    {CHANGED}
    CONTINUE WHEN done = '' AND bytes = 0;
    {USAGE}
    VALUES (
      n.tenant_id, now(), TG_ARGV[0], who, 0, (done IN ('update', 'restore'))::integer,
      (done = 'soft_delete')::integer, live, active, -live, bytes);
    CONTINUE WHEN done = '';
    {LOG}
    VALUES (
      n.tenant_id, now(), who, {REQUEST}, {IP}, done, TG_ARGV[0], n.id,
      jsonb_build_object('old', before, 'new', after));
  END LOOP;
  -- Else it stays open until the transaction ends.
  CLOSE olds;
  RETURN NULL;
END"""
