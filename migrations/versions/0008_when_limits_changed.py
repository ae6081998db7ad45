"""When limits changed and when rows were counted: a count is good only after the limits."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | Sequence[str] | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "plans",
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
    )
    op.execute("GRANT UPDATE (updated_at) ON plans TO saas_platform")
    op.add_column(
        "row_quotas",
        sa.Column(
            "counted_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
    )
    op.execute("GRANT UPDATE (counted_at) ON row_quotas TO saas_app")


def downgrade() -> None:
    op.execute("REVOKE UPDATE (counted_at) ON row_quotas FROM saas_app")
    op.drop_column("row_quotas", "counted_at")
    op.execute("REVOKE UPDATE (updated_at) ON plans FROM saas_platform")
    op.drop_column("plans", "updated_at")
