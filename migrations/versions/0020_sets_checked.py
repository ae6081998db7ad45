"""The sets that are there have as many ids as entries; a transaction of its own blocks nobody."""

from collections.abc import Sequence

from alembic import op

revision: str = "0020"
down_revision: str | Sequence[str] | None = "0019"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("ALTER TABLE audit_sets VALIDATE CONSTRAINT ck_audit_sets_size")


def downgrade() -> None:
    name = op.f("ck_audit_sets_size")
    op.drop_constraint(name, "audit_sets", type_="check")
    op.create_check_constraint(
        name, "audit_sets", "cardinality(ids) = size", postgresql_not_valid=True
    )
