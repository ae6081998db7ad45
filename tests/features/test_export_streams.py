"""An export while it is read: one snapshot, no faster than its reader, and never half a file that
looks whole."""

import asyncio
from contextlib import AsyncExitStack

import msgspec
import psycopg
import pytest
from readers import Reader

from processes import wait_until
from saas.app import create_app
from saas.web import streamed

EXPORT = "/v1/projects/export?format=jsonl&fields=name&sort=name"
READING = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'saas' "
    "AND query LIKE 'FETCH FORWARD%' AND state = 'idle in transaction'"
)
FILL = (
    "INSERT INTO projects (tenant_id, name, created_by, updated_by) SELECT %s, 'p' || "
    "to_char(n, 'FM00000'), 'a', 'a' FROM generate_series(1, %s) AS n"
)


@pytest.fixture
def superuser(postgres, settings):
    with psycopg.connect(postgres.dsn(postgres.superuser, "saas"), autocommit=True) as connection:
        yield connection


@pytest.fixture
async def many(tenant, superuser):
    """A tenant with some pieces more than what is sent ahead."""
    superuser.execute("SET app.actor = 'system:test'")
    superuser.execute("SELECT set_config('app.tenant_id', %s, false)", [tenant.tenant_id])
    superuser.execute(FILL, [tenant.tenant_id, 2_000])
    return tenant


async def until(is_so):
    # In a thread, while the app goes on in this one.
    await asyncio.to_thread(wait_until, is_so)


async def test_rows_are_those_of_one_moment(app, many, superuser):
    async with Reader(app, many, EXPORT) as reader:
        first = await reader.piece()
        own = "tenant_id = %s AND name"
        for change in (
            f"UPDATE projects SET name = 'z' || name WHERE {own} > 'p01990'",
            f"DELETE FROM projects WHERE {own} = 'p01500'",
        ):
            superuser.execute(change, [many.tenant_id])
        rest, is_whole = await reader.rest()

    names = [line.decode() for line in (first + rest).splitlines()]
    assert is_whole
    assert names == [f'{{"name":"p{number:05}"}}' for number in range(1, 2_001)]


async def test_reader_decides_how_fast_rows_are_read(app, many, superuser):
    async with Reader(app, many, EXPORT) as reader:
        await until(lambda: superuser.execute(READING).fetchall())
        pieces = 1
        while await reader.piece():
            pieces += 1

    assert pieces > 5
    assert superuser.execute(READING).fetchall() == []


async def test_reader_who_leaves_ends_the_transaction(app, many, superuser):
    async with Reader(app, many, EXPORT) as reader:
        await until(lambda: superuser.execute(READING).fetchall())
        assert await reader.piece()

        reader.leave()

        await until(lambda: not superuser.execute(READING).fetchall())
        await until(reader.answering.done)
        # Nobody is there to be told, so it is no failure.
        assert reader.answering.exception() is None
        assert not (await reader.rest())[1]


async def test_reader_who_takes_nothing_is_given_up(app, many, superuser, monkeypatch):
    monkeypatch.setattr(streamed, "_STALLED_SECONDS", 0.2)

    async with Reader(app, many, EXPORT) as reader:
        await until(reader.answering.done)

        assert superuser.execute(READING).fetchall() == []
        assert reader.answering.exception() is not None
        while piece := await reader.piece():
            assert piece
        assert piece is None


async def test_export_that_takes_for_ever_is_given_up(app, many, superuser, monkeypatch):
    monkeypatch.setattr(streamed, "_LONGEST_SECONDS", 0.2)

    async with Reader(app, many, EXPORT) as reader:
        await until(reader.answering.done)

        assert superuser.execute(READING).fetchall() == []
        assert reader.answering.exception() is not None


async def test_lost_database_breaks_the_answer_off(app, many, superuser):
    async with Reader(app, many, EXPORT) as reader:
        assert await reader.piece()
        for (pid,) in superuser.execute(READING).fetchall():
            superuser.execute("SELECT pg_terminate_backend(%s)", [pid])

        _, is_whole = await reader.rest()

        assert not is_whole
        assert reader.answering.exception() is not None


@pytest.mark.parametrize(
    "taking_away",
    [
        "UPDATE tenants SET status = 'suspended' WHERE id = %s",
        "UPDATE api_keys SET revoked_at = now() WHERE tenant_id = %s",
        """UPDATE api_keys SET permissions = '["tasks:read"]' WHERE tenant_id = %s""",
    ],
)
async def test_export_ends_with_the_right_to_it(settings, serve, many, superuser, taking_away):
    app = create_app(msgspec.structs.replace(settings, principal_cache_seconds=0))
    async with serve(app):
        async with Reader(app, many, EXPORT) as reader:
            assert await reader.rest() == (await _whole(app, many), True)
        async with Reader(app, many, EXPORT) as reader:
            assert await reader.piece()
            superuser.execute(taking_away, [many.tenant_id])

            _, is_whole = await reader.rest()

            assert not is_whole
            assert reader.answering.exception() is not None


async def _whole(app, tenant):
    async with Reader(app, tenant, EXPORT) as reader:
        return (await reader.rest())[0]


async def test_exports_leave_connections_for_everything_else(
    settings, serve, many, other_tenant, superuser
):
    app = create_app(msgspec.structs.replace(settings, pool_size=20))
    await other_tenant.create("projects", name="Theirs")
    async with serve(app) as http, AsyncExitStack() as readers:
        for _ in range(2):
            reader = await readers.enter_async_context(Reader(app, many, EXPORT))
            assert reader.status == 200
        headers = {"Authorization": f"Bearer {many.key}"}

        refused = await http.get(EXPORT, headers=headers)

        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        assert (await http.get("/v1/projects", headers=headers)).status_code == 200
        others = {"Authorization": f"Bearer {other_tenant.key}"}
        assert (await http.get(EXPORT, headers=others)).status_code == 200
        reader.leave()
        await asyncio.wait([reader.answering])
        assert (await http.get(EXPORT, headers=headers)).status_code == 200


@pytest.fixture
def hasty(many, superuser):
    """A tenant whose plan gives each statement 0.3 s."""
    superuser.execute(
        "INSERT INTO plans SELECT (p).* FROM (SELECT jsonb_populate_record(p, "
        """'{"slug": "hasty", "limits": {"statement_timeout_ms": 300}}') AS p """
        "FROM plans AS p WHERE slug = 'free') AS p"
    )
    superuser.execute("UPDATE tenants SET plan = 'hasty' WHERE id = %s", [many.tenant_id])
    yield many
    superuser.execute("UPDATE tenants SET plan = 'free' WHERE id = %s", [many.tenant_id])
    superuser.execute("DELETE FROM plans WHERE slug = 'hasty'")


async def test_statement_that_is_stuck_is_refused_and_a_slow_reader_is_not(app, hasty, superuser):
    async with Reader(app, hasty, EXPORT) as reader:
        assert await reader.piece()
        await asyncio.sleep(0.5)
        assert (await reader.rest())[1]
    # A lingering read has to let go of the table first.
    await asyncio.sleep(0.2)
    with superuser.transaction():
        superuser.execute("LOCK TABLE projects")
        answer = await hasty.get(EXPORT)

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
