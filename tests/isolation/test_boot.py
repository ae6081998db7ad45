"""The app does not start where a lock is missing: not as the wrong role, and not on a database in
which anything that guards a tenant's rows is gone or different.

Every case spoils a copy of the migrated database; roles that are too strong are the test's own.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import sql

from saas.app import create_app
from saas.db.audit_functions import AUDIT_FUNCTIONS
from saas.db.migrate import migrate
from saas.db.models import tenant_tables
from saas.db.roles import APP, MIGRATOR, OWNER, PLATFORM, bootstrap
from saas.dev.postgres import EmbeddedPostgres
from saas.errors import ConfigurationError
from saas.installation import as_environment
from saas.settings import Settings

pytestmark = pytest.mark.long

PRISTINE, COPY = "pristine", "spoiled"
ROGUE = "rogue"

_TRIGGER = AUDIT_FUNCTIONS[0].name
# A change to the database, and a word of the sentence with which the app refuses it. The doctor's
# own tests plant many more; these are the ones that would open a tenant.
SPOILED: dict[str, tuple[str, str]] = {
    "the policy is dropped": ("DROP POLICY tenant_isolation ON projects", "projects"),
    "the fence is dropped": ("DROP POLICY tenant_fence ON projects", "projects"),
    "the fence binds one role only": (
        "ALTER POLICY tenant_fence ON projects TO saas_platform",
        "projects",
    ),
    "every row passes": ("ALTER POLICY tenant_isolation ON projects USING (true)", "projects"),
    "every new row passes": (
        "ALTER POLICY tenant_isolation ON projects WITH CHECK (true)",
        "projects",
    ),
    "a policy asks another setting": (
        "ALTER POLICY tenant_isolation ON tasks "
        "USING (tenant_id = current_setting('app.tenant')::uuid)",
        "tasks",
    ),
    "a policy has an exception": (
        "ALTER POLICY tenant_fence ON tasks USING "
        "(tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid "
        "OR current_setting('app.actor', true) LIKE 'platform:%')",
        "tasks",
    ),
    "a policy for everybody is added": ("CREATE POLICY open ON tasks USING (true)", "tasks"),
    "a policy keeps its first tenant": (
        "CREATE FUNCTION tenant() RETURNS uuid IMMUTABLE LANGUAGE sql AS "
        "$$SELECT current_setting('app.tenant_id')::uuid$$; "
        "ALTER POLICY tenant_isolation ON tasks USING (tenant_id = tenant())",
        "IMMUTABLE",
    ),
    "the tenants are open": ("DROP POLICY tenant_isolation ON tenants", "tenants"),
    "the log may be written": (f"GRANT INSERT ON audit_log TO {APP}", "audit_log"),
    "a row may change hands": (f"GRANT UPDATE (tenant_id) ON projects TO {APP}", "projects"),
    "changes are not logged": (f"DROP TRIGGER {_TRIGGER} ON projects", "projects"),
    "a table is not guarded": ("CREATE TABLE stray (tenant_id uuid, id uuid)", "stray"),
    "a table belongs to the app": (f"ALTER TABLE projects OWNER TO {APP}", "owns"),
}
# What makes a role too strong, and a word of the refusal.
TOO_STRONG = {
    "SUPERUSER": "SUPERUSER",
    "BYPASSRLS": "BYPASSRLS",
    "CREATEROLE": "CREATEROLE",
    "REPLICATION": "REPLICATION",
    f"IN ROLE {OWNER}": OWNER,
    f"IN ROLE {MIGRATOR}": MIGRATOR,
}


@pytest.fixture(scope="module")
def pristine(postgres: EmbeddedPostgres) -> str:
    """A migrated database that nobody is connected to, so that it can be copied."""
    bootstrap(postgres.dsn(postgres.superuser, "postgres"), database=PRISTINE)
    migrate(postgres.dsn(MIGRATOR, PRISTINE))
    return PRISTINE


@pytest.fixture
def copy(postgres: EmbeddedPostgres, pristine: str) -> Iterator[str]:
    """A copy of it, for the test to spoil."""
    administer(
        postgres,
        "postgres",
        f"CREATE DATABASE {COPY} OWNER {OWNER} TEMPLATE {pristine} STRATEGY file_copy",
        # The rights on a database do not come with its template.
        f"REVOKE ALL ON DATABASE {COPY} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {COPY} TO {MIGRATOR}, {APP}, {PLATFORM}",
    )
    yield COPY
    administer(postgres, "postgres", f"DROP DATABASE {COPY} WITH (FORCE)")


@pytest.fixture
def rogue(request: pytest.FixtureRequest, postgres: EmbeddedPostgres) -> Iterator[str]:
    """A role that holds all that the app's role holds, and `request.param` more."""
    administer(
        postgres,
        PRISTINE,
        f"CREATE ROLE {ROGUE} LOGIN {request.param}",
        f"GRANT {APP}, {PLATFORM} TO {ROGUE}",
    )
    yield ROGUE
    administer(postgres, PRISTINE, f"DROP ROLE {ROGUE}")


def administer(postgres: EmbeddedPostgres, database: str, *statements: str) -> None:
    url = postgres.dsn(postgres.superuser, database)
    with psycopg.connect(url, autocommit=True) as administrator:
        for statement in statements:
            administrator.execute(sql.SQL(statement))  # type: ignore[arg-type]


