"""What the audit trigger of an UPDATE does about many rows (`audit_updated.py`)."""

from saas.db.audit_parts import (
    COLUMNS,
    COUNTED_ID,
    GATHERER,
    HALVES_OF_FIRST_ID,
    IP,
    MOST_SET_BYTES,
    OF_ONE_SIZE,
    REQUEST,
    SET_BYTES,
    SET_SIZE,
    USAGE,
    are_active,
    sizes,
)

# As the log tells values apart, which is by their JSON: a day is not 24 hours, and text in a
# collation without case is compared by its letters.
_DIFFERS = f"""format(CASE
        WHEN atttypid = 'interval'::regtype THEN 'o.%1$I::text IS DISTINCT FROM n.%1$I::text'
        WHEN atttypid = ANY ('{OF_ONE_SIZE}'::regtype[])
          AND atttypid <> ALL ('{{float4,float8}}'::regtype[])
          THEN 'o.%1$I IS DISTINCT FROM n.%1$I'
        WHEN atttypid = ANY ('{{text,varchar}}'::regtype[])
          THEN 'o.%1$I COLLATE "C" IS DISTINCT FROM n.%1$I COLLATE "C"'
        ELSE $$coalesce(to_jsonb(o.%1$I), 'null') <> coalesce(to_jsonb(n.%1$I), 'null')$$ END,
        attname)"""
# In the rows of a statement a virtual column has no value.
_COLUMNS = f"{COLUMNS} AND attgenerated <> 'v'"
_OWN = "FILTER (WHERE attname <> ALL (stamps))"
_IF_DELETABLE = "FILTER (WHERE attname = 'deleted_at')"
_DONE = """CASE WHEN o.deleted_at IS NOT DISTINCT FROM n.deleted_at THEN 'update'
            WHEN o.deleted_at IS NULL THEN 'soft_delete' ELSE 'restore' END"""


def _pairs(row: str) -> str:
    """The name and the value of a column of `row`; of a set the values, in the order of its ids."""
    return f"""string_agg(format(CASE WHEN are_set THEN '%1$L, %2$s({row}.%1$I ORDER BY n.id)'
            ELSE '%1$L, {row}.%1$I' END, attname, {GATHERER}), ', ')"""


