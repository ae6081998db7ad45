"""Who answers for a key or an invitation, and one spelling of an email address."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | Sequence[str] | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


# Each refers to a member, null for what an operator has made.
COLUMNS = (
    ("api_keys", "member_id"),
    ("api_keys", "previous_member_id"),
    ("invitations", "member_id"),
)
TABLES = ("members", "api_keys", "invitations", "audit_log")


def upgrade() -> None:
    # The owner is bound by the policies, and would see no row to check or change.
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    # At once: a tenant has some keys and invitations, not millions, and the columns are empty.
    for table, column in COLUMNS:
        op.add_column(table, sa.Column(column, sa.Uuid(), nullable=True))
        op.execute(
            "-- squawk-ignore require-concurrent-index-creation\n"
            f"CREATE INDEX ix_{table}_{column} ON {table} (tenant_id, {column})"
        )
        op.execute(
            "-- squawk-ignore adding-foreign-key-constraint, constraint-missing-not-valid\n"
            f"ALTER TABLE {table} ADD CONSTRAINT fk_{table}_{column} "
            f"FOREIGN KEY (tenant_id, {column}) REFERENCES members (tenant_id, id) "
            "ON DELETE RESTRICT"
        )
        op.execute(f"GRANT UPDATE ({column}) ON {table} TO saas_app")
    op.execute(
        "-- squawk-ignore constraint-missing-not-valid\n"
        "ALTER TABLE api_keys ADD CONSTRAINT ck_api_keys_permissions CHECK "
        "(jsonb_typeof(permissions) = 'array' AND "
        "NOT jsonb_path_exists(permissions, '$[*] ? (@.type() != \"string\")'))"
    )
    # Addresses are compared in small letters from now on: those of ASCII, as everywhere.
    op.execute(
        'UPDATE members SET email = lower(email COLLATE "C") '
        'WHERE email <> lower(email COLLATE "C")'
    )
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.execute("ALTER TABLE api_keys DROP CONSTRAINT ck_api_keys_permissions")
    for table, column in COLUMNS:
        op.execute(f"REVOKE UPDATE ({column}) ON {table} FROM saas_app")
        op.drop_constraint(f"fk_{table}_{column}", table, type_="foreignkey")
        op.drop_index(f"ix_{table}_{column}", table_name=table)
        op.drop_column(table, column)
