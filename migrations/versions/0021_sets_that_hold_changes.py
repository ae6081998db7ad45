"""Sets of the log may hold changes: an action, and the values before."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0021"
down_revision: str | Sequence[str] | None = "0020"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "audit_sets", sa.Column("action", sa.Text(), server_default="insert", nullable=False)
    )
    op.add_column(
        "audit_sets",
        sa.Column("old_columns", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    )
    op.execute("ALTER TABLE audit_sets ALTER old_columns SET STORAGE EXTERNAL")
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
        "      SELECT s.at, s.entity, s.actor, s.action, s.size\n"
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
            s.at, s.actor, s.request_id, s.ip, s.action, s.entity, e.id, (
                SELECT jsonb_build_object('old', jsonb_object_agg(c.key, c.old),
                    'new', jsonb_object_agg(c.key, c.new))
                FROM (
                    SELECT n.key, n.value -> (e.number - 1)::int AS new,
                        s.old_columns -> n.key -> (e.number - 1)::int AS old
                    FROM jsonb_each(s.columns) AS n) AS c
                WHERE c.old <> c.new)
        FROM audit_sets AS s, unnest(s.ids) WITH ORDINALITY AS e(id, number)
        WHERE s.old_columns IS NOT NULL"""
    )
    # unscoped: a migration, for all tenants
    op.execute("DELETE FROM audit_sets WHERE old_columns IS NOT NULL")
    op.execute("ALTER TABLE audit_sets FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE audit_log FORCE ROW LEVEL SECURITY")
    op.drop_column("audit_sets", "old_columns")
    op.drop_column("audit_sets", "action")
