"""Statements that put rows of one tenant into a database, whatever its revision."""

TENANT = "0199d3a0-0000-7000-8000-000000000001"
INSERT_PROJECT = (
    "INSERT INTO projects (tenant_id, name, created_by, updated_by) "
    f"VALUES ('{TENANT}', 'Apollo', 'test', 'test')"
)
INSERT_MANY = (
    "INSERT INTO projects (tenant_id, name, created_by, updated_by) "
    f"SELECT '{TENANT}', 'Row ' || n, 'test', 'test' FROM generate_series(1, 60) AS n"
)
INSERT_TENANT = (
    "INSERT INTO tenants (id, slug, name, plan, created_by, updated_by) "
    f"VALUES ('{TENANT}', 'acme', 'Acme', 'free', 'test', 'test')"
)
BIND = f"SET app.tenant_id = '{TENANT}'"
