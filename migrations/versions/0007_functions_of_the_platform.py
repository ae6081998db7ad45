"""Functions for the purge of tenants and for the access of operators."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0007"
down_revision: str | Sequence[str] | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute(
        "CREATE OR REPLACE FUNCTION public.record_access(details jsonb) RETURNS boolean "
        "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS "
        "$function$\n"
        "DECLARE\n"
        "  bound uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;\n"
        "  operator text := current_setting('app.actor', true);\n"
        "BEGIN\n"
        "  IF bound IS NULL OR operator IS NULL OR NOT starts_with(operator, 'platform:') "
        "THEN\n"
        "    RAISE insufficient_privilege "
        "USING MESSAGE = 'this is no access of an operator';\n"
        "  END IF;\n"
        "  PERFORM FROM public.tenants WHERE id = bound AND status IN ('active', "
        "'suspended');\n"
        "  IF NOT FOUND THEN\n"
        "    RETURN false;\n"
        "  END IF;\n"
        "  INSERT INTO public.audit_log\n"
        "    (tenant_id, at, actor, request_id, ip, action, entity, entity_id, changes)\n"
        "  VALUES (\n"
        "    bound, now(), operator,\n"
        "    nullif(current_setting('app.request_id', true), ''),\n"
        "    nullif(current_setting('app.ip', true), ''),\n"
        "    'access', 'tenants', bound, jsonb_build_object('old', NULL, 'new', details));\n"
        "  RETURN true;\n"
        "END\n"
        "$function$"
    )
    op.execute("REVOKE ALL ON FUNCTION public.record_access(details jsonb) FROM public")
    op.execute("GRANT EXECUTE ON FUNCTION public.record_access(details jsonb) TO saas_platform")
    op.execute(
        "CREATE OR REPLACE FUNCTION public.purge_rows(entity text, most integer) RETURNS "
        "bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS "
        "$function$\n"
        "DECLARE\n"
        "  bound uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;\n"
        "  gone bigint;\n"
        "BEGIN\n"
        "  PERFORM FROM public.tenants\n"
        "    WHERE id = bound AND purge_at <= now()\n"
        "      AND (status = 'deleted' OR status = 'deleting' AND deletion ? 'started_at');\n"
        "  IF NOT FOUND THEN\n"
        "    RAISE insufficient_privilege USING MESSAGE = 'this tenant is not being purged';\n"
        "  END IF;\n"
        "  EXECUTE format(\n"
        "    'DELETE FROM public.%1$I WHERE tenant_id = $1 AND id = ANY (ARRAY('\n"
        "    'SELECT id FROM public.%1$I WHERE tenant_id = $1 LIMIT $2))', entity)\n"
        "    USING bound, most;\n"
        "  GET DIAGNOSTICS gone = ROW_COUNT;\n"
        "  RETURN gone;\n"
        "END\n"
        "$function$"
    )
    op.execute("REVOKE ALL ON FUNCTION public.purge_rows(entity text, most integer) FROM public")
    op.execute(
        "GRANT EXECUTE ON FUNCTION public.purge_rows(entity text, most integer) TO saas_platform"
    )
    op.execute(
        "CREATE OR REPLACE FUNCTION public.count_rows(relation text, tenant_column text) "
        "RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "
        "pg_temp AS $function$\n"
        "DECLARE\n"
        "  bound uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;\n"
        "  class regclass; kind text; held bigint;\n"
        "BEGIN\n"
        "  PERFORM FROM public.tenants\n"
        "    WHERE id = bound AND purge_at <= now()\n"
        "      AND (status = 'deleted' OR status = 'deleting' AND deletion ? 'started_at');\n"
        "  IF NOT FOUND THEN\n"
        "    RAISE insufficient_privilege USING MESSAGE = 'this tenant is not being purged';\n"
        "  END IF;\n"
        "  class := relation::regclass;\n"
        "  SELECT format_type(atttypid, NULL) INTO STRICT kind FROM pg_attribute\n"
        "    WHERE attrelid = class AND attname = tenant_column AND NOT attisdropped;\n"
        "  IF row_security_active(class) AND (\n"
        "    NOT EXISTS (SELECT FROM pg_policy\n"
        "      WHERE polrelid = class AND polpermissive AND polcmd IN ('*', 'r')\n"
        "        AND polroles && ARRAY[0::oid, current_user::regrole::oid]\n"
        "        AND pg_get_expr(polqual, polrelid) = '(' || quote_ident(tenant_column)\n"
        "          || $$ = (NULLIF(current_setting('app.tenant_id'::text, true), "
        "''::text))::uuid)$$)\n"
        "    OR EXISTS (SELECT FROM pg_policy\n"
        "      WHERE polrelid = class AND NOT polpermissive AND polcmd IN ('*', 'r')\n"
        "        AND polroles && ARRAY[0::oid, current_user::regrole::oid]))\n"
        "  THEN\n"
        "    RETURN NULL;\n"
        "  END IF;\n"
        "  BEGIN\n"
        "    "
        "EXECUTE format('SELECT count(*) FROM %s WHERE %I = $1::text::%s', class, "
        "tenant_column, kind)\n"
        "      INTO held USING bound;\n"
        "  EXCEPTION WHEN OTHERS THEN\n"
        "    RETURN NULL;\n"
        "  END;\n"
        "  RETURN held;\n"
        "END\n"
        "$function$"
    )
    op.execute(
        "REVOKE ALL ON FUNCTION public.count_rows(relation text, tenant_column text) FROM public"
    )
    op.execute(
        "GRANT EXECUTE ON FUNCTION public.count_rows(relation text, tenant_column text) "
        "TO saas_platform"
    )
    op.add_column(
        "tenants", sa.Column("deletion", postgresql.JSONB(astext_type=sa.Text()), nullable=True)
    )
    op.execute(
        "CREATE POLICY owner_reads ON tenants AS PERMISSIVE FOR SELECT TO saas_owner "
        "USING (id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT UPDATE (deletion) ON tenants TO saas_platform")
    op.execute(
        "CREATE POLICY owner_reads ON memberships AS PERMISSIVE FOR SELECT TO saas_owner "
        "USING (tenant = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )


def downgrade() -> None:
    op.execute("DROP POLICY owner_reads ON memberships")
    op.execute("REVOKE UPDATE (deletion) ON tenants FROM saas_platform")
    op.execute("DROP POLICY owner_reads ON tenants")
    op.drop_column("tenants", "deletion")
    op.execute("DROP FUNCTION public.count_rows(relation text, tenant_column text)")
    op.execute("DROP FUNCTION public.purge_rows(entity text, most integer)")
    op.execute("DROP FUNCTION public.record_access(details jsonb)")