# Two statements that name the columns. The first counts, and finds those that changed in any row;
# the second logs them alone, from fifty rows on by the hundred in `audit_sets`. Which rows go there
# and which one by one is as of new rows (`audit_inserted.py`). Where an old row has no new one, or
# more than one, and where a table has more columns than a join of two of its rows may have, the
# first one changes nothing, and what follows goes row by row.
# unscoped: a part of the body of a trigger; tenant_id comes from the rows that it fires for
MANY_UPDATED = f"""DECLARE
      stamps CONSTANT name[] := '{{tenant_id,id,version,updated_at,updated_by}}';
      bound uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;
      facts record; lists record; r record;
      changed text[] := '{{}}'; are_set boolean := seen >= 50; are_paired boolean := false;
      changes integer := 0; size bigint := 0;
      step integer := {SET_SIZE}; ids uuid[]; firsts uuid[]; first_id text := uuidv7();
    BEGIN
      SELECT
        string_agg(format(', %s AS d%s', {_DIFFERS}, attnum), '') {_OWN} AS compared,
        string_agg(format('CASE WHEN bool_or(c.d%s) THEN %L END', attnum, attname), ', ') {_OWN}
          AS changed,
        concat_ws(' OR ', 'false', string_agg('c.d' || attnum, ' OR ') {_OWN}) AS differs,
        {sizes("o")} AS old_size,
        {sizes("n")} AS new_size,
        concat('true', max(' AND o.deleted_at IS NULL') {_IF_DELETABLE}) AS was_live,
        concat('true', max(' AND n.deleted_at IS NULL') {_IF_DELETABLE}) AS is_live,
        concat('true',
          {are_active("o")}) AS was_active,
        concat('true',
          {are_active("n")}) AS is_active,
        count(*) <= 800 AS are_few
        INTO facts
        {_COLUMNS};
      FOR r IN EXECUTE format($sql$
        SELECT c.tenant_id,
          sum(count(*)) OVER () = $1 AND every(every(c.is_pair)) OVER () AS are_paired,
          count(*) AS rows, count(*) FILTER (WHERE %s) AS changes,
          count(*) FILTER (WHERE c.was_live AND NOT c.is_live) AS deleted,
          count(*) FILTER (WHERE c.is_live) - count(*) FILTER (WHERE c.was_live) AS live,
          count(*) FILTER (WHERE c.is_live AND c.is_active)
            - count(*) FILTER (WHERE c.was_live AND c.was_active) AS active,
          sum(c.old_size) AS old_size, sum(c.new_size) AS new_size,
          every(c.id_version IS NOT DISTINCT FROM 7) AS tell_time,
          array_remove(ARRAY[%s]::text[], NULL) AS changed
        FROM (
          SELECT tenant_id, (o.id = n.id) IS TRUE AS is_pair,
            uuid_extract_version(n.id) AS id_version, %s AS old_size, %s AS new_size,
            %s AS was_live, %s AS is_live, %s AS was_active, %s AS is_active%s
          FROM changed_from AS o FULL JOIN changed_to AS n USING (tenant_id, id)
          OFFSET 0) AS c
        GROUP BY c.tenant_id$sql$,
        facts.differs, facts.changed, facts.old_size, facts.new_size, facts.was_live,
        facts.is_live, facts.was_active, facts.is_active, facts.compared)
        USING seen
      LOOP
        EXIT WHEN NOT (r.are_paired AND facts.are_few);
        are_paired := true;
        changed := changed || r.changed;
        changes := changes + r.changes;
        size := size + r.old_size + r.new_size;
        are_set := are_set AND r.tell_time AND r.tenant_id IS NOT DISTINCT FROM bound;
        CONTINUE WHEN r.changes = 0 AND r.new_size = r.old_size;
        {USAGE}
        VALUES (
          r.tenant_id, now(), TG_ARGV[0], who, 0, r.changes - r.deleted, r.deleted,
          r.live, r.active, -r.live, r.new_size - r.old_size);
      END LOOP;
      IF are_paired THEN
        IF changes = 0 THEN RETURN NULL; END IF;
        done := CASE WHEN 'deleted_at' = ANY (changed) THEN $sql${_DONE}$sql$
          ELSE '''update''' END;
        -- jsonb_build_object takes fifty columns.
        SELECT string_agg(format('jsonb_build_object(%s)', c.old), ' || ') AS old,
          string_agg(format('jsonb_build_object(%s)', c.new), ' || ') AS new,
          string_agg(c.differs, ' OR ') AS differs, string_agg(c.same, ', ') AS same,
          string_agg(c.sizes, ' + ') AS sizes
          INTO lists
          FROM (
            SELECT {_pairs("o")} AS old,
              {_pairs("n")} AS new,
              string_agg({_DIFFERS}, ' OR ') AS differs,
              string_agg(format('CASE WHEN NOT (%s) THEN %L END', {_DIFFERS}, attname), ', ')
                AS same,
              concat_ws(' + ',
                {sizes("o")},
                {sizes("n")}) AS sizes
            {_COLUMNS} AND attname = ANY (changed)
            GROUP BY attnum / 50) AS c;
        IF are_set THEN
          IF size > seen * {SET_BYTES}::bigint / step OR size > {MOST_SET_BYTES} THEN
            EXECUTE format($sql$
              SELECT floor(greatest(1, least($1, {SET_BYTES} / nullif(avg(c.size), 0),
                {MOST_SET_BYTES} / nullif(max(c.size), 0))))
              FROM (
                SELECT %s AS size
                FROM changed_from AS o JOIN changed_to AS n USING (tenant_id, id)
                WHERE %s OFFSET 0) AS c$sql$, lists.sizes, lists.differs)
            INTO step USING step;
          END IF;
          IF changes = seen THEN
            ids := ARRAY(SELECT t.id FROM changed_to AS t ORDER BY t.id);
          ELSE
            EXECUTE format($sql$
              SELECT array_agg(n.id ORDER BY n.id)
              FROM changed_from AS o JOIN changed_to AS n USING (tenant_id, id)
              WHERE %s$sql$, lists.differs)
            INTO ids;
          END IF;
          firsts := ARRAY(
            SELECT ids[place] FROM generate_series(1, cardinality(ids), step) AS place);
          EXECUTE format($sql$
            INSERT INTO public.audit_sets
              (tenant_id, id, at, actor, request_id, ip, action, entity, size, first_id, last_id,
                ids, columns, old_columns)
            SELECT $3, ($1 || to_hex($2 + s.before))::uuid, now(), $4, $5, $6, s.done, $7,
              s.size, s.ids[1], s.ids[s.size], s.ids, s.new, s.old
            FROM (
              SELECT %1$s AS done, array_agg(n.id ORDER BY n.id) AS ids, count(*)::integer AS size,
                sum(count(*)) OVER (ORDER BY width_bucket(n.id, $8), %1$s)::bigint
                  - count(*) AS before,
                %2$s AS old, %3$s AS new
              FROM changed_from AS o JOIN changed_to AS n USING (tenant_id, id)
              WHERE %4$s
              GROUP BY width_bucket(n.id, $8), 1) AS s$sql$,
            done, lists.old, lists.new, lists.differs)
          USING {HALVES_OF_FIRST_ID},
            bound, who, {REQUEST}, {IP}, TG_ARGV[0], firsts;
        ELSE
          EXECUTE format($sql$
            INSERT INTO public.audit_log
              (tenant_id, id, at, actor, request_id, ip, action, entity, entity_id, changes)
            SELECT n.tenant_id, {COUNTED_ID}, now(), $3, $4, $5, %s, $6, n.id,
              jsonb_build_object('old', (%s) - same.columns, 'new', (%s) - same.columns)
            FROM changed_from AS o JOIN changed_to AS n USING (tenant_id, id)
              CROSS JOIN LATERAL (SELECT ARRAY[%s]::text[] AS columns OFFSET 0) AS same
            WHERE %s$sql$, done, lists.old, lists.new, lists.same, lists.differs)
          USING {HALVES_OF_FIRST_ID},
            who, {REQUEST}, {IP}, TG_ARGV[0];
        END IF;
        RETURN NULL;
      END IF;
    END;"""
