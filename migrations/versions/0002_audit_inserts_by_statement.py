"""Audit inserts by statement."""

from collections.abc import Sequence

from alembic import op

revision: str = "0002"
down_revision: str | Sequence[str] | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute(
        "CREATE OR REPLACE FUNCTION public.audit_inserted() RETURNS trigger LANGUAGE plpgsql "
        "SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$\n"
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
        "$function$"
    )
    op.execute("REVOKE ALL ON FUNCTION public.audit_inserted() FROM public")
    op.execute("DROP TRIGGER audit_row ON members")
    op.execute(
        "CREATE TRIGGER audit_inserted AFTER INSERT ON public.members "
        "REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT "
        "EXECUTE FUNCTION public.audit_inserted('members')"
    )
    op.execute(
        "CREATE TRIGGER audit_row AFTER DELETE OR UPDATE ON public.members FOR EACH ROW "
        "EXECUTE FUNCTION public.audit_row('members')"
    )
    op.execute("DROP TRIGGER audit_row ON projects")
    op.execute(
        "CREATE TRIGGER audit_inserted AFTER INSERT ON public.projects "
        "REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT "
        "EXECUTE FUNCTION public.audit_inserted('projects')"
    )
    op.execute(
        "CREATE TRIGGER audit_row AFTER DELETE OR UPDATE ON public.projects FOR EACH ROW "
        "EXECUTE FUNCTION public.audit_row('projects')"
    )
    op.execute("DROP TRIGGER audit_row ON tasks")
    op.execute(
        "CREATE TRIGGER audit_inserted AFTER INSERT ON public.tasks "
        "REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT "
        "EXECUTE FUNCTION public.audit_inserted('tasks')"
    )
    op.execute(
        "CREATE TRIGGER audit_row AFTER DELETE OR UPDATE ON public.tasks FOR EACH ROW "
        "EXECUTE FUNCTION public.audit_row('tasks')"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER audit_row ON tasks")
    op.execute("DROP TRIGGER audit_inserted ON tasks")
    op.execute(
        "CREATE TRIGGER audit_row AFTER INSERT OR DELETE OR UPDATE ON public.tasks "
        "FOR EACH ROW EXECUTE FUNCTION public.audit_row('tasks')"
    )
    op.execute("DROP TRIGGER audit_row ON projects")
    op.execute("DROP TRIGGER audit_inserted ON projects")
    op.execute(
        "CREATE TRIGGER audit_row AFTER INSERT OR DELETE OR UPDATE ON public.projects "
        "FOR EACH ROW EXECUTE FUNCTION public.audit_row('projects')"
    )
    op.execute("DROP TRIGGER audit_row ON members")
    op.execute("DROP TRIGGER audit_inserted ON members")
    op.execute(
        "CREATE TRIGGER audit_row AFTER INSERT OR DELETE OR UPDATE ON public.members "
        "FOR EACH ROW EXECUTE FUNCTION public.audit_row('members')"
    )
    op.execute("DROP FUNCTION public.audit_inserted()")
