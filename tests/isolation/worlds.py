"""Tenants with data in every table, and requests whose answers can be compared byte by byte."""

import asyncio
import csv
import io
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

import httpx
import msgspec

from isolation.asgi import request
from isolation.bodies import body_of
from isolation.raw import Raw, fill, ids_of, use
from isolation.surface import RESOURCE_BY_NAME, references_of
from saas.db.models import tenant_tables

# The same for every request, so that two answers of one kind are equal to the byte.
REQUEST_ID = "isolation-probe"
# What may differ between two answers of one kind.
_VARYING_HEADERS = frozenset({"date", "ratelimit"})


class Caller(Protocol):
    """What the fixture `onboard` makes."""

    key: str
    body: dict[str, Any]

    @property
    def tenant_id(self) -> str: ...

    @property
    def owner_id(self) -> str: ...

    async def create(self, resource: str, **values: Any) -> dict[str, Any]: ...

    async def delete(self, path: str) -> httpx.Response: ...

    async def __call__(self, method: str, path: str, **options: Any) -> httpx.Response: ...


Onboard = Callable[[], Awaitable[Caller]]


class Answer(NamedTuple):
    """All of an answer that a caller can see."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def without(self, *ids: str) -> "Answer":
        """The answer with the ids that were sent taken out: it may repeat what was asked."""
        body = self.body.decode()
        for id in ids:
            body = body.replace(id, "<id>")
        # Its length follows from the body.
        kept = tuple(header for header in self.headers if header[0] != b"content-length")
        return Answer(self.status, kept, body.encode())


class World(NamedTuple):
    """A tenant with rows in every table. `live` and `deleted` are rows of the resources, `others`
    one row of each other table, none of them the credential or the person that is calling."""

    caller: Caller
    marker: str
    live: dict[str, list[str]]
    deleted: dict[str, str]
    others: dict[str, str]
    ids: dict[str, list[str]]

    @property
    def tenant_id(self) -> str:
        return self.caller.tenant_id

    @property
    def slug(self) -> str:
        return str(self.caller.body["tenant"]["slug"])

    @property
    def parents(self) -> dict[str, str]:
        return self.others | {name: rows[0] for name, rows in self.live.items()}

    @property
    def targets(self) -> list[str]:
        """The ids that are worth guessing: of every table, live and deleted."""
        live = [id for rows in self.live.values() for id in rows]
        return [*live, *self.deleted.values(), *self.others.values()]

    def body(self, struct: Any, resource: str | None = None) -> dict[str, Any]:
        return body_of(struct, self.marker, self.parents, references_of(resource))

    def file(self, resource: str) -> str:
        """Two rows of CSV: a good one, and one that is refused."""
        body = self.body(RESOURCE_BY_NAME[resource].create, resource)
        written = io.StringIO()
        file = csv.DictWriter(written, body)
        file.writeheader()
        file.writerow(body)
        file.writerow(dict.fromkeys(body, self.marker * 200))
        return written.getvalue()

    def secrets(self) -> list[str]:
        """Whatever would betray this tenant in an answer to another."""
        ids = [id for rows in self.ids.values() for id in rows]
        key = self.caller.body["api_key"]["prefix"]
        return [*ids, self.tenant_id, f'"{self.slug}"', f"@{self.slug}.", self.marker, key]

    def shown_in(self, answer: Answer) -> list[str]:
        """The secrets of this tenant that stand in `answer`."""
        text = answer.body.decode() + repr(answer.headers)
        return [secret for secret in self.secrets() if secret in text]


async def populated(caller: Caller, raw: Raw) -> World:
    """Give the tenant of `caller` two live rows and a deleted one of each resource, parents first,
    a row in every other table and a request that was counted."""
    fill(raw, caller.tenant_id, leaving_out=frozenset(RESOURCE_BY_NAME))
    calling = {caller.owner_id, caller.body["api_key"]["id"]}
    others = {
        table: next(id for id in rows if id not in calling)
        for table, rows in ids_of(raw, caller.tenant_id).items()
        if rows
    }
    world = World(caller, f"mark{uuid4().hex[:10]}", {}, {}, others, {})
    for table in tenant_tables():
        if table.name in RESOURCE_BY_NAME:
            rows = [await create(world, table.name) for _ in range(3)]
            gone = await caller.delete(f"/v1/{table.name}/{rows[2]}")
            assert gone.status_code == 204, gone.text
            world.live[table.name], world.deleted[table.name] = rows[:2], rows[2]
    for resource in world.live:
        world.others["imports"] = await try_import(world, resource)
    use(raw, world.tenant_id, f"/v1/{world.marker}")
    return world._replace(ids=ids_of(raw, caller.tenant_id))


async def try_import(world: World, resource: str) -> str:
    """An import that has ended, with a row that was refused; its id. It was a trial, for it is to
    leave no row."""
    path = f"/v1/{resource}/import?dry_run=true"
    headers = {"Content-Type": "text/csv"}
    sent = await world.caller("POST", path, content=world.file(resource), headers=headers)
    assert sent.status_code == 202, sent.text
    for _ in range(1_000):
        record = (await world.caller("GET", sent.headers["location"])).json()
        if record["status"] == "done":
            assert (record["inserted"], record["failed"]) == (1, 1), record
            return str(record["id"])
        await asyncio.sleep(0.01)
    raise AssertionError(f"the import has not ended: {record}")


async def create(world: World, resource: str) -> str:
    """A new row of a resource, whose texts carry the tenant's marker; its id."""
    body = world.body(RESOURCE_BY_NAME[resource].create, resource)
    return str((await world.caller.create(resource, **body))["id"])


async def ask(
    caller: Caller | None,
    app: Any,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | list[tuple[str, str]] | None = None,
    params: Any = None,
    json: Any = None,
    content: Any = None,
) -> Answer:
    """One request, with the credential of `caller` if there is one."""
    given = list(headers.items()) if isinstance(headers, Mapping) else list(headers or [])
    given.append(("X-Request-ID", REQUEST_ID))
    if caller is not None:
        given.append(("Authorization", f"Bearer {caller.key}"))
    status, answered, body = await request(
        app, method, path, headers=given, params=params, json=json, content=content
    )
    shown = tuple(h for h in answered if h[0].decode() not in _VARYING_HEADERS)
    return Answer(status, shown, body)


def rows_in(answer: Answer) -> list[dict[str, Any]]:
    """The rows of a list. A refused one would prove nothing."""
    assert answer.status == 200, answer.body
    rows: list[dict[str, Any]] = msgspec.json.decode(answer.body)["items"]
    return rows
