"""The owner's functions for the platform: each does one thing to the bound tenant, and only when
that is due. Nobody else may call them."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import sql

from isolation.conftest import NewTenant
from isolation.raw import Connection, Raw, bind, refusal
from saas.db.platform_functions import PLATFORM_FUNCTIONS
from saas.db.roles import APP, MIGRATOR, PLATFORM

DENIED = "42501"
CALLS = {
    "record_access": """SELECT record_access('{"reason": "x"}')""",
    "purge_rows": "SELECT purge_rows('projects', 1)",
    "count_rows": "SELECT count_rows('public.projects', 'tenant_id')",
}
IN_GRACE = "status = 'deleting', purge_at = now() + interval '1 hour', deletion = '{}'"
OVER = "status = 'deleting', purge_at = now(), deletion = '{}'"
STARTED = """status = 'deleting', purge_at = now(), deletion = '{"started_at": "now"}'"""
GONE = "status = 'deleted', purge_at = now()"


@pytest.fixture
def ours(raw: Raw, new_tenant: NewTenant) -> UUID:
    return new_tenant()


@pytest.fixture
def platform(raw: Raw, ours: UUID) -> Iterator[Connection]:
    """The platform's role, bound to our tenant, which is entered among the tenants; what it does
    is undone."""
    with raw.acting_as(PLATFORM, ours) as connection:
        connection.execute("SET LOCAL app.actor = 'platform:ops'")
        connection.execute(
            "INSERT INTO tenants (id, slug, name, plan, created_by, updated_by) "
            "VALUES (%s, %s, 'x', 'free', 'x', 'x')",
            [ours, f"raw-{ours.hex[:12]}"],
        )
        yield connection


def put(connection: Connection, state: str) -> None:
    mine = "id = current_setting('app.tenant_id')::uuid"
    connection.execute(f"UPDATE tenants SET {state} WHERE {mine}")


def result(connection: Connection, call: str) -> Any:
    row = connection.execute(call).fetchone()
    assert row is not None
    return row[0]


def test_every_function_is_attacked() -> None:
    assert CALLS.keys() == {function.name for function in PLATFORM_FUNCTIONS}


@pytest.mark.parametrize("role", [APP, MIGRATOR])
@pytest.mark.parametrize("name", CALLS)
def test_only_the_platform_may_call_it(name: str, role: str, raw: Raw, ours: UUID) -> None:
    held = (
        "SELECT has_function_privilege(%s, p.oid, 'EXECUTE') FROM pg_proc AS p WHERE proname = %s"
    )
    with raw.acting_as(role, ours) as connection:
        connection.execute("SET LOCAL app.actor = 'platform:ops'")
        assert refusal(connection, CALLS[name]) == DENIED
        assert connection.execute(held, [role, name]).fetchall() == [(False,)]
        assert connection.execute(held, [PLATFORM, name]).fetchall() == [(True,)]


@pytest.mark.parametrize("name", ["purge_rows", "count_rows"])
def test_rows_are_touched_of_a_tenant_that_is_being_purged_alone(
    name: str, platform: Connection
) -> None:
    for state in ("status = 'active'", "status = 'suspended'", IN_GRACE, OVER):
        put(platform, state)
        assert refusal(platform, CALLS[name]) == DENIED, state

    for state in (STARTED, GONE):
        put(platform, state)
        assert refusal(platform, CALLS[name]) is None, state


def test_rows_go_from_the_bound_tenant_alone(
    platform: Connection, raw: Raw, ours: UUID, new_tenant: NewTenant
) -> None:
    theirs = new_tenant()
    put(platform, STARTED)
    for table in ("audit_log", "projects", "access_grants"):
        assert result(platform, f"SELECT purge_rows('{table}', 1)") == 1
        while result(platform, f"SELECT purge_rows('{table}', 1000)"):
            pass
        assert result(platform, f"SELECT count_rows('public.{table}', 'tenant_id')") == 0

    with raw.owner_in(theirs) as owner:
        for table in ("audit_log", "projects", "access_grants"):
            found = owner.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(table)))
            assert found.rowcount > 0
    # Binding itself to a tenant that is not being purged, it is refused.
    bind(platform, theirs)
    assert refusal(platform, CALLS["purge_rows"]) == DENIED
    bind(platform, "")
    assert refusal(platform, CALLS["purge_rows"]) == DENIED


@pytest.mark.parametrize(
    "entity",
    [
        "projects WHERE true; DELETE FROM plans; --",
        "plans",
        "tenants",
        "pg_class",
        "../projects",
        "",
    ],
)
def test_no_other_relation_can_be_named(entity: str, platform: Connection) -> None:
    put(platform, STARTED)
    quoted = sql.Literal(entity)

    for call in ("SELECT purge_rows({}, 1000)", "SELECT count_rows({}, 'id; --')"):
        assert refusal(platform, sql.SQL(call).format(quoted)) is not None
    assert result(platform, "SELECT count(*) > 0 FROM plans") is True


@pytest.mark.parametrize(
    "actor", ["", "member:x", "key:x", "system:purge", "Platform:ops", " platform:ops"]
)
def test_entry_of_an_access_names_an_operator(actor: str, platform: Connection) -> None:
    assert result(platform, CALLS["record_access"]) is True

    platform.execute(sql.SQL("SET LOCAL app.actor = {}").format(sql.Literal(actor)))
    assert refusal(platform, CALLS["record_access"]) == DENIED


def test_entry_of_an_access_is_about_the_bound_tenant_and_nothing_else(
    raw: Raw, ours: UUID
) -> None:
    details = """{"tenant_id": "00000000-0000-7000-8000-000000000000", "action": "delete"}"""
    with raw.acting_as(raw.postgres.superuser, ours) as administrator:
        administrator.execute("SET LOCAL app.actor = 'platform:ops'")
        administrator.execute("SET LOCAL app.request_id = 'r-1'")
        administrator.execute(
            "INSERT INTO tenants (id, slug, name, plan, created_by, updated_by) "
            "VALUES (%s, %s, 'x', 'free', 'x', 'x')",
            [ours, f"own-{ours.hex[:12]}"],
        )
        administrator.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(PLATFORM)))
        administrator.execute("SELECT record_access(%s)", [details])
        administrator.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(APP)))
        written = administrator.execute(
            "SELECT tenant_id, actor, request_id, action, entity, entity_id, changes "
            "FROM audit_log ORDER BY id DESC LIMIT 1"
        ).fetchone()

    changes = {"old": None, "new": json.loads(details)}
    assert written == (ours, "platform:ops", "r-1", "access", "tenants", ours, changes)


def test_no_access_to_a_tenant_that_is_no_more_is_recorded(platform: Connection) -> None:
    assert result(platform, CALLS["record_access"]) is True

    for state in (IN_GRACE, STARTED, GONE):
        put(platform, state)
        assert result(platform, CALLS["record_access"]) is False
    bind(platform, uuid4())
    assert result(platform, CALLS["record_access"]) is False
    bind(platform, "")
    assert refusal(platform, CALLS["record_access"]) == DENIED
