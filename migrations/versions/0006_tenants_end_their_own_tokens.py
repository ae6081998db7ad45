"""Tenants end their own tokens."""

from collections.abc import Sequence

from alembic import op

revision: str = "0006"
down_revision: str | Sequence[str] | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("GRANT UPDATE (tokens_valid_from) ON tenants TO saas_app")


def downgrade() -> None:
    op.execute("REVOKE UPDATE (tokens_valid_from) ON tenants FROM saas_app")
