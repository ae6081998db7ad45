"""The audit trigger of an UPDATE, which is by statement (docs/decisions/0004)."""

from saas.db.audit_parts import (
    ACTIVE,
    ACTOR,
    ARE_ACTIVE,
    BYTES,
    CHANGED,
    COLUMNS,
    COUNTED_ID,
    DONE,
    HALVES_OF_FIRST_ID,
    IP,
    LOG,
    OF_ONE_SIZE,
    REQUEST,
    SIZES,
    UNLESS_IMPORTED,
    USAGE,
)

# Nobody's log would tell what became of the row.
_REKEYED = """RAISE integrity_constraint_violation
        USING MESSAGE = format('A row of %s keeps its tenant_id and its id.', TG_ARGV[0]);"""

# Few rows one after another; from twenty on by a statement that names the table's columns, which
# takes a third of the time for each row and half a millisecond to be made and planned. Same is what
# the log shows alike: a day is not 24 hours, and text in a collation without case is compared by
# its letters.
# unscoped: the body of a trigger; tenant_id comes from the row that it fires for
UPDATED = f"""DECLARE
  stamps CONSTANT name[] := '{{tenant_id,id,version,updated_at,updated_by}}';
  who text := {ACTOR};
  olds refcursor; o record; n record;
  was jsonb; is_now jsonb; before jsonb; after jsonb; same text[]; done text; sent bytea;
  bytes integer; live integer; active integer;
  is_set boolean := EXISTS (SELECT FROM changed_to OFFSET 19);
  own text; size text; are_live text; are_active text; are_same text;
  first_id text; matched bigint;
BEGIN
  {UNLESS_IMPORTED}
  IF is_set THEN
    is_set := NOT EXISTS (SELECT FROM changed_to GROUP BY tenant_id, id HAVING count(*) > 1);
  END IF;
  IF is_set THEN
    SELECT
      -- jsonb_build_object takes fifty columns.
      CASE WHEN count(*) FILTER (WHERE attname <> ALL (stamps)) <= 50
        THEN format('jsonb_build_object(%s)', string_agg(format('%L, r.%I', attname, attname), ', ')
          FILTER (WHERE attname <> ALL (stamps)))
        ELSE format('to_jsonb(r.*) - %L::text[]', stamps) END,
      {SIZES},
      concat('true', max(' AND r.deleted_at IS NULL') FILTER (WHERE attname = 'deleted_at')),
      concat('true', max(' AND r.deleted_at IS NULL') FILTER (WHERE attname = 'deleted_at'),
        {ARE_ACTIVE}),
      string_agg(format('CASE WHEN ' ||
        CASE
          WHEN atttypid = 'interval'::regtype THEN 'o.%1$I::text IS NOT DISTINCT FROM n.%1$I::text'
          WHEN atttypid = ANY ('{OF_ONE_SIZE}'::regtype[])
            THEN 'o.%1$I IS NOT DISTINCT FROM n.%1$I'
          WHEN atttypid = ANY ('{{text,varchar}}'::regtype[])
            THEN 'o.%1$I COLLATE "C" IS NOT DISTINCT FROM n.%1$I COLLATE "C"'
          ELSE $$coalesce(to_jsonb(o.%1$I), 'null') = coalesce(to_jsonb(n.%1$I), 'null')$$ END ||
        ' THEN %1$L END', attname), ', ') FILTER (WHERE attname <> ALL (stamps))
      INTO own, size, are_live, are_active, are_same
      {COLUMNS};
    first_id := uuidv7();
    EXECUTE format($sql$
      WITH changed AS MATERIALIZED (
        SELECT c.*, {DONE.format("c.after", "c.was_live = 0")} AS done
        FROM (
          SELECT o.tenant_id, o.id, was."all" - same.columns AS before,
            is_now."all" - same.columns AS after, was.live AS was_live,
            is_now.live - was.live AS live, is_now.active - was.active AS active,
            is_now.size - was.size AS bytes
          FROM changed_from AS o JOIN changed_to AS n USING (tenant_id, id)
            CROSS JOIN LATERAL (
              SELECT %1$s AS "all", %2$s AS size, (%3$s)::integer AS live, (%4$s)::integer AS active
              FROM (SELECT o.*) AS r) AS was
            CROSS JOIN LATERAL (
              SELECT %1$s AS "all", %2$s AS size, (%3$s)::integer AS live, (%4$s)::integer AS active
              FROM (SELECT n.*) AS r) AS is_now
            CROSS JOIN LATERAL (SELECT ARRAY[%5$s]::text[] AS columns OFFSET 0) AS same
          OFFSET 0) AS c
      ), logged AS (
        INSERT INTO public.audit_log
          (tenant_id, id, at, actor, request_id, ip, action, entity, entity_id, changes)
        SELECT c.tenant_id, {COUNTED_ID}, now(), $3, $4, $5, c.done, $6, c.id,
          jsonb_build_object('old', c.before, 'new', c.after)
        FROM changed AS c WHERE c.done <> ''
      ), counted AS (
        {USAGE}
        SELECT c.tenant_id, now(), $6, $3, 0,
          count(*) FILTER (WHERE c.done IN ('update', 'restore')),
          count(*) FILTER (WHERE c.done = 'soft_delete'),
          sum(c.live), sum(c.active), -sum(c.live), sum(c.bytes)
        FROM changed AS c
        GROUP BY c.tenant_id
        HAVING bool_or(c.done <> '' OR c.bytes <> 0))
      SELECT count(*) FROM changed$sql$,
      own, size, are_live, are_active, are_same)
    INTO matched
    USING {HALVES_OF_FIRST_ID},
      who, {REQUEST}, {IP}, TG_ARGV[0];
    -- Not by a join of its own: a plan that was made for twenty rows would be kept for thousands.
    IF matched <> (SELECT count(*) FROM changed_to) THEN
      {_REKEYED}
    END IF;
    RETURN NULL;
  END IF;
  -- Both sets are in the order of the changes. A row is in them twice where foreign keys of it were
  -- set to null by the same statement.
  OPEN olds FOR SELECT * FROM changed_from;
  FOR n IN SELECT * FROM changed_to LOOP
    FETCH olds INTO o;
    IF o.tenant_id IS DISTINCT FROM n.tenant_id OR o.id IS DISTINCT FROM n.id THEN
      {_REKEYED}
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
