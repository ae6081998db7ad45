"""Usage: requests, changes and what a tenant has, counted."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0012"
down_revision: str | Sequence[str] | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


# Nobody writes meanwhile: what an older trigger function lets pass would never be counted. The
# owner is bound to the tenants one by one, and by no policy where it asks which there are.
_COUNT_WHAT_IS_THERE = """
DO $do$
DECLARE
  audited text; tenant uuid;
BEGIN
  SET LOCAL row_security = on;
  SELECT string_agg(tgrelid::regclass::text, ', ') INTO audited
    FROM pg_trigger WHERE tgfoid = 'public.audit_row()'::regprocedure;
  EXECUTE format('LOCK TABLE %s IN SHARE MODE', audited);
  ALTER TABLE tenants NO FORCE ROW LEVEL SECURITY;
  FOR tenant IN SELECT id FROM tenants WHERE status <> 'deleted' LOOP
    EXECUTE format('SET LOCAL app.tenant_id = %L', tenant);
    INSERT INTO usage_changes
      (tenant, at, entity, actor, created, updated, deleted, live, active, removed, bytes)
      SELECT tenant, at, entity, actor, created, updated, deleted, 0, 0, 0, 0
      FROM public.usage_of_log()
      UNION ALL
      SELECT tenant, '-infinity', entity, 'system:migration', 0, 0, 0, live, active, removed, bytes
      FROM public.usage_of_rows();
  END LOOP;
  SET LOCAL app.tenant_id = '';
  ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
END $do$"""

# How many days figures are kept. A plan that names it already has it its way; null is for ever.
_KEPT_BY_SHIPPED_PLANS = """
UPDATE plans SET limits = jsonb_build_object(
    'usage_minutes_days', 2, 'usage_hours_days', given.hours, 'usage_days_days', given.days
  ) || limits
FROM (VALUES ('free', 100, 400), ('pro', 190, 1100), ('enterprise', 400, NULL))
  AS given (slug, hours, days)
