"""Imports: the files that were sent, their pieces, and the rows that were refused."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0011"
down_revision: str | Sequence[str] | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "imports",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("resource", sa.String(length=50), nullable=False),
        sa.Column("format", sa.String(length=10), nullable=False),
        sa.Column("mode", sa.String(length=10), nullable=False),
        sa.Column("on_conflict", sa.String(length=10), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("source", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("rows_read", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("inserted", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("updated", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("skipped", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("bytes_received", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("bytes_expected", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.Column("chunks", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_chunk", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("position", sa.LargeBinary(), nullable=True),
        sa.Column("worker", sa.Uuid(), nullable=False),
        sa.Column(
            "heartbeat_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("started_by", sa.Text(), nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("format IN ('csv', 'jsonl')", name=op.f("ck_imports_format")),
        sa.CheckConstraint("mode IN ('atomic', 'partial')", name=op.f("ck_imports_mode")),
        sa.CheckConstraint(
            "on_conflict IN ('update', 'skip', 'error')", name=op.f("ck_imports_on_conflict")
        ),
        sa.CheckConstraint(
            "status IN ('receiving', 'running', 'done', 'failed', 'interrupted')",
            name=op.f("ck_imports_status"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_imports")),
    )
    op.create_index("ix_imports_digest", "imports", ["tenant_id", "digest"], unique=False)
    op.execute("ALTER TABLE imports ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY tenant_fence ON imports AS RESTRICTIVE TO saas_app, saas_platform "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON imports AS PERMISSIVE TO public "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT DELETE ON imports TO saas_app")
    op.execute("GRANT INSERT ON imports TO saas_app")
    op.execute("GRANT SELECT ON imports TO saas_app")
    op.execute(
        "GRANT UPDATE (bytes_expected, bytes_received, chunks, detail, digest, dry_run, "
        "failed, finished_at, format, heartbeat_at, inserted, mode, next_chunk, on_conflict, "
        "position, resource, rows_read, skipped, source, started_at, started_by, status, "
        "updated, worker) ON imports TO saas_app"
    )
    op.create_table(
        "import_chunks",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "import_id"],
            ["imports.tenant_id", "imports.id"],
            name="fk_import_chunks_import_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_import_chunks")),
    )
    # A piece is written once and read once: to compress it would take longer than all else.
    op.execute("ALTER TABLE import_chunks ALTER COLUMN data SET STORAGE EXTERNAL")
    op.create_index(
        "ix_import_chunks_import_id", "import_chunks", ["tenant_id", "import_id"], unique=False
    )
    op.create_index(
        "uq_import_chunks_number",
        "import_chunks",
        ["tenant_id", "import_id", "number"],
        unique=True,
    )
    op.execute("ALTER TABLE import_chunks ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY tenant_fence ON import_chunks AS RESTRICTIVE "
        "TO saas_app, saas_platform "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON import_chunks AS PERMISSIVE TO public "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT DELETE ON import_chunks TO saas_app")
    op.execute("GRANT INSERT ON import_chunks TO saas_app")
    op.execute("GRANT SELECT ON import_chunks TO saas_app")
    op.create_table(
        "import_errors",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("column", sa.Text(), nullable=True),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("source", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "import_id"],
            ["imports.tenant_id", "imports.id"],
            name="fk_import_errors_import_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_import_errors")),
    )
    op.create_index(
        "ix_import_errors_import_id", "import_errors", ["tenant_id", "import_id"], unique=False
    )
    op.create_index(
        "ix_import_errors_line",
        "import_errors",
        ["tenant_id", "import_id", "line", "id"],
        unique=False,
    )
    op.execute("ALTER TABLE import_errors ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY tenant_fence ON import_errors AS RESTRICTIVE "
        "TO saas_app, saas_platform "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON import_errors AS PERMISSIVE TO public "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT DELETE ON import_errors TO saas_app")
    op.execute("GRANT INSERT ON import_errors TO saas_app")
    op.execute("GRANT SELECT ON import_errors TO saas_app")


def downgrade() -> None:
    op.drop_index("ix_import_errors_line", table_name="import_errors")
    op.drop_index("ix_import_errors_import_id", table_name="import_errors")
    op.drop_table("import_errors")
    op.drop_index("uq_import_chunks_number", table_name="import_chunks")
    op.drop_index("ix_import_chunks_import_id", table_name="import_chunks")
    op.drop_table("import_chunks")
    op.drop_index("ix_imports_digest", table_name="imports")
    op.drop_table("imports")
