"""Two installations, and a tenant that something has happened to."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import msgspec
import psycopg
import pytest

from saas.app import create_app
from saas.db.migrate import migrate
from saas.db.models import tenant_tables
from saas.db.roles import APP, MIGRATOR, PLATFORM, bootstrap
from saas.dev.postgres import EmbeddedPostgres
from saas.settings import Settings

Export = Callable[..., Awaitable[bytes]]
Import = Callable[..., Awaitable[httpx.Response]]
Tenant = Any

_ELSEWHERE = "elsewhere"


class Rows:
    """One database, past row-level security."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    def __call__(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(statement, values)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []

    def change(self, tenant: str, statement: str, *values: Any) -> None:
        """As an unnamed job of the tenant, so that it is logged."""
        with self._connection.transaction():
            self(f"SET LOCAL app.tenant_id = '{tenant}'")
            self("SET LOCAL app.actor = 'system:test'")
            self(statement, *values)

    def of(self, tenant: str) -> dict[str, list[str]]:
        """All that a tenant has in every table, as text."""
        return {
            table.name: [
                text
                for (text,) in self(
                    f"SELECT to_jsonb(t)::text FROM {table.name} AS t "
                    "WHERE tenant_id = %s ORDER BY id",
                    tenant,
                )
            ]
            for table in tenant_tables()
        }

    def everything(self) -> dict[str, int]:
        """How much there is, of all tenants and of the directory."""
        tables = [*(table.name for table in tenant_tables()), "tenants", "memberships"]
        return {name: self(f"SELECT count(*) FROM {name}")[0][0] for name in tables}

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="session")
def here(postgres: EmbeddedPostgres, settings: Settings) -> Iterator[Rows]:
    rows = Rows(postgres.dsn(postgres.superuser, "saas"))
    yield rows
    rows.close()


@pytest.fixture(scope="session")
def elsewhere_settings(
    postgres: EmbeddedPostgres, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Those of another installation, on a database of its own."""
    bootstrap(postgres.dsn(postgres.superuser, "postgres"), database=_ELSEWHERE)
    migrate(postgres.dsn(MIGRATOR, _ELSEWHERE))
    return msgspec.structs.replace(
        settings,
        data_dir=str(tmp_path_factory.mktemp(_ELSEWHERE)),
        database_url=postgres.dsn(APP, _ELSEWHERE),
        platform_database_url=postgres.dsn(PLATFORM, _ELSEWHERE),
        migration_database_url=postgres.dsn(MIGRATOR, _ELSEWHERE),
    )


@pytest.fixture(scope="session")
def there(postgres: EmbeddedPostgres, elsewhere_settings: Settings) -> Iterator[Rows]:
    rows = Rows(postgres.dsn(postgres.superuser, _ELSEWHERE))
    yield rows
    rows.close()


@pytest.fixture(scope="session")
async def elsewhere(elsewhere_settings: Settings, serve: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the other installation."""
    async with serve(create_app(elsewhere_settings)) as client:
        yield client


@pytest.fixture
def export(http: httpx.AsyncClient, settings: Settings) -> Export:
    """The archive of a tenant, by id, from this installation unless another client is given."""

    async def export(tenant: str, client: httpx.AsyncClient = http) -> bytes:
        path = f"/v1/admin/tenants/{tenant}/export"
        answer = await client.get(path, headers=_operator(settings))
        assert answer.status_code == 200, answer.text
        return answer.content

    return export


@pytest.fixture
def bring(settings: Settings) -> Import:
    """Import an archive through a client; the query by name."""

    async def bring(
        client: httpx.AsyncClient, archive: bytes, *, key: str | None = None, **query: str
    ) -> httpx.Response:
        headers = {**_operator(settings), "Content-Type": "application/zip"}
        if key is not None:
            headers["Idempotency-Key"] = key
        return await client.post(
            "/v1/admin/tenants/import", content=archive, params=query, headers=headers
        )

    return bring


@pytest.fixture
async def lived_in(tenant: Tenant, here: Rows) -> Tenant:
    """A tenant with rows in every table that travels: changed, deleted and purged ones too."""
    id, key = tenant.tenant_id, tenant.body["api_key"]["id"]
    here.change(
        id,
        "INSERT INTO members (tenant_id, email, name, role, created_by, updated_by) "
        "VALUES (%s, 'bob@x.test', 'Böb \"\\n\" \u2028', 'member', 'system:x', 'system:x'), "
        "(%s, 'gone@x.test', 'Gone', 'viewer', 'system:x', 'system:x')",
        *(id, id),
    )
    left = "UPDATE members SET deleted_at = now() WHERE tenant_id = %s AND email = 'gone@x.test'"
    here.change(id, left, id)
    here.change(
        id,
        "INSERT INTO invitations (tenant_id, email, role, expires_at, created_by, updated_by) "
        "VALUES (%s, 'new@x.test', 'viewer', now() + '1 day', 'system:x', 'system:x')",
        id,
    )
    here.change(id, "INSERT INTO api_key_uses VALUES (%s, %s, now())", id, key)
    here.change(
        id,
        "INSERT INTO usage_events (tenant_id, meter, key, quantity, at, actor) "
        "VALUES (%s, 'pdf_pages', 'job-1', 3, now(), 'system:x')",
        id,
    )
    (bob,) = here("SELECT id FROM members WHERE tenant_id = %s AND email = 'bob@x.test'", id)[0]
    for number in range(3):
        project = await tenant.create("projects", name=f"Project {number}", budget_cents=2**53 + 1)
        task = {"project_id": project["id"], "title": "Plan", "assignee_id": str(bob)}
        await tenant.create("tasks", **task, due_on="2027-01-31")
    await tenant.patch(f"/v1/projects/{project['id']}", {"description": 'Changed\t€\n\\ "x"'})
    await tenant.delete(
        f"/v1/tasks/{(await tenant.create('tasks', **task | {'title': 'x'}))['id']}"
    )
    gone = await tenant.create("projects", name="Purged")
    await tenant.delete(f"/v1/projects/{gone['id']}?hard=true")
    return tenant


def _operator(settings: Settings) -> dict[str, str]:
    return {"Authorization": f"Bearer {settings.platform_key}"}
