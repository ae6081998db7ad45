"""Idempotency keys."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | Sequence[str] | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("request_mac", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(
        "ix_idempotency_keys_expires", "idempotency_keys", ["tenant_id", "expires_at"], unique=False
    )
    op.execute("ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY tenant_fence ON idempotency_keys AS RESTRICTIVE "
        "TO saas_app, saas_platform "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(
        "CREATE POLICY tenant_isolation ON idempotency_keys AS PERMISSIVE TO public "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute("GRANT DELETE ON idempotency_keys TO saas_app")
    op.execute("GRANT INSERT ON idempotency_keys TO saas_app")
    op.execute("GRANT SELECT ON idempotency_keys TO saas_app")
    op.execute("GRANT UPDATE (answer, expires_at, request_mac) ON idempotency_keys TO saas_app")
    op.create_table(
        "platform_idempotency_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("request_mac", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_platform_idempotency_keys")),
    )
    op.create_index(
        "ix_platform_idempotency_keys_expires",
        "platform_idempotency_keys",
        ["expires_at"],
        unique=False,
    )
    op.execute("GRANT DELETE ON platform_idempotency_keys TO saas_platform")
    op.execute("GRANT INSERT ON platform_idempotency_keys TO saas_platform")
    op.execute("GRANT SELECT ON platform_idempotency_keys TO saas_platform")
    op.execute(
        "GRANT UPDATE (answer, expires_at, request_mac) ON platform_idempotency_keys "
        "TO saas_platform"
    )


def downgrade() -> None:
    op.drop_index("ix_platform_idempotency_keys_expires", table_name="platform_idempotency_keys")
    op.drop_table("platform_idempotency_keys")
    op.drop_index("ix_idempotency_keys_expires", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