WHERE plans.slug = given.slug"""
_KEPT_FOR_EVER = """
UPDATE plans
SET limits = limits - '{usage_minutes_days,usage_hours_days,usage_days_days}'::text[]"""


def upgrade() -> None:
    op.execute(
        "CREATE OR REPLACE FUNCTION public.audit_row() RETURNS trigger LANGUAGE plpgsql "
        "SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$\n"
        "DECLARE\n"
        "  was jsonb; is_now jsonb; before jsonb; after jsonb; masked text; sent bytea;\n"
        "  done text := lower(TG_OP);\n"
        "  who text := coalesce(nullif(current_setting('app.actor', true), ''), 'role:' || "
        "session_user);\n"
        "  bytes integer := 0; live integer := 0; active integer := 0; held integer := 0;\n"
        "BEGIN\n"
        "  IF session_user = 'saas_platform' THEN\n"
        "    IF public.is_importing() THEN RETURN NULL; END IF;\n"
        "  END IF;\n"
        "  IF TG_OP <> 'INSERT' THEN\n"
        "    was := to_jsonb(old);\n"
        "    sent := record_send(old);\n"
        "    bytes := -(octet_length(sent) - 4 - 8 * (256 * get_byte(sent, 2) + "
        "get_byte(sent, 3)));\n"
        "    live := -(was ->> 'deleted_at' IS NULL)::integer;\n"
        "    active := -(was ->> 'deleted_at' IS NULL AND was ->> 'revoked_at' IS NULL\n"
        "      AND was -> 'is_active' IS DISTINCT FROM 'false')::integer;\n"
        "    held := -1;\n"
        "  END IF;\n"
        "  IF TG_OP <> 'DELETE' THEN\n"
        "    is_now := to_jsonb(new);\n"
        "    sent := record_send(new);\n"
        "    bytes := bytes + (octet_length(sent) - 4 - 8 * (256 * get_byte(sent, 2) + "
        "get_byte(sent, 3)));\n"
        "    live := live + (is_now ->> 'deleted_at' IS NULL)::integer;\n"
        "    active := active + (is_now ->> 'deleted_at' IS NULL AND is_now ->> 'revoked_at' "
        "IS NULL\n"
        "      AND is_now -> 'is_active' IS DISTINCT FROM 'false')::integer;\n"
        "    held := held + 1;\n"
        "  END IF;\n"
        "  IF TG_OP = 'UPDATE' THEN\n"
        "    SELECT jsonb_object_agg(c.key, was -> c.key), jsonb_object_agg(c.key, c.value)\n"
        "      INTO before, after\n"
        "      FROM jsonb_each(is_now) AS c\n"
        "      WHERE c.value IS DISTINCT FROM was -> c.key\n"
        "        AND c.key <> ALL ('{version,updated_at,updated_by}');\n"
        "    IF after IS NULL THEN\n"
        "      IF bytes = 0 THEN RETURN NULL; END IF;\n"
        "      done := '';\n"
        "    ELSIF after ? 'deleted_at' THEN\n"
        "      done := CASE WHEN was ->> 'deleted_at' IS NULL THEN 'soft_delete' ELSE "
        "'restore' END;\n"
        "    END IF;\n"
        "  ELSE\n"
        "    before := was - '{tenant_id,id}'::text[];\n"
        "    after := is_now - '{tenant_id,id}'::text[];\n"
        "  END IF;\n"
        "  is_now := coalesce(is_now, was);\n"
        "  -- The row of the tenant itself is none of those that it has.\n"
        "  IF is_now ? 'tenant_id' THEN\n"
        "    INSERT INTO public.usage_changes\n"
        "    (tenant, at, entity, actor, created, updated, deleted, live, active, removed, "
        "bytes)\n"
        "    VALUES (\n"
        "      (is_now ->> 'tenant_id')::uuid, now(), TG_ARGV[0], who,\n"
        "      (done = 'insert')::integer, (done IN ('update', 'restore'))::integer,\n"
        "      (done IN ('delete', 'soft_delete'))::integer, live, active, held - live, "
        "bytes);\n"
        "  END IF;\n"
        "  IF done = '' THEN RETURN NULL; END IF;\n"
        "  FOREACH masked IN ARRAY TG_ARGV[1:] LOOP\n"
        "    before := jsonb_set(before, ARRAY[masked], '\"***\"', false);\n"
        "    after := jsonb_set(after, ARRAY[masked], '\"***\"', false);\n"
        "  END LOOP;\n"
        "  INSERT INTO public.audit_log\n"
        "    (tenant_id, at, actor, request_id, ip, action, entity, entity_id, changes)\n"
        "  VALUES (\n"
        "    coalesce(is_now ->> 'tenant_id', is_now ->> 'id')::uuid, now(), who, "
        "nullif(current_setting('app.request_id', true), ''), "
        "nullif(current_setting('app.ip', true), ''),\n"
        "    done, TG_ARGV[0], (is_now ->> 'id')::uuid,\n"
        "    jsonb_build_object('old', before, 'new', after));\n"
        "  RETURN NULL;\n"
        "END\n"
        "$function$"
    )
    op.execute(
        "CREATE OR REPLACE FUNCTION public.audit_inserted() RETURNS trigger LANGUAGE plpgsql "
        "SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$\n"
        "DECLARE\n"
        "  stamps CONSTANT name[] :=\n"
        "    '{version,created_at,created_by,updated_at,updated_by,deleted_at,deleted_by}';\n"
        "  own text;\n"
        "  active text;\n"
        "  first_id text;\n"
        "BEGIN\n"
        "  IF session_user = 'saas_platform' THEN\n"
        "    IF public.is_importing() THEN RETURN NULL; END IF;\n"
        "  END IF;\n"
        "  IF EXISTS (SELECT FROM inserted OFFSET 49) THEN\n"
        "    SELECT string_agg(format('%L, r.%I', attname, attname), ', ')\n"
        "        FILTER (WHERE attname <> ALL (stamps)),\n"
        "      concat('r.deleted_at IS NULL',\n"
        "        max(' AND r.is_active IS NOT FALSE')\n"
        "          FILTER (WHERE attname = 'is_active' AND atttypid = 'boolean'::regtype),\n"
        "        max(' AND r.revoked_at IS NULL') FILTER (WHERE attname = 'revoked_at'))\n"
        "      INTO own, active\n"
        "      FROM pg_attribute\n"
        "      WHERE attrelid = TG_RELID AND attnum > 0 AND NOT attisdropped\n"
        "        AND attname <> ALL ('{tenant_id,id}')\n"
        "      -- A table without them has no such short form. jsonb_build_object takes fifty "
        "columns.\n"
        "      HAVING count(*) FILTER (WHERE attname = ANY (stamps)) = 7 AND count(*) <= 57;\n"
        "  END IF;\n"
        "  IF own IS NOT NULL THEN\n"
        "    first_id := uuidv7();\n"
        "    EXECUTE format($sql$\n"
        "      WITH logged AS (\n"
        "        INSERT INTO public.audit_log\n"
        "          (tenant_id, id, at, actor, request_id, ip, action, entity, entity_id, "
        "changes)\n"
        "        SELECT r.tenant_id, ($1 || to_hex($2 + row_number() OVER ()))::uuid, now(), "
        "$3, $4, $5,\n"
        "          'insert', $6, r.id,\n"
        "          CASE WHEN r.version = 1 AND r.created_at = now() AND r.updated_at = now()\n"
        "              AND r.created_by = $3 AND r.updated_by = $3\n"
        "              AND r.deleted_at IS NULL AND r.deleted_by IS NULL\n"
        "            THEN jsonb_build_object('is_new', true, 'old', NULL, 'new', "
        "jsonb_build_object(%s))\n"
        "            ELSE jsonb_build_object('old', NULL,\n"
        "              'new', to_jsonb(r.*) - '{tenant_id,id}'::text[]) END\n"
        "        FROM inserted AS r)\n"
        "      INSERT INTO public.usage_changes\n"
        "    (tenant, at, entity, actor, created, updated, deleted, live, active, removed, "
        "bytes)\n"
        "      SELECT r.tenant_id, now(), $6, $3, count(*), 0, 0,\n"
        "        count(*) FILTER (WHERE r.deleted_at IS NULL), count(*) FILTER (WHERE %s),\n"
        "        count(r.deleted_at), sum((octet_length(r.sent) - 4 - 8 * (256 * "
        "get_byte(r.sent, 2) + get_byte(r.sent, 3))))\n"
        "      FROM (SELECT r.*, record_send(r.*) AS sent FROM inserted AS r OFFSET 0) AS r\n"
        "      GROUP BY r.tenant_id$sql$, own, active)\n"
        "    USING left(first_id, 24),\n"
        "      -- Twelve digits, also a million rows on.\n"
        "      ('x' || right(first_id, 12))::bit(48)::bigint & x'3fffffffffff'::bigint\n"
        "        | x'800000000000'::bigint,\n"
        "      coalesce(nullif(current_setting('app.actor', true), ''), 'role:' || "
        "session_user), nullif(current_setting('app.request_id', true), ''), "
        "nullif(current_setting('app.ip', true), ''), TG_ARGV[0];\n"
        "    RETURN NULL;\n"
        "  END IF;\n"
        "  WITH row AS MATERIALIZED (\n"
        '    SELECT r.tenant_id, r.id, to_jsonb(r.*) AS "all", record_send(r.*) AS sent FROM '
        "inserted AS r\n"
        "  ), logged AS (\n"
        "    INSERT INTO public.audit_log\n"
        "    (tenant_id, at, actor, request_id, ip, action, entity, entity_id, changes)\n"
        "    SELECT r.tenant_id, now(), coalesce(nullif(current_setting('app.actor', true), "
        "''), 'role:' || session_user), nullif(current_setting('app.request_id', true), ''), "
        "nullif(current_setting('app.ip', true), ''), 'insert', TG_ARGV[0], r.id,\n"
        "      jsonb_build_object('old', NULL, 'new', r.\"all\" - '{tenant_id,id}'::text[])\n"
        "    FROM row AS r)\n"
        "  INSERT INTO public.usage_changes\n"
        "    (tenant, at, entity, actor, created, updated, deleted, live, active, removed, "
        "bytes)\n"
        "  SELECT r.tenant_id, now(), TG_ARGV[0], "
        "coalesce(nullif(current_setting('app.actor', true), ''), 'role:' || session_user), "
        "count(*), 0, 0,\n"
        "    count(*) FILTER (WHERE r.\"all\" ->> 'deleted_at' IS NULL),\n"
        '    count(*) FILTER (WHERE r."all" ->> \'deleted_at\' IS NULL AND r."all" ->> '
        "'revoked_at' IS NULL\n"
        "      AND r.\"all\" -> 'is_active' IS DISTINCT FROM 'false'),\n"
        "    count(r.\"all\" ->> 'deleted_at'), sum((octet_length(r.sent) - 4 - 8 * (256 * "
        "get_byte(r.sent, 2) + get_byte(r.sent, 3))))\n"
        "  FROM row AS r\n"
        "  GROUP BY r.tenant_id;\n"
        "  RETURN NULL;\n"
        "END\n"
        "$function$"
    )
    op.execute(
        "CREATE OR REPLACE FUNCTION public.usage_of_rows() RETURNS TABLE(entity text, live "
        "bigint, active bigint, removed bigint, bytes bigint) LANGUAGE plpgsql STABLE "
        "SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$\n"
        "DECLARE\n"
        "  bound uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;\n"
        "  relation record;\n"
        "BEGIN\n"
        "  FOR relation IN\n"
        "    SELECT c.relname AS name,\n"
        "      CASE WHEN bool_or(a.attname = 'deleted_at')\n"
        "        THEN 'deleted_at IS NULL' ELSE 'true' END AS live,\n"
        "      concat('true', max(' AND is_active IS NOT FALSE')\n"
        "          FILTER (WHERE a.attname = 'is_active' AND a.atttypid = "
        "'boolean'::regtype),\n"
        "        max(' AND revoked_at IS NULL') FILTER (WHERE a.attname = 'revoked_at')) AS "
        "active\n"
        "    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid\n"
        "    WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT "
        "a.attisdropped\n"
        "      AND EXISTS (\n"
        "        SELECT FROM pg_trigger AS t\n"
        "        WHERE t.tgrelid = c.oid AND t.tgfoid = 'public.audit_row()'::regprocedure)\n"
        "    GROUP BY c.relname\n"
        "    HAVING bool_or(a.attname = 'tenant_id')\n"
        "  LOOP\n"
        "    RETURN QUERY EXECUTE format($sql$\n"
        "      SELECT $2, count(*) FILTER (WHERE %2$s), count(*) FILTER (WHERE %2$s AND "
        "%3$s),\n"
        "        count(*) FILTER (WHERE NOT %2$s), sum((octet_length(sent) - 4 - 8 * (256 * "
        "get_byte(sent, 2) + get_byte(sent, 3))))::bigint\n"
        "      FROM (SELECT r.*, record_send(r.*) AS sent FROM public.%1$I AS r\n"
        "            WHERE r.tenant_id = $1 OFFSET 0) AS r\n"
        "      HAVING count(*) > 0$sql$, relation.name, relation.live, relation.active)\n"
        "      USING bound, relation.name::text;\n"
        "  END LOOP;\n"
        "END\n"
        "$function$"
    )
    op.execute("REVOKE ALL ON FUNCTION public.usage_of_rows() FROM public")
    op.execute("GRANT EXECUTE ON FUNCTION public.usage_of_rows() TO saas_platform")
    op.execute(
        "CREATE OR REPLACE FUNCTION public.usage_of_log() RETURNS TABLE(at timestamp with "
        "time zone, entity text, actor text, created bigint, updated bigint, deleted bigint) "
        "LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS "
        "$function$\n"
        "DECLARE\n"
        "  bound uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;\n"
        "BEGIN\n"
        "  RETURN QUERY\n"
        "    SELECT date_bin('15 minutes', a.at, '2000-01-01 00:00+00'), a.entity, a.actor,\n"
        "      count(*) FILTER (WHERE a.action = 'insert'),\n"
        "      count(*) FILTER (WHERE a.action IN ('update', 'restore')),\n"
        "      count(*) FILTER (WHERE a.action IN ('delete', 'soft_delete'))\n"
        "    FROM public.audit_log AS a\n"
        "    WHERE a.tenant_id = bound AND a.entity <> 'tenants'\n"
        "    GROUP BY 1, 2, 3;\n"
        "END\n"
        "$function$"
    )
    op.execute("REVOKE ALL ON FUNCTION public.usage_of_log() FROM public")
    op.execute("GRANT EXECUTE ON FUNCTION public.usage_of_log() TO saas_platform")
    op.execute(
        "CREATE OR REPLACE FUNCTION public.usage_of_events() RETURNS TABLE(at timestamp with "
        "time zone, meter text, kind text, events bigint, quantity bigint) LANGUAGE plpgsql "
        "STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$\n"
        "DECLARE\n"
        "  bound uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;\n"
        "BEGIN\n"
        "  RETURN QUERY\n"
        "    SELECT date_bin('15 minutes', e.at, '2000-01-01 00:00+00'), e.meter::text,\n"
        "      split_part(e.actor, ':', 1), count(*), least(sum(e.quantity), "
        "9007199254740991)::bigint\n"
        "    FROM public.usage_events AS e\n"
        "    WHERE e.tenant_id = bound\n"
        "    GROUP BY 1, 2, 3;\n"
        "END\n"
        "$function$"
    )
    op.execute("REVOKE ALL ON FUNCTION public.usage_of_events() FROM public")
    op.execute("GRANT EXECUTE ON FUNCTION public.usage_of_events() TO saas_platform")
    op.create_table(
        "usage_activity",
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entity", sa.String(length=63), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.BigInteger(), nullable=False),
        sa.Column("live", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "at", "entity", "actor", name=op.f("pk_usage_activity")),
    )
    op.execute("ALTER TABLE usage_activity ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY owner_reads ON usage_activity AS PERMISSIVE FOR SELECT TO saas_owner "
        "USING (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY platform_access ON usage_activity AS PERMISSIVE TO saas_platform "
        "USING (true) WITH CHECK (true)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON usage_activity AS PERMISSIVE TO saas_app "
        "USING (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT SELECT ON usage_activity TO saas_app")
    op.execute("GRANT DELETE ON usage_activity TO saas_platform")
    op.execute("GRANT INSERT ON usage_activity TO saas_platform")
    op.execute("GRANT SELECT ON usage_activity TO saas_platform")
    op.execute(
        "GRANT UPDATE (actor, at, bytes, created, deleted, entity, live, tenant, updated) ON "
        "usage_activity TO saas_platform"
    )
    op.create_table(
        "usage_changes",
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entity", sa.String(length=63), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.BigInteger(), nullable=False),
        sa.Column("live", sa.BigInteger(), nullable=False),
        sa.Column("active", sa.BigInteger(), nullable=False),
        sa.Column("removed", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_usage_changes")),
    )
    op.execute("ALTER TABLE usage_changes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY owner_reads ON usage_changes AS PERMISSIVE FOR SELECT TO saas_owner "
        "USING (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY owner_writes ON usage_changes AS PERMISSIVE FOR INSERT TO saas_owner "
        "WITH CHECK (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY platform_access ON usage_changes AS PERMISSIVE TO saas_platform "
        "USING (true) WITH CHECK (true)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON usage_changes AS PERMISSIVE TO saas_app "
        "USING (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT SELECT ON usage_changes TO saas_app")
    op.execute("GRANT DELETE ON usage_changes TO saas_platform")
    op.execute("GRANT INSERT ON usage_changes TO saas_platform")
    op.execute("GRANT SELECT ON usage_changes TO saas_platform")
    op.execute(
        "GRANT UPDATE (active, actor, at, bytes, created, deleted, entity, live, removed, "
        "tenant, updated) ON usage_changes TO saas_platform"
    )
    op.create_table(
        "usage_days",
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("bytes_in", sa.BigInteger(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.Column("grown", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "day", name=op.f("pk_usage_days")),
    )
    op.create_index("ix_usage_days_day", "usage_days", ["day"], unique=False)
    op.execute("ALTER TABLE usage_days ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY owner_reads ON usage_days AS PERMISSIVE FOR SELECT TO saas_owner "
        "USING (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY platform_access ON usage_days AS PERMISSIVE TO saas_platform "
        "USING (true) WITH CHECK (true)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON usage_days AS PERMISSIVE TO saas_app "
        "USING (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT SELECT ON usage_days TO saas_app")
    op.execute("GRANT DELETE ON usage_days TO saas_platform")
    op.execute("GRANT INSERT ON usage_days TO saas_platform")
    op.execute("GRANT SELECT ON usage_days TO saas_platform")
    op.execute(
        "GRANT UPDATE (bytes_in, bytes_out, day, errors, grown, requests, tenant) ON usage_days "
        "TO saas_platform"
    )
    op.create_table(
        "usage_events",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("meter", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint("meter ~ '^[a-z][a-z0-9_]{0,39}$'", name=op.f("ck_usage_events_meter")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_usage_events_quantity")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_usage_events")),
    )
    op.create_index(
        "uq_usage_events_key", "usage_events", ["tenant_id", "meter", "key"], unique=True
    )
    op.execute("ALTER TABLE usage_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY tenant_fence ON usage_events AS RESTRICTIVE "
        "TO saas_app, saas_platform "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON usage_events AS PERMISSIVE TO public "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT INSERT ON usage_events TO saas_app")
    op.execute("GRANT SELECT ON usage_events TO saas_app")
    op.create_table(
        "usage_meter_changes",
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("meter", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_usage_meter_changes")),
    )
    op.execute(
        "ALTER TABLE usage_meter_changes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
    )
    op.execute(
        "CREATE POLICY owner_reads ON usage_meter_changes AS PERMISSIVE FOR SELECT "
        "TO saas_owner "
        "USING (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY platform_access ON usage_meter_changes AS PERMISSIVE TO saas_platform "
        "USING (true) WITH CHECK (true)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON usage_meter_changes AS PERMISSIVE TO saas_app "
        "USING (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT INSERT ON usage_meter_changes TO saas_app")
    op.execute("GRANT SELECT ON usage_meter_changes TO saas_app")
    op.execute("GRANT DELETE ON usage_meter_changes TO saas_platform")
    op.execute("GRANT INSERT ON usage_meter_changes TO saas_platform")
    op.execute("GRANT SELECT ON usage_meter_changes TO saas_platform")
    op.execute(
        "GRANT UPDATE (at, events, kind, meter, quantity, tenant) ON usage_meter_changes "
        "TO saas_platform"
    )
    op.create_table(
        "usage_meters",
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("meter", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "at", "meter", "kind", name=op.f("pk_usage_meters")),
    )
    op.execute("ALTER TABLE usage_meters ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY owner_reads ON usage_meters AS PERMISSIVE FOR SELECT TO saas_owner "
        "USING (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY platform_access ON usage_meters AS PERMISSIVE TO saas_platform "
        "USING (true) WITH CHECK (true)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON usage_meters AS PERMISSIVE TO saas_app "
        "USING (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT SELECT ON usage_meters TO saas_app")
    op.execute("GRANT DELETE ON usage_meters TO saas_platform")
    op.execute("GRANT INSERT ON usage_meters TO saas_platform")
    op.execute("GRANT SELECT ON usage_meters TO saas_platform")
    op.execute(
        "GRANT UPDATE (at, events, kind, meter, quantity, tenant) ON usage_meters TO saas_platform"
    )
    op.create_table(
        "usage_requests",
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("grain", sa.SmallInteger(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("bytes_in", sa.BigInteger(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.Column("latency_buckets", sa.ARRAY(sa.SmallInteger()), nullable=False),
        sa.Column("latency_counts", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.CheckConstraint("grain IN (1, 15, 1440)", name=op.f("ck_usage_requests_grain")),
        sa.PrimaryKeyConstraint(
            "tenant", "at", "grain", "route", "status", "kind", name=op.f("pk_usage_requests")
        ),
    )
    op.create_index(
        "ix_usage_requests_grain", "usage_requests", ["tenant", "grain", "at"], unique=False
    )
    op.execute("ALTER TABLE usage_requests ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY owner_reads ON usage_requests AS PERMISSIVE FOR SELECT TO saas_owner "
        "USING (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY platform_access ON usage_requests AS PERMISSIVE TO saas_platform "
        "USING (true) WITH CHECK (true)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON usage_requests AS PERMISSIVE TO saas_app "
        "USING (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT SELECT ON usage_requests TO saas_app")
    op.execute("GRANT DELETE ON usage_requests TO saas_platform")
    op.execute("GRANT INSERT ON usage_requests TO saas_platform")
    op.execute("GRANT SELECT ON usage_requests TO saas_platform")
    op.execute(
        "GRANT UPDATE (at, bytes_in, bytes_out, grain, kind, latency_buckets, latency_counts, "
        "requests, route, status, tenant) ON usage_requests TO saas_platform"
    )
    op.create_table(
        "usage_totals",
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("entity", sa.String(length=63), nullable=False),
        sa.Column("live", sa.BigInteger(), nullable=False),
        sa.Column("active", sa.BigInteger(), nullable=False),
        sa.Column("removed", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "entity", name=op.f("pk_usage_totals")),
    )
    op.execute("ALTER TABLE usage_totals ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY owner_reads ON usage_totals AS PERMISSIVE FOR SELECT TO saas_owner "
        "USING (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY platform_access ON usage_totals AS PERMISSIVE TO saas_platform "
        "USING (true) WITH CHECK (true)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON usage_totals AS PERMISSIVE TO saas_app "
        "USING (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT SELECT ON usage_totals TO saas_app")
    op.execute("GRANT DELETE ON usage_totals TO saas_platform")
    op.execute("GRANT INSERT ON usage_totals TO saas_platform")
    op.execute("GRANT SELECT ON usage_totals TO saas_platform")
    op.execute(
        "GRANT UPDATE (active, bytes, changed_at, entity, live, removed, tenant) ON "
        "usage_totals TO saas_platform"
    )
    op.create_table(
        "usage_writers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("writes", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_writers")),
    )
    op.execute("GRANT DELETE ON usage_writers TO saas_platform")
    op.execute("GRANT INSERT ON usage_writers TO saas_platform")
    op.execute("GRANT SELECT ON usage_writers TO saas_platform")
    op.execute("GRANT UPDATE (at, writes) ON usage_writers TO saas_platform")
    op.execute(_COUNT_WHAT_IS_THERE)
    op.execute(_KEPT_BY_SHIPPED_PLANS)


def downgrade() -> None:
    op.execute(_KEPT_FOR_EVER)
    op.drop_table("usage_writers")
    op.drop_table("usage_totals")
    op.drop_index("ix_usage_requests_grain", table_name="usage_requests")
    op.drop_table("usage_requests")
    op.drop_table("usage_meters")
    op.drop_table("usage_meter_changes")
    op.drop_index("uq_usage_events_key", table_name="usage_events")
    op.drop_table("usage_events")
    op.drop_index("ix_usage_days_day", table_name="usage_days")
    op.drop_table("usage_days")
    op.drop_table("usage_changes")
    op.drop_table("usage_activity")
    op.execute("DROP FUNCTION public.usage_of_events()")
    op.execute("DROP FUNCTION public.usage_of_log()")
    op.execute("DROP FUNCTION public.usage_of_rows()")
    op.execute(
        "CREATE OR REPLACE FUNCTION public.audit_inserted()\n"
        " RETURNS trigger\n"
        " LANGUAGE plpgsql\n"
        " SECURITY DEFINER\n"
        " SET search_path TO 'pg_catalog', 'pg_temp'\n"
        "AS $function$\n"
        "DECLARE\n"
        "  stamps CONSTANT name[] :=\n"
        "    '{version,created_at,created_by,updated_at,updated_by,deleted_at,deleted_by}';\n"
        "  own text;\n"
        "  first_id text;\n"
        "BEGIN\n"
        "  IF session_user = 'saas_platform' THEN\n"
        "    IF public.is_importing() THEN RETURN NULL; END IF;\n"
        "  END IF;\n"
        "  IF EXISTS (SELECT FROM inserted OFFSET 49) THEN\n"
        "    SELECT string_agg(format('%L, r.%I', attname, attname), ', ')\n"
        "        FILTER (WHERE attname <> ALL (stamps))\n"
        "      INTO own\n"
        "      FROM pg_attribute\n"
        "      WHERE attrelid = TG_RELID AND attnum > 0 AND NOT attisdropped\n"
        "        AND attname <> ALL ('{tenant_id,id}')\n"
        "      -- A table without them has no such short form. jsonb_build_object takes fifty "
        "columns.\n"
        "      HAVING count(*) FILTER (WHERE attname = ANY (stamps)) = 7 AND count(*) <= 57;\n"
        "  END IF;\n"
        "  IF own IS NOT NULL THEN\n"
        "    first_id := uuidv7();\n"
        "    EXECUTE format($sql$\n"
        "      INSERT INTO public.audit_log\n"
        "        (tenant_id, id, at, actor, request_id, ip, action, entity, entity_id, "
        "changes)\n"
        "      SELECT r.tenant_id, ($1 || to_hex($2 + row_number() OVER ()))::uuid, now(), "
        "$3, $4, $5,\n"
        "        'insert', $6, r.id,\n"
        "        CASE WHEN r.version = 1 AND r.created_at = now() AND r.updated_at = now()\n"
        "            AND r.created_by = $3 AND r.updated_by = $3\n"
        "            AND r.deleted_at IS NULL AND r.deleted_by IS NULL\n"
        "          THEN jsonb_build_object('is_new', true, 'old', NULL, 'new', "
        "jsonb_build_object(%s))\n"
        "          ELSE jsonb_build_object('old', NULL,\n"
        "            'new', to_jsonb(r.*) - '{tenant_id,id}'::text[]) END\n"
        "      FROM inserted AS r$sql$, own)\n"
        "    USING left(first_id, 24),\n"
        "      -- Twelve digits, also a million rows on.\n"
        "      ('x' || right(first_id, 12))::bit(48)::bigint & x'3fffffffffff'::bigint\n"
        "        | x'800000000000'::bigint,\n"
        "      coalesce(nullif(current_setting('app.actor', true), ''), 'role:' || "
        "session_user),\n"
        "      nullif(current_setting('app.request_id', true), ''),\n"
        "      nullif(current_setting('app.ip', true), ''),\n"
        "      TG_ARGV[0];\n"
        "    RETURN NULL;\n"
        "  END IF;\n"
        "  INSERT INTO public.audit_log\n"
        "    (tenant_id, at, actor, request_id, ip, action, entity, entity_id, changes)\n"
        "  SELECT r.tenant_id, now(),\n"
        "    coalesce(nullif(current_setting('app.actor', true), ''), 'role:' || "
        "session_user),\n"
        "    nullif(current_setting('app.request_id', true), ''),\n"
        "    nullif(current_setting('app.ip', true), ''),\n"
        "    'insert', TG_ARGV[0], r.id,\n"
        "    jsonb_build_object('old', NULL, 'new', to_jsonb(r.*) - '{tenant_id,id}'::text[])\n"
        "  FROM inserted AS r;\n"
        "  RETURN NULL;\n"
        "END\n"
        "$function$\n"
    )
    op.execute(
        "CREATE OR REPLACE FUNCTION public.audit_row()\n"
        " RETURNS trigger\n"
        " LANGUAGE plpgsql\n"
        " SECURITY DEFINER\n"
        " SET search_path TO 'pg_catalog', 'pg_temp'\n"
        "AS $function$\n"
        "DECLARE\n"
        "  was jsonb; is_now jsonb; before jsonb; after jsonb; masked text;\n"
        "  done text := lower(TG_OP);\n"
        "BEGIN\n"
        "  IF session_user = 'saas_platform' THEN\n"
        "    IF public.is_importing() THEN RETURN NULL; END IF;\n"
        "  END IF;\n"
        "  IF TG_OP <> 'INSERT' THEN was := to_jsonb(old); END IF;\n"
        "  IF TG_OP <> 'DELETE' THEN is_now := to_jsonb(new); END IF;\n"
        "  IF TG_OP = 'UPDATE' THEN\n"
        "    SELECT jsonb_object_agg(c.key, was -> c.key), jsonb_object_agg(c.key, c.value)\n"
        "      INTO before, after\n"
        "      FROM jsonb_each(is_now) AS c\n"
        "      WHERE c.value IS DISTINCT FROM was -> c.key\n"
        "        AND c.key <> ALL ('{version,updated_at,updated_by}');\n"
        "    IF after IS NULL THEN RETURN NULL; END IF;\n"
        "    IF after ? 'deleted_at' THEN\n"
        "      done := CASE WHEN was ->> 'deleted_at' IS NULL THEN 'soft_delete' ELSE "
        "'restore' END;\n"
        "    END IF;\n"
        "  ELSE\n"
        "    before := was - '{tenant_id,id}'::text[];\n"
        "    after := is_now - '{tenant_id,id}'::text[];\n"
        "  END IF;\n"
        "  FOREACH masked IN ARRAY TG_ARGV[1:] LOOP\n"
        "    before := jsonb_set(before, ARRAY[masked], '\"***\"', false);\n"
        "    after := jsonb_set(after, ARRAY[masked], '\"***\"', false);\n"
        "  END LOOP;\n"
        "  is_now := coalesce(is_now, was);\n"
        "  INSERT INTO public.audit_log\n"
        "    (tenant_id, at, actor, request_id, ip, action, entity, entity_id, changes)\n"
        "  VALUES (\n"
        "    coalesce(is_now ->> 'tenant_id', is_now ->> 'id')::uuid, now(),\n"
        "    coalesce(nullif(current_setting('app.actor', true), ''), 'role:' || "
        "session_user),\n"
        "    nullif(current_setting('app.request_id', true), ''),\n"
        "    nullif(current_setting('app.ip', true), ''),\n"
        "    done, TG_ARGV[0], (is_now ->> 'id')::uuid,\n"
        "    jsonb_build_object('old', before, 'new', after));\n"
        "  RETURN NULL;\n"
        "END\n"
        "$function$\n"
    )
