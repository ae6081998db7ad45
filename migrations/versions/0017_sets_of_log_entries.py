"""A table for up to a hundred entries of the log in one row, known to who reads the log."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0017"
down_revision: str | Sequence[str] | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "audit_sets",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("first_id", sa.Uuid(), nullable=False),
        sa.Column("last_id", sa.Uuid(), nullable=False),
        sa.Column("rows", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_audit_sets")),
    )
    op.create_index(
        "ix_audit_sets_entity",
        "audit_sets",
        ["tenant_id", "entity", "first_id", "last_id"],
        unique=False,
    )
    op.execute("ALTER TABLE audit_sets ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY tenant_fence ON audit_sets AS RESTRICTIVE TO saas_app, saas_platform "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON audit_sets AS PERMISSIVE TO public "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT SELECT ON audit_sets TO saas_app")
    op.execute(
        "CREATE OR REPLACE FUNCTION public.begin_import(origin jsonb) RETURNS void LANGUAGE "
        "plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$\n"
        "DECLARE\n"
        "  bound uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;\n"
        "  operator text := current_setting('app.actor', true);\n"
        "BEGIN\n"
        "  IF bound IS NULL OR operator IS NULL OR NOT starts_with(operator, 'platform:') "
        "THEN\n"
        "    RAISE insufficient_privilege "
        "USING MESSAGE = 'this is no import of an operator';\n"
        "  END IF;\n"
        "  -- A tombstone has no log either.\n"
        "  IF EXISTS (SELECT FROM public.audit_log AS a WHERE a.tenant_id = bound)\n"
        "    OR EXISTS (SELECT FROM public.audit_sets AS s WHERE s.tenant_id = bound)\n"
        "    OR EXISTS (SELECT FROM public.tenants AS t WHERE t.id = bound)\n"
        "  THEN\n"
        "    RAISE unique_violation USING MESSAGE = 'this tenant is not new';\n"
        "  END IF;\n"
        "  INSERT INTO public.audit_log\n"
        "    (tenant_id, at, actor, request_id, ip, action, entity, entity_id, changes)\n"
        "  VALUES (\n"
        "    bound, now(), operator,\n"
        "    nullif(current_setting('app.request_id', true), ''),\n"
        "    nullif(current_setting('app.ip', true), ''),\n"
        "    'import', 'tenants', bound,\n"
        "    jsonb_build_object('old', NULL, 'new',\n"
        "      origin || jsonb_build_object('transaction', pg_current_xact_id()::text)));\n"
        "END\n"
        "$function$"
    )
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
        "      coalesce(sum(a.entries) FILTER (WHERE a.action = 'insert'), 0),\n"
        "      coalesce(sum(a.entries) FILTER (WHERE a.action IN ('update', 'restore')), 0),\n"
        "      coalesce(sum(a.entries) FILTER (WHERE a.action IN ('delete', 'soft_delete')), "
        "0)\n"
        "    FROM (\n"
        "      SELECT l.at, l.entity, l.actor, l.action, 1 AS entries\n"
        "      FROM public.audit_log AS l\n"
        "      WHERE l.tenant_id = bound AND l.entity <> 'tenants'\n"
        "      UNION ALL\n"
        "      SELECT s.at, s.entity, s.actor, 'insert', s.size\n"
        "      FROM public.audit_sets AS s\n"
        "      WHERE s.tenant_id = bound) AS a\n"
        "    GROUP BY 1, 2, 3;\n"
        "END\n"
        "$function$"
    )


def downgrade() -> None:
    op.execute(
        "CREATE OR REPLACE FUNCTION public.usage_of_log()\n"
        " RETURNS TABLE(at timestamp with time zone, entity text, actor text, created bigint, "
        "updated bigint, deleted bigint)\n"
        " LANGUAGE plpgsql\n"
        " STABLE SECURITY DEFINER\n"
        " SET search_path TO 'pg_catalog', 'pg_temp'\n"
        "AS $function$\n"
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
        "$function$\n"
    )
    op.execute(
        "CREATE OR REPLACE FUNCTION public.begin_import(origin jsonb)\n"
        " RETURNS void\n"
        " LANGUAGE plpgsql\n"
        " SECURITY DEFINER\n"
        " SET search_path TO 'pg_catalog', 'pg_temp'\n"
        "AS $function$\n"
        "DECLARE\n"
        "  bound uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;\n"
        "  operator text := current_setting('app.actor', true);\n"
        "BEGIN\n"
        "  IF bound IS NULL OR operator IS NULL OR NOT starts_with(operator, 'platform:') "
        "THEN\n"
        "    RAISE insufficient_privilege "
        "USING MESSAGE = 'this is no import of an operator';\n"
        "  END IF;\n"
        "  -- A tombstone has no log either.\n"
        "  IF EXISTS (SELECT FROM public.audit_log AS a WHERE a.tenant_id = bound)\n"
        "    OR EXISTS (SELECT FROM public.tenants AS t WHERE t.id = bound)\n"
        "  THEN\n"
        "    RAISE unique_violation USING MESSAGE = 'this tenant is not new';\n"
        "  END IF;\n"
        "  INSERT INTO public.audit_log\n"
        "    (tenant_id, at, actor, request_id, ip, action, entity, entity_id, changes)\n"
        "  VALUES (\n"
        "    bound, now(), operator,\n"
        "    nullif(current_setting('app.request_id', true), ''),\n"
        "    nullif(current_setting('app.ip', true), ''),\n"
        "    'import', 'tenants', bound,\n"
        "    jsonb_build_object('old', NULL, 'new',\n"
        "      origin || jsonb_build_object('transaction', pg_current_xact_id()::text)));\n"
        "END\n"
        "$function$\n"
    )
    # One by one, as the version before this one knows them.
    op.execute("ALTER TABLE audit_log NO FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE audit_sets NO FORCE ROW LEVEL SECURITY")
    # unscoped: a migration, for all tenants
    op.execute(
        """INSERT INTO audit_log
            (tenant_id, id, at, actor, request_id, ip, action, entity, entity_id, changes)
        SELECT s.tenant_id,
            (left(s.id::text, 24)
                || to_hex(('x' || right(s.id::text, 12))::bit(48)::bigint + e.number - 1))::uuid,
            s.at, s.actor, s.request_id, s.ip, 'insert', s.entity, (e.new ->> 'id')::uuid,
            CASE WHEN e.new ? 'version'
                THEN jsonb_build_object('old', NULL, 'new', e.new - 'id')
                ELSE jsonb_build_object('is_new', true, 'old', NULL, 'new', e.new - 'id') END
        FROM audit_sets AS s, jsonb_array_elements(s.rows) WITH ORDINALITY AS e(new, number)"""
    )
    op.execute("ALTER TABLE audit_log FORCE ROW LEVEL SECURITY")
    op.drop_table("audit_sets")