def settings_on(
    settings: Settings, postgres: EmbeddedPostgres, database: str, **roles: str
) -> Settings:
    """The settings for `database`, with `app` and `platform` as other roles where given."""
    return msgspec.structs.replace(
        settings,
        database_url=postgres.dsn(roles.get("app", APP), database),
        platform_database_url=postgres.dsn(roles.get("platform", PLATFORM), database),
        migration_database_url=postgres.dsn(MIGRATOR, database),
    )


async def refusal_of(settings: Settings) -> str | None:
    """What the app says instead of starting; None where it starts."""
    try:
        async with create_app(settings).app.lifespan():  # type: ignore[attr-defined]
            return None
    except ExceptionGroup as group:
        # Litestar starts inside a task group.
        refused, other = group.split(ConfigurationError)
        assert refused is not None
        assert other is None
        return str(refused.exceptions[0])


async def test_the_app_starts_on_the_migrated_database_and_on_a_copy(
    settings: Settings, postgres: EmbeddedPostgres, copy: str
) -> None:
    assert await refusal_of(settings) is None
    assert await refusal_of(settings_on(settings, postgres, copy)) is None


@pytest.mark.parametrize("case", SPOILED)
async def test_the_app_refuses_a_spoiled_database(
    case: str, settings: Settings, postgres: EmbeddedPostgres, copy: str
) -> None:
    statement, word = SPOILED[case]
    administer(postgres, copy, statement)

    said = await refusal_of(settings_on(settings, postgres, copy))

    assert said is not None
    assert word in said
    assert "\n" not in said


@pytest.mark.parametrize("change", ["DISABLE", "NO FORCE"])
async def test_the_app_refuses_tables_without_row_security_and_names_each(
    change: str, settings: Settings, postgres: EmbeddedPostgres, copy: str
) -> None:
    names = [*(table.name for table in tenant_tables()), "tenants"]
    for name in names:
        statement = f"ALTER TABLE {name} {change} ROW LEVEL SECURITY"
        administer(postgres, copy, statement)

    said = await refusal_of(settings_on(settings, postgres, copy))

    assert said is not None
    for name in names:
        assert f"Table {name} is not guarded" in said


@pytest.mark.parametrize("plane", ["app", "platform"])
@pytest.mark.parametrize("rogue", TOO_STRONG, indirect=True)
async def test_the_app_refuses_a_role_that_is_too_strong(
    plane: str,
    rogue: str,
    request: pytest.FixtureRequest,
    settings: Settings,
    postgres: EmbeddedPostgres,
    pristine: str,
) -> None:
    said = await refusal_of(settings_on(settings, postgres, pristine, **{plane: rogue}))

    attribute = request.node.callspec.params["rogue"]
    assert said is not None
    assert any(
        ROGUE in sentence and TOO_STRONG[attribute] in sentence for sentence in said.split("; ")
    )


@pytest.mark.parametrize(
    "roles",
    [
        {"app": MIGRATOR},
        {"platform": MIGRATOR},
        {"app": PLATFORM},
        {"platform": APP},
        {"app": PLATFORM, "platform": APP},
    ],
    ids=str,
)
async def test_the_app_refuses_another_role_of_its_own(
    roles: dict[str, str], settings: Settings, postgres: EmbeddedPostgres, pristine: str
) -> None:
    said = await refusal_of(settings_on(settings, postgres, pristine, **roles))

    assert said is not None
    assert "all rights are made for" in said


async def test_a_setting_of_another_database_is_no_fault_of_this_one(
    settings: Settings, postgres: EmbeddedPostgres, pristine: str, copy: str
) -> None:
    administer(postgres, "postgres", f"ALTER DATABASE {copy} SET app.tenant_id = 'x'")

    assert await refusal_of(settings_on(settings, postgres, pristine)) is None
    assert await refusal_of(settings_on(settings, postgres, copy)) is not None


async def test_a_dropped_reference_is_refused(
    settings: Settings, postgres: EmbeddedPostgres, copy: str
) -> None:
    administer(postgres, copy, "ALTER TABLE tasks DROP CONSTRAINT fk_tasks_project_id")

    said = await refusal_of(settings_on(settings, postgres, copy))

    assert said is not None
    assert "fk_tasks_project_id of table tasks is missing" in said


async def test_the_superuser_itself_is_refused(
    settings: Settings, postgres: EmbeddedPostgres, pristine: str
) -> None:
    superuser = {"app": postgres.superuser, "platform": postgres.superuser}

    said = await refusal_of(settings_on(settings, postgres, pristine, **superuser))

    assert said is not None
    assert f"{postgres.superuser} is SUPERUSER" in said


def test_the_server_ends_with_one_line_and_an_exit_code(
    settings: Settings, postgres: EmbeddedPostgres, pristine: str, tmp_path: Any
) -> None:
    as_superuser = settings_on(settings, postgres, pristine, app=postgres.superuser)
    wanted = msgspec.structs.replace(as_superuser, port=free_port())

    done = subprocess.run(
        [sys.executable, "-m", "saas.cli", "serve"],
        env={**os.environ, **as_environment(wanted)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    told = (done.stdout + done.stderr).splitlines()
    assert done.returncode != 0
    assert len(told) == 1
    assert f"{postgres.superuser} is SUPERUSER" in told[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
