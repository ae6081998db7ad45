"""First schema."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute(
        "CREATE OR REPLACE FUNCTION public.audit_row() RETURNS trigger LANGUAGE plpgsql "
        "SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$\n"
        "DECLARE\n"
        "  was jsonb; is_now jsonb; before jsonb; after jsonb; masked text;\n"
        "  done text := lower(TG_OP);\n"
        "BEGIN\n"
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
        "$function$"
    )
    op.execute("REVOKE ALL ON FUNCTION public.audit_row() FROM public")
    op.create_table(
        "audit_log",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Uuid(), nullable=False),
        sa.Column("changes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_audit_log")),
    )
    op.create_index(
        "ix_audit_log_entity", "audit_log", ["tenant_id", "entity", "entity_id", "id"], unique=False
    )
    op.execute("ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY tenant_fence ON audit_log AS RESTRICTIVE TO saas_app, saas_platform "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON audit_log AS PERMISSIVE TO public "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT SELECT ON audit_log TO saas_app")
    op.create_table(
        "api_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("prefix", sa.String(length=40), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("permissions", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "role IN ('owner', 'admin', 'member', 'viewer')", name=op.f("ck_api_keys_role")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_api_keys")),
    )
    op.create_index(
        "ix_api_keys_created", "api_keys", ["tenant_id", "created_at", "id"], unique=False
    )
    op.execute("ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY tenant_fence ON api_keys AS RESTRICTIVE TO saas_app, saas_platform "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON api_keys AS PERMISSIVE TO public "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT DELETE ON api_keys TO saas_app")
    op.execute("GRANT INSERT ON api_keys TO saas_app")
    op.execute("GRANT SELECT ON api_keys TO saas_app")
    op.execute(
        "GRANT UPDATE (deleted_at, deleted_by, expires_at, last_used_at, name, permissions, "
        "prefix, revoked_at, role, secret_hash, updated_at, updated_by, version) ON api_keys "
        "TO saas_app"
    )
    op.execute("GRANT INSERT ON api_keys TO saas_platform")
    op.execute(
        "CREATE TRIGGER audit_row AFTER INSERT OR DELETE OR UPDATE ON public.api_keys "
        "FOR EACH ROW EXECUTE FUNCTION public.audit_row('api_keys', 'secret_hash')"
    )
    op.create_table(
        "members",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column(
            "status", sa.String(length=20), server_default=sa.text("'active'"), nullable=False
        ),
        sa.Column(
            "joined_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "role IN ('owner', 'admin', 'member', 'viewer')", name=op.f("ck_members_role")
        ),
        sa.CheckConstraint("status IN ('active', 'suspended')", name=op.f("ck_members_status")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_members")),
    )
    op.create_index(
        "ix_members_created", "members", ["tenant_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "uq_members_email_live",
        "members",
        ["tenant_id", "email"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.execute("ALTER TABLE members ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY tenant_fence ON members AS RESTRICTIVE TO saas_app, saas_platform "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON members AS PERMISSIVE TO public "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT DELETE ON members TO saas_app")
    op.execute("GRANT INSERT ON members TO saas_app")
    op.execute("GRANT SELECT ON members TO saas_app")
    op.execute(
        "GRANT UPDATE (deleted_at, deleted_by, email, joined_at, name, role, status, "
        "updated_at, updated_by, version) ON members TO saas_app"
    )
    op.execute("GRANT INSERT ON members TO saas_platform")
    op.execute(
        "CREATE TRIGGER audit_row AFTER INSERT OR DELETE OR UPDATE ON public.members "
        "FOR EACH ROW EXECUTE FUNCTION public.audit_row('members')"
    )
    op.create_table(
        "plans",
        sa.Column("slug", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("limits", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("slug", name=op.f("pk_plans")),
    )
    op.execute("GRANT SELECT ON plans TO saas_app")
    op.execute("GRANT INSERT ON plans TO saas_platform")
    op.execute("GRANT SELECT ON plans TO saas_platform")
    op.execute("GRANT UPDATE (limits, name, slug) ON plans TO saas_platform")
    op.create_table(
        "projects",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("budget_cents", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_projects")),
    )
    op.create_index(
        "ix_projects_created", "projects", ["tenant_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "uq_projects_name_live",
        "projects",
        ["tenant_id", "name"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.execute("ALTER TABLE projects ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY tenant_fence ON projects AS RESTRICTIVE TO saas_app, saas_platform "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON projects AS PERMISSIVE TO public "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT DELETE ON projects TO saas_app")
    op.execute("GRANT INSERT ON projects TO saas_app")
    op.execute("GRANT SELECT ON projects TO saas_app")
    op.execute(
        "GRANT UPDATE (budget_cents, deleted_at, deleted_by, description, is_active, name, "
        "updated_at, updated_by, version) ON projects TO saas_app"
    )
    op.execute(
        "CREATE TRIGGER audit_row AFTER INSERT OR DELETE OR UPDATE ON public.projects "
        "FOR EACH ROW EXECUTE FUNCTION public.audit_row('projects')"
    )
    op.create_table(
        "tasks",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=20), server_default=sa.text("'todo'"), nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default=sa.text("2"), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("assignee_id", sa.Uuid(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Text(), nullable=True),
        sa.CheckConstraint("status IN ('todo', 'doing', 'done')", name=op.f("ck_tasks_status")),
        sa.CheckConstraint("priority BETWEEN 0 AND 4", name=op.f("ck_tasks_priority")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "assignee_id"],
            ["members.tenant_id", "members.id"],
            name="fk_tasks_assignee_id",
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "project_id"],
            ["projects.tenant_id", "projects.id"],
            name="fk_tasks_project_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_tasks")),
    )
    op.create_index("ix_tasks_assignee_id", "tasks", ["tenant_id", "assignee_id"], unique=False)
    op.create_index("ix_tasks_created", "tasks", ["tenant_id", "created_at", "id"], unique=False)
    op.create_index("ix_tasks_project_id", "tasks", ["tenant_id", "project_id"], unique=False)
    op.create_index(
        "uq_tasks_project_id_title_live",
        "tasks",
        ["tenant_id", "project_id", "title"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.execute("ALTER TABLE tasks ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY tenant_fence ON tasks AS RESTRICTIVE TO saas_app, saas_platform "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON tasks AS PERMISSIVE TO public "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT DELETE ON tasks TO saas_app")
    op.execute("GRANT INSERT ON tasks TO saas_app")
    op.execute("GRANT SELECT ON tasks TO saas_app")
    op.execute(
        "GRANT UPDATE (assignee_id, deleted_at, deleted_by, due_on, priority, project_id, "
        "status, title, updated_at, updated_by, version) ON tasks TO saas_app"
    )
    op.execute(
        "CREATE TRIGGER audit_row AFTER INSERT OR DELETE OR UPDATE ON public.tasks "
        "FOR EACH ROW EXECUTE FUNCTION public.audit_row('tasks')"
    )
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("plan", sa.String(length=40), nullable=False),
        sa.Column(
            "status", sa.String(length=20), server_default=sa.text("'active'"), nullable=False
        ),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.CheckConstraint("slug ~ '^[a-z][a-z0-9-]{2,39}$'", name=op.f("ck_tenants_slug")),
        sa.CheckConstraint(
            "status IN ('active', 'suspended', 'deleting')", name=op.f("ck_tenants_status")
        ),
        sa.ForeignKeyConstraint(["plan"], ["plans.slug"], name="fk_tenants_plan"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
        sa.UniqueConstraint("slug", name=op.f("uq_tenants_slug")),
    )
    op.execute("ALTER TABLE tenants ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY platform_access ON tenants AS PERMISSIVE TO saas_platform "
        "USING (true) WITH CHECK (true)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON tenants AS PERMISSIVE TO saas_app "
        "USING (id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT SELECT ON tenants TO saas_app")
    op.execute("GRANT INSERT ON tenants TO saas_platform")
    op.execute("GRANT SELECT ON tenants TO saas_platform")
    op.execute(
        "GRANT UPDATE (name, plan, slug, status, updated_at, updated_by, version) ON tenants "
        "TO saas_platform"
    )
    op.execute(
        "CREATE TRIGGER audit_row AFTER INSERT OR DELETE OR UPDATE ON public.tenants "
        "FOR EACH ROW EXECUTE FUNCTION public.audit_row('tenants')"
    )

    # The plans that ship; null is no limit.
    op.execute(
        """INSERT INTO plans (slug, name, limits) VALUES
        ('free', 'Free', jsonb_build_object(
            'requests_per_second', 20, 'members', 5, 'rows', 10000, 'storage_bytes', 104857600,
            'import_bytes', 10485760, 'statement_timeout_ms', 5000)),
        ('pro', 'Pro', jsonb_build_object(
            'requests_per_second', 200, 'members', 100, 'rows', 1000000,
            'storage_bytes', 10737418240, 'import_bytes', 1073741824,
            'statement_timeout_ms', 15000)),
        ('enterprise', 'Enterprise', jsonb_build_object(
            'requests_per_second', 5000, 'members', NULL, 'rows', NULL, 'storage_bytes', NULL,
            'import_bytes', NULL, 'statement_timeout_ms', 30000))"""
    )


def downgrade() -> None:
    op.drop_table("tenants")
    op.drop_index(
        "uq_tasks_project_id_title_live",
        table_name="tasks",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.drop_index("ix_tasks_project_id", table_name="tasks")
    op.drop_index("ix_tasks_created", table_name="tasks")
    op.drop_index("ix_tasks_assignee_id", table_name="tasks")
    op.drop_table("tasks")
    op.drop_index(
        "uq_projects_name_live",
        table_name="projects",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.drop_index("ix_projects_created", table_name="projects")
    op.drop_table("projects")
    op.drop_table("plans")
    op.drop_index(
        "uq_members_email_live",
        table_name="members",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.drop_index("ix_members_created", table_name="members")
    op.drop_table("members")
    op.drop_index("ix_api_keys_created", table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_index("ix_audit_log_entity", table_name="audit_log")
    op.drop_table("audit_log")
    op.execute("DROP FUNCTION public.audit_row()")
