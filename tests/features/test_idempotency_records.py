"""What is kept for an Idempotency-Key, for how long, and what it tells who reads the table."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec
import psycopg
import pytest
from keyed import assert_replays, is_replay, keyed
from litestar import post
from litestar.params import JSONBody
from litestar.types import ASGIApp
from refusals import assert_refused

from saas.app import create_app, shared_secret
from saas.db.transaction import current_transaction
from saas.errors import NotDeleted, SaasError, Unauthenticated, Unavailable
from saas.features.projects import Project, ProjectCreate, ProjectRead, ProjectUpdate, projects
from saas.web import idempotency_key
from saas.web.answer import Answer, json_answer
from saas.web.described import described
from saas.web.idempotency_key import claim_of
from saas.web.resource import Resource
from saas.web.schemas import values_of

ROCKET = {"name": "Rocket"}
DEFERRED = "CREATE TABLE deferred_probe (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)"


class TooManyRequests(SaasError):
    status, code, title = 429, "too_many_requests", "Too many requests"


class Stumbling:
    """An app whose route `POST /v1/projects/stumble` makes a project and then meets what `next`
    says: an error, an answer of its own, SQL, or something to call."""

    def __init__(self):
        self.next: list[Exception | Answer | str | Callable[[], object]] = []

    def resource(self):
        @post(
            "/stumble",
            **described(
                "projects.stumble", "", permission="projects:write", success=201, body=None
            ),
        )
        async def stumble(data: JSONBody[ProjectCreate]) -> ASGIApp:
            row = await projects.repository.create(values_of(data))
            for event in [self.next.pop()] if self.next else []:
                if isinstance(event, Exception):
                    raise event
                if isinstance(event, Answer):
                    return event
                if callable(event):
                    event()
                    continue
                for statement in event.split(";"):
                    await current_transaction().fetch(statement)
            return json_answer(row, 201)

        return Resource(Project, ProjectCreate, ProjectUpdate, ProjectRead, routes=[stumble])


class Watched:
    """An app that does what `at_start` says, once, when an answer begins."""

    def __init__(self, edge):
        self.app, self._edge = edge.app, edge
        self.at_start: list[Callable[[], Awaitable[object]]] = []

    async def __call__(self, scope, receive, send):
        async def watching(message):
            if self.at_start:
                await self.at_start.pop()()
            await send(message)

        await self._edge(scope, receive, watching)


@pytest.fixture
def stumbling_app():
    return Stumbling()


@pytest.fixture
def watched(settings, stumbling_app):
    return Watched(create_app(settings, [stumbling_app.resource()]))


@pytest.fixture
async def stumbling(watched, stumbling_app, tenant, serve):
    """A caller of the app, and what it shall meet."""
    async with serve(watched) as http:
        yield type(tenant)(http, tenant.key, tenant.body), stumbling_app.next


@pytest.fixture
def superuser(postgres):
    url = postgres.dsn(postgres.superuser, "saas")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


async def count(tenant):
    return (await tenant.get("/v1/projects?include_total=true")).json()["total"]


def records(superuser, tenant):
    where = "FROM idempotency_keys WHERE tenant_id = %s"
    return superuser.execute(f"SELECT count(*) {where}", [tenant.tenant_id]).fetchone()[0]


def expire(superuser, tenant):
    superuser.execute(
        "UPDATE idempotency_keys SET expires_at = now() WHERE tenant_id = %s", [tenant.tenant_id]
    )


async def until_somebody_waits(superuser):
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'saas'"
    deadline = time.monotonic() + 4
    while not superuser.execute(waiting).fetchall():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_second_of_two_at_once_is_told_so_and_not_kept_waiting(tenant, superuser):
    project, key = await tenant.create("projects", name="Rocket"), keyed()
    body = {"project_id": project["id"], "title": "Fuel"}
    with superuser.transaction():
        # A new task waits for its project, inside the handler.
        superuser.execute("SELECT FROM projects WHERE id = %s FOR UPDATE", [project["id"]])
        running = asyncio.create_task(tenant.post("/v1/tasks", body, **key))
        await until_somebody_waits(superuser)

        refused = await tenant.post("/v1/tasks", body, **key)
        other = await tenant.post("/v1/projects", {"name": "Anvil"}, **key)

        assert not running.done()
    first = await running

    assert_refused(refused, 409, "idempotency_key_in_use")
    assert refused.headers["retry-after"] == "1"
    assert [other.status_code, first.status_code] == [201, 201]
    assert_replays(await tenant.post("/v1/tasks", body, **key), first)


async def test_without_the_lock_the_primary_key_lets_one_of_two_through(
    stumbling, superuser, settings
):
    (caller, events), key = stumbling, keyed()
    actor = f"key:{caller.body['api_key']['id']}"
    asked = (UUID(caller.tenant_id).bytes, actor, "/v1/projects/stumble", [])
    claim = claim_of([key["headers"]["Idempotency-Key"].encode()], asked, shared_secret(settings))
    insert = """INSERT INTO idempotency_keys (tenant_id, id, request_mac, answer, expires_at)
        VALUES (%s, %s, '', '', now() + interval '1 hour')"""
    events.append(lambda: superuser.execute(insert, [caller.tenant_id, claim.id]))

    refused = await caller.post("/v1/projects/stumble", ROCKET, **key)

    assert_refused(refused, 409, "idempotency_key_in_use")
    assert await count(caller) == 0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError(), 500),
        (Unavailable(), 503),
        (Unauthenticated(), 401),
        (TooManyRequests(), 429),
    ],
)
async def test_answer_that_is_not_kept_leaves_no_effect(stumbling, superuser, error, status):
    (caller, events), key = stumbling, keyed()
    events.append(error)

    failed = await caller.post("/v1/projects/stumble", ROCKET, **key)
    left = (await count(caller), records(superuser, caller))
    done = await caller.post("/v1/projects/stumble", ROCKET, **key)

    assert (failed.status_code, done.status_code) == (status, 201)
    assert left == (0, 0)
    assert_replays(await caller.post("/v1/projects/stumble", ROCKET, **key), done)


@pytest.mark.parametrize("event", [None, Unavailable(), NotDeleted()])
async def test_all_is_settled_when_an_answer_begins(stumbling, watched, event):
    (caller, events), key, repeats = stumbling, keyed(), []
    events += [event] if event else []

    async def repeat():
        repeats.append(await caller.post("/v1/projects/stumble", ROCKET, **key))

    watched.at_start.append(repeat)
    first = await caller.post("/v1/projects/stumble", ROCKET, **key)

    if first.status_code == 503:
        assert (repeats[0].status_code, is_replay(repeats[0])) == (201, False)
    else:
        assert_replays(repeats[0], first)


async def test_effect_of_a_refused_request_is_undone_and_its_refusal_kept(stumbling):
    (caller, events), key = stumbling, keyed()
    events.append(NotDeleted())

    first = await caller.post("/v1/projects/stumble", ROCKET, **key)
    again = await caller.post("/v1/projects/stumble", ROCKET, **key)

    assert_refused(first, 409, "not_deleted")
    assert_replays(again, first)
    assert await count(caller) == 0


async def test_effect_of_an_answer_that_is_no_refusal_stays(stumbling):
    (caller, events), key = stumbling, keyed()
    events.append(Answer(422, b"as wished", [(b"content-type", b"text/plain"), (b"x-y", b"z")]))

    first = await caller.post("/v1/projects/stumble", ROCKET, **key)
    again = await caller.post("/v1/projects/stumble", ROCKET, **key)

    assert (first.status_code, first.text, first.headers.pop("x-y")) == (422, "as wished", "z")
    assert_replays(again, first)
    assert await count(caller) == 1


async def test_constraint_that_fails_at_the_end_is_a_refusal_like_others(stumbling, superuser):
    (caller, events), key = stumbling, keyed()
    superuser.execute(f"{DEFERRED}; GRANT INSERT ON deferred_probe TO saas_app")
    try:
        events.append("INSERT INTO deferred_probe VALUES (1);INSERT INTO deferred_probe VALUES (1)")

        first = await caller.post("/v1/projects/stumble", ROCKET, **key)
        again = await caller.post("/v1/projects/stumble", ROCKET, **key)
    finally:
        superuser.execute("DROP TABLE deferred_probe")

    assert_refused(first, 409, "already_exists")
    assert_replays(again, first)
    assert await count(caller) == 0


async def test_answer_too_large_to_be_kept_undoes_the_work(stumbling, monkeypatch):
    (caller, events), key = stumbling, keyed()
    monkeypatch.setattr(idempotency_key, "MAX_KEPT_BYTES", 1_000_000)
    events += [Answer(201, b"x" * 1_000_000), Answer(201, b"x" * 1_000_001)]

    refused = await caller.post("/v1/projects/stumble", ROCKET, **key)
    left = await count(caller)
    fitting = await caller.post("/v1/projects/stumble", ROCKET, **key)

    assert_refused(refused, 413, "answer_too_large")
    assert left == 0
    assert fitting.status_code == 201
    assert_replays(await caller.post("/v1/projects/stumble", ROCKET, **key), fitting)


async def test_after_its_time_a_key_is_new(tenant, superuser):
    key = keyed()
    first = await tenant.post("/v1/projects", ROCKET, **key)
    expire(superuser, tenant)

    late = await tenant.post("/v1/projects", ROCKET, **key)
    other = await tenant.post("/v1/projects", {"name": "Anvil"}, **key)

    assert first.status_code == 201
    assert_refused(late, 409, "already_exists")
    assert not is_replay(late)
    assert_refused(other, 422, "idempotency_key_reused")
    assert_replays(await tenant.post("/v1/projects", ROCKET, **key), late)


async def test_record_lives_for_a_day(tenant, superuser):
    await tenant.post("/v1/projects", ROCKET, **keyed())

    left = superuser.execute(
        "SELECT expires_at - now() FROM idempotency_keys WHERE tenant_id = %s", [tenant.tenant_id]
    ).fetchone()[0]

    assert 23.9 < left.total_seconds() / 3600 <= 24


async def test_keeping_one_removes_a_hundred_that_expired(tenant, other_tenant, superuser):
    for caller in (tenant, other_tenant):
        superuser.execute(
            """INSERT INTO idempotency_keys (tenant_id, request_mac, answer, expires_at)
            SELECT %s, '', '', now() FROM generate_series(1, 150)""",
            [caller.tenant_id],
        )
    with superuser.transaction():
        # Somebody else is at some of them: nobody waits for him.
        superuser.execute(
            "SELECT FROM idempotency_keys WHERE tenant_id = %s LIMIT 10 FOR UPDATE",
            [tenant.tenant_id],
        )
        first = await tenant.post("/v1/projects", ROCKET, **keyed())
        assert records(superuser, tenant) == 51

    second = await tenant.post("/v1/projects", {"name": "Anvil"}, **keyed())

    assert [first.status_code, second.status_code] == [201, 201]
    assert records(superuser, tenant) == 2
    assert records(superuser, other_tenant) == 150


async def test_table_tells_its_reader_nothing(tenant, operator, superuser):
    key, slug = "1", f"quiet-{tenant.tenant_id[-12:]}"
    wish = {"slug": slug, "name": "Quiet", "owner": {"email": f"a@{slug}.test", "name": "Ada"}}
    made = await operator.post("/v1/admin/tenants", wish, **keyed(f"{slug}-{key}"))
    await tenant.post("/v1/projects", ROCKET, **keyed(key))
    await tenant.post("/v1/projects", ROCKET, **keyed("2"))

    ours = superuser.execute(
        "SELECT id, request_mac, answer FROM idempotency_keys WHERE tenant_id = %s",
        [tenant.tenant_id],
    ).fetchall()
    all_rows = (
        ours
        + superuser.execute(
            "SELECT id, request_mac, answer FROM platform_idempotency_keys"
        ).fetchall()
    )

    assert made.status_code == 201
    assert len(ours) == 2
    # Not even that two requests had the same body.
    assert len({mac for _, mac, _ in ours}) == 2
    text = b"".join(id.bytes + mac + answer for id, mac, answer in all_rows)
    secret = made.json()["api_key"]["key"]
    for told in (slug, secret, secret[-43:], "Rocket", tenant.body["api_key"]["id"], "application"):
        assert told.encode() not in text


async def test_record_that_somebody_changed_is_no_answer(tenant, superuser):
    key = keyed()
    first = await tenant.post("/v1/projects", ROCKET, **key)
    superuser.execute(
        "UPDATE idempotency_keys SET answer = answer || '\\x00' WHERE tenant_id = %s",
        [tenant.tenant_id],
    )

    refused = await tenant.post("/v1/projects", ROCKET, **key)

    assert first.status_code == 201
    assert_refused(refused, 500, "internal_error")


async def test_with_another_secret_of_the_installation_every_key_is_new(tenant, settings, serve):
    key = keyed()
    await tenant.post("/v1/projects", ROCKET, **key)
    changed = msgspec.structs.replace(settings, jwt_secret="another secret, as long as it must be")
    async with serve(create_app(changed)) as http:
        caller = type(tenant)(http, tenant.key, tenant.body)
        again = await caller.post("/v1/projects", ROCKET, **key)

    assert_refused(again, 409, "already_exists")
    assert not is_replay(again)


async def test_requests_without_a_key_keep_nothing(tenant, superuser):
    await tenant.create("projects", name="Rocket")

    assert records(superuser, tenant) == 0
