"""Who may restore a tenant past the audit log, and how far: told by plain SQL as each role."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from saas.db.models import tenant_tables
from saas.db.roles import APP, PLATFORM
from saas.dev.postgres import EmbeddedPostgres

Connect = Callable[..., psycopg.Connection[Any]]

BEGIN = "SELECT begin_import('{}')"
ROW = """[{"id": "0199d3a0-1234-7abc-8def-0123456789ab", "email": "eve@x.test", "name": "Eve",
  "role": "owner", "status": "active", "version": 1, "created_by": "x", "updated_by": "x"}]"""
COLUMNS = "{id,email,name,role,status,version,created_by,updated_by}"
RESTORE = f"SELECT restore_rows('members', '{COLUMNS}', '{ROW}')"
READ = "SELECT restored_rows('members', '{id,email}')"
ENTRY = """INSERT INTO audit_log (tenant_id, at, actor, action, entity, entity_id, changes)
  VALUES (current_setting('app.tenant_id')::uuid, now(), 'x', 'import', 'tenants',
  current_setting('app.tenant_id')::uuid, jsonb_build_object('new',
  jsonb_build_object('transaction', pg_current_xact_id()::text)))"""
MEMBER = """INSERT INTO members (tenant_id, email, name, role, created_by, updated_by)
  VALUES (current_setting('app.tenant_id')::uuid, 'eve@x.test', 'Eve', 'owner', 'x', 'x')"""
LOGGED = "SELECT count(*) FROM audit_log WHERE tenant_id = %s AND action = 'insert'"


@pytest.fixture
def nobody(here: Any) -> Iterator[str]:
    """The id of a tenant that is not there. What becomes of it is gone after the test, because
    others count the rows without a tenant."""
    id = str(uuid4())
    yield id
    here("SET session_replication_role = replica")
    for table in tenant_tables():
        here(f"DELETE FROM {table.name} WHERE tenant_id = %s", id)
    here("RESET session_replication_role")


@pytest.fixture
def connect(postgres: EmbeddedPostgres, here: Any) -> Iterator[Connect]:
    """A connection of a role inside a transaction that is bound to a tenant, as an operator."""
    opened: list[psycopg.Connection[Any]] = []

    def connect(role: str, tenant: str, actor: str = "platform:test") -> psycopg.Connection[Any]:
        connection = psycopg.connect(postgres.dsn(role))
        opened.append(connection)
        for name, value in (("app.tenant_id", tenant), ("app.actor", actor)):
            setting = sql.SQL("SET LOCAL {} = {}")
            connection.execute(setting.format(sql.SQL(name), sql.Literal(value)))
        return connection

    yield connect
    for connection in opened:
        connection.rollback()
        connection.close()


def refusal(connection: psycopg.Connection[Any], statement: str) -> str | None:
    """The SQLSTATE of what PostgreSQL refuses; what is done stays done."""
    try:
        with connection.transaction():
            connection.execute(statement)
    except psycopg.Error as error:
        return error.sqlstate
    return None


DENIED = "42501"


async def test_the_app_can_neither_begin_an_import_nor_restore_nor_read_by_one(
    tenant: Any, nobody: str, connect: Connect
) -> None:
    for target in (tenant.tenant_id, nobody):
        connection = connect(APP, target)
        for statement in (BEGIN, RESTORE, READ, "SELECT is_importing()", ENTRY):
            assert refusal(connection, statement) == DENIED, statement


@pytest.mark.parametrize(
    "setting",
    [
        "SET LOCAL app.importing = 'on'",
        "SET LOCAL app.transaction = '1'",
        "SET LOCAL application_name = 'saas_platform'",
        "SET LOCAL app.actor = 'platform:import'",
        "SET LOCAL session_replication_role = 'replica'",
        "SET LOCAL SESSION AUTHORIZATION saas_platform",
        "SET LOCAL ROLE saas_platform",
    ],
)
async def test_the_app_can_set_nothing_that_silences_the_log(
    tenant: Any, connect: Connect, setting: str
) -> None:
    """Those that it may set at all are followed by a change, which is logged."""
    connection = connect(APP, tenant.tenant_id)
    refused = refusal(connection, setting)
    before = connection.execute(LOGGED, [tenant.tenant_id]).fetchone()

    connection.execute(MEMBER)

    assert refused in {None, DENIED}
    after = connection.execute(LOGGED, [tenant.tenant_id]).fetchone()
    assert before is not None
    assert after == (before[0] + 1,)


async def test_the_platform_can_import_into_no_tenant_that_is_at_work(
    tenant: Any, connect: Connect, here: Any
) -> None:
    before = here.of(tenant.tenant_id)
    connection = connect(PLATFORM, tenant.tenant_id)

    assert refusal(connection, BEGIN) == "23505"
    for statement in (RESTORE, READ, ENTRY):
        assert refusal(connection, statement) == DENIED
    # What it may write, as for onboarding, is logged as ever.
    connection.execute(MEMBER)
    connection.commit()

    after = here.of(tenant.tenant_id)
    assert len(after["audit_log"]) == len(before["audit_log"]) + 1


async def test_no_import_begins_in_a_tombstone(connect: Connect) -> None:
    """A purged tenant has no log, and shall have no row ever after."""
    nobody = str(uuid4())
    connection = connect(PLATFORM, nobody)
    row = (
        "INSERT INTO tenants (id, slug, name, plan, status, created_by, updated_by) "
        "VALUES (%s, 'tombstone', 'x', 'free', 'deleted', 'x', 'x')"
    )
    connection.execute(row, [nobody])

    assert refusal(connection, BEGIN) == "23505"


async def test_an_import_is_silent_and_leaves_its_own_entry(
    nobody: str, connect: Connect, here: Any
) -> None:
    connection = connect(PLATFORM, nobody)

    assert refusal(connection, BEGIN) is None
    assert refusal(connection, BEGIN) == "23505"
    assert refusal(connection, RESTORE) is None
    connection.commit()

    rows = here.of(nobody)
    assert (len(rows["members"]), len(rows["audit_log"])) == (1, 1)
    assert '"action": "import"' in rows["audit_log"][0]
    assert '"actor": "platform:test"' in rows["audit_log"][0]


async def test_silence_ends_with_the_transaction(nobody: str, connect: Connect, here: Any) -> None:
    connection = connect(PLATFORM, nobody)
    connection.execute(BEGIN)
    connection.commit()

    later = connect(PLATFORM, nobody)
    for statement in (BEGIN, RESTORE, READ):
        assert refusal(later, statement) in {DENIED, "23505"}
    later.execute(MEMBER)
    later.commit()

    assert here(LOGGED, nobody) == [(1,)]


async def test_an_import_reaches_the_bound_tenant_alone(
    tenant: Any, nobody: str, connect: Connect, here: Any
) -> None:
    before = here.of(tenant.tenant_id)
    connection = connect(PLATFORM, nobody)
    connection.execute(BEGIN)
    foreign = ROW.replace('"name"', f'"tenant_id": "{tenant.tenant_id}", "name"')

    connection.execute("SELECT restore_rows('members', %s, %s)", [COLUMNS, foreign])
    assert (
        refusal(connection, f"SELECT restore_rows('members', '{{tenant_id,id}}', '{foreign}')")
        == "42701"
    )
    connection.execute("SELECT restored_rows('members', '{id,email}')")
    read = connection.execute("FETCH ALL FROM restored_rows").fetchall()
    # To another tenant in the middle of it: there is no import there.
    bound = sql.SQL("SET LOCAL app.tenant_id = {}").format(sql.Literal(tenant.tenant_id))
    connection.execute(bound)
    for statement in (BEGIN, RESTORE, READ):
        assert refusal(connection, statement) in {DENIED, "23505"}
    connection.commit()

    assert len(read) == 1
    assert here.of(tenant.tenant_id) == before
    assert len(here.of(nobody)["members"]) == 1


@pytest.mark.parametrize("actor", ["member:x", "", "system:job"])
async def test_an_import_is_an_operators_and_has_a_tenant(
    nobody: str, connect: Connect, actor: str
) -> None:
    assert refusal(connect(PLATFORM, nobody, actor), BEGIN) == DENIED
    assert refusal(connect(PLATFORM, "", "platform:x"), BEGIN) == DENIED


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("tenants", "{id}"),
        ("plans", "{slug,name,limits}"),
        ("memberships", "{member_id}"),
        ("platform_idempotency_keys", "{id}"),
        ("alembic_version", "{version_num}"),
        ("pg_catalog.pg_authid", "{rolname}"),
        ('members" (tenant_id) SELECT 1; --', "{id}"),
        ("members", '{"id) SELECT 1; --"}'),
    ],
)
async def test_only_rows_of_tenants_can_be_restored(
    connect: Connect, table: str, columns: str
) -> None:
    connection = connect(PLATFORM, str(uuid4()))
    connection.execute(BEGIN)

    with pytest.raises(psycopg.errors.ProgrammingError):
        connection.execute("SELECT restore_rows(%s, %s, '[{}]')", [table, columns])


async def test_entries_that_are_brought_along_silence_nothing(
    nobody: str, connect: Connect, here: Any
) -> None:
    """They look like an import's own, but have neither the time nor the number of a later one."""
    connection = connect(PLATFORM, nobody)
    connection.execute(BEGIN)
    connection.execute(
        "SELECT restore_rows('audit_log', '{id,at,actor,action,entity,entity_id,changes}', "
        "json_build_array(json_build_object('id', uuidv7(), 'at', now() + interval '1 day', "
        "'actor', 'platform:x', 'action', 'import', 'entity', 'tenants', 'entity_id', %s::text, "
        "'changes', json_build_object('old', null, 'new', json_build_object('transaction', "
        "(pg_current_xact_id()::text::bigint + 1)::text)))))",
        [nobody],
    )
    connection.commit()

    later = connect(PLATFORM, nobody)
    later.execute(MEMBER)
    later.commit()

    assert here(LOGGED, nobody) == [(1,)]
