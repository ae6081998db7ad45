"""There is no certificate where a row is left, or where nobody can tell."""

from contextlib import contextmanager

import pytest
from purges import id_of, purge_in_the_end

from saas.errors import PurgeIncomplete
from saas.tenancy.purge import purge
from saas.tenancy.purging import purge_due

OWNED = "ALTER TABLE {0} OWNER TO saas_owner; "
HIDDEN = "ALTER TABLE {0} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; "
# What somebody has added to the database, and what the refusal says of it.
STRAYS = {
    "a table without a model": (
        "CREATE TABLE {0} (tenant_id uuid); " + OWNED,
        "{0} has rows of the tenant, and no model",
    ),
    "one that names the tenant as text": (
        "CREATE TABLE {0} (tenant_id varchar(36)); " + OWNED,
        "{0} has rows of the tenant, and no model",
    ),
    "one with another name for it": (
        "CREATE TABLE {0} (tenant uuid); " + OWNED,
        "{0} has rows of the tenant, and no model",
    ),
    "a materialized view": (
        "CREATE MATERIALIZED VIEW {0} AS SELECT {1}::uuid AS tenant_id; "
        "ALTER MATERIALIZED VIEW {0} OWNER TO saas_owner",
        "{0} has rows of the tenant, and no model",
    ),
    "a partitioned table": (
        "CREATE TABLE {0} (tenant_id uuid) PARTITION BY HASH (tenant_id); "
        "CREATE TABLE {0}_0 PARTITION OF {0} FOR VALUES WITH (MODULUS 1, REMAINDER 0); "
        "ALTER TABLE {0}_0 OWNER TO saas_owner; " + OWNED,
        "{0} has rows of the tenant, and no model",
    ),
    "a table of somebody else": ("CREATE TABLE {0} (tenant_id uuid)", "in {0} cannot be told"),
    "one behind no policy": (
        "CREATE TABLE {0} (tenant_id uuid); " + OWNED + HIDDEN,
        "in {0} cannot be told",
    ),
    "one behind a policy of its own": (
        "CREATE TABLE {0} (tenant_id uuid); "
        + OWNED
        + HIDDEN
        + "CREATE POLICY tenant_isolation ON {0} USING (false) WITH CHECK (true)",
        "in {0} cannot be told",
    ),
    "one behind a fence of its own": (
        "CREATE TABLE {0} (tenant_id uuid); "
        + OWNED
        + HIDDEN
        + "CREATE POLICY tenant_isolation ON {0} USING "
        "(tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid); "
        "CREATE POLICY fence ON {0} AS RESTRICTIVE USING (false) WITH CHECK (true)",
        "in {0} cannot be told",
    ),
    "one that numbers tenants": (
        "CREATE TABLE {0} (tenant_id int); " + OWNED,
        "in {0} cannot be told",
    ),
}


@pytest.fixture
def planted(superuser):
    """Runs SQL as the superuser, and drops what it has made at the end of the block."""

    @contextmanager
    def plant(made, *statements):
        for statement in statements:
            superuser.execute(statement)
        try:
            yield
        finally:
            superuser.execute(f"DROP {made}")

    return plant


async def certificate_status(operator, tenant):
    path = f"/v1/admin/tenants/{tenant.tenant_id}/certificate"
    return (await operator.get(path)).status_code


@pytest.mark.parametrize("case", STRAYS)
async def test_rows_that_no_model_knows_are_found_before_any_is_deleted(
    case, tenant, operator, offboard, rows_of, planted, database
):
    create, refusal = STRAYS[case]
    statements = [create.format("stray", f"'{tenant.tenant_id}'")]
    if "VIEW" not in create and " int)" not in create:
        statements.append(f"INSERT INTO stray VALUES ('{tenant.tenant_id}')")
    await offboard(tenant)
    before = rows_of(tenant)

    kind = "MATERIALIZED VIEW" if "VIEW" in create else "TABLE"
    with planted(f"{kind} stray", *statements):
        with pytest.raises(PurgeIncomplete) as refused:
            await purge_in_the_end(database, tenant)
        assert rows_of(tenant) == before
    assert refusal.format("stray") in str(refused.value)
    assert await certificate_status(operator, tenant) == 404

    await purge_in_the_end(database, tenant)
    assert await certificate_status(operator, tenant) == 200


async def test_table_without_rows_of_the_tenant_stands_in_the_certificate_with_none(
    tenant, other_tenant, offboard, planted, database
):
    await offboard(tenant)
    create = "CREATE SCHEMA side; GRANT USAGE ON SCHEMA side TO saas_owner; "
    create += "CREATE TABLE side.stray (tenant_id uuid); ALTER TABLE side.stray OWNER TO saas_owner"

    insert = f"INSERT INTO side.stray VALUES ('{other_tenant.tenant_id}')"
    with planted("SCHEMA side CASCADE", create, insert):
        certificate = await purge_in_the_end(database, tenant)

    found = certificate.document.tables["side.stray"]
    assert (found.deleted, found.left) == (0, 0)


async def test_row_that_comes_during_the_purge_is_found_at_its_end(
    tenant, operator, offboard, rows_of, superuser, database
):
    await tenant.create("projects", name="Rocket")
    await offboard(tenant)
    insert = """INSERT INTO projects (tenant_id, name, created_by, updated_by)
      VALUES (%s, 'Late', 'x', 'x')"""

    def plant(table, _):
        # By now every other table is empty.
        if table == "audit_log" and not rows_of(tenant)["projects"]:
            superuser.execute(insert, [tenant.tenant_id])

    with pytest.raises(PurgeIncomplete, match=r"left in .*projects \(1\)"):
        await purge(database, id_of(tenant), actor="platform:ops", report=plant)

    assert await certificate_status(operator, tenant) == 404
    body = (await operator.get(f"/v1/admin/tenants/{tenant.tenant_id}")).json()
    assert body["status"] == "deleting"
    # The name is scrubbed and the log emptied with the certificate, or not at all.
    assert body["name"] == tenant.body["tenant"]["name"]
    await purge_in_the_end(database, tenant)
    assert set(rows_of(tenant).values()) == {0}


async def test_reference_that_no_model_knows_is_told(
    tenant, operator, offboard, superuser, planted, database
):
    project = await tenant.create("projects", name="Rocket")
    await offboard(tenant)
    # Neither column says that it is about a tenant.
    create = """CREATE TABLE stray (a uuid, b uuid,
      FOREIGN KEY (a, b) REFERENCES projects (tenant_id, id))"""
    insert = f"INSERT INTO stray VALUES ('{tenant.tenant_id}', '{project['id']}')"

    with planted("TABLE stray", create, insert):
        with pytest.raises(PurgeIncomplete, match="Rows of projects cannot go"):
            await purge_in_the_end(database, tenant)
        assert await certificate_status(operator, tenant) == 404

    await purge_in_the_end(database, tenant)


async def test_one_that_fails_does_not_keep_the_others(
    tenant, other_tenant, operator, offboard, planted, database
):
    await offboard(tenant)
    await offboard(other_tenant)
    create = "CREATE TABLE stray (tenant_id uuid); ALTER TABLE stray OWNER TO saas_owner"

    with planted("TABLE stray", create, f"INSERT INTO stray VALUES ('{tenant.tenant_id}')"):
        done = await purge_due(database)
        assert (id_of(tenant) in done, id_of(other_tenant) in done) == (False, True)

    assert id_of(tenant) in await purge_due(database)
