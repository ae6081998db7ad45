"""Audit many inserts in a shorter form."""

from collections.abc import Sequence

from alembic import op

revision: str = "0005"
down_revision: str | Sequence[str] | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute(
        "CREATE OR REPLACE FUNCTION public.audit_inserted() RETURNS trigger LANGUAGE plpgsql "
        "SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$\n"
        "DECLARE\n"
        "  stamps CONSTANT name[] :=\n"
        "    '{version,created_at,created_by,updated_at,updated_by,deleted_at,deleted_by}';\n"
        "  own text;\n"
        "  first_id text;\n"
        "BEGIN\n"
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
        "          ELSE jsonb_build_object('old', NULL, 'new', to_jsonb(r.*) - "
        "'{tenant_id,id}'::text[]) END\n"
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
        "$function$"
    )


def downgrade() -> None:
    op.execute(
        "CREATE OR REPLACE FUNCTION public.audit_inserted()\n"
        " RETURNS trigger\n"
        " LANGUAGE plpgsql\n"
        " SECURITY DEFINER\n"
        " SET search_path TO 'pg_catalog', 'pg_temp'\n"
        "AS $function$\n"
        "BEGIN\n"
        "  INSERT INTO public.audit_log\n"
        "    (tenant_id, at, actor, request_id, ip, action, entity, entity_id, changes)\n"
        "  SELECT r.tenant_id, now(),\n"
        "    coalesce(nullif(current_setting('app.actor', true), ''), 'role:' || "
        "session_user),\n"
        "    nullif(current_setting('app.request_id', true), ''),\n"
        "    nullif(current_setting('app.ip', true), ''),\n"
        "    'insert', TG_ARGV[0], r.id,\n"
        "    jsonb_build_object('old', NULL, 'new', to_jsonb(r) - '{tenant_id,id}'::text[])\n"
        "  FROM inserted AS r;\n"
        "  RETURN NULL;\n"
        "END\n"
        "$function$\n"
    )
    # Back to the form that the version before this one knows.
    op.execute("ALTER TABLE audit_log NO FORCE ROW LEVEL SECURITY")
    # unscoped: a migration, for all tenants; each entry stays where it is
    op.execute(
        """UPDATE audit_log SET changes = jsonb_build_object('old', NULL, 'new',
            changes -> 'new' || jsonb_build_object(
                'version', 1, 'created_at', at, 'created_by', actor, 'updated_at', at,
                'updated_by', actor, 'deleted_at', NULL, 'deleted_by', NULL))
        WHERE changes ? 'is_new'"""
    )
    op.execute("ALTER TABLE audit_log FORCE ROW LEVEL SECURITY")
