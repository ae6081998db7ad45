"""Files sent to be imported, and the imports that become of them."""

import asyncio
from contextvars import Context
from typing import Any

import httpx

CSV = {"Content-Type": "text/csv"}
JSON_LINES = {"Content-Type": "application/x-ndjson"}
_PATIENCE_SECONDS = 30


async def send(
    tenant: Any, body: Any, resource: str = "projects", *, headers: Any = None, **query: Any
) -> httpx.Response:
    """The answer to the upload of a file."""
    answer: httpx.Response = await tenant(
        "POST",
        f"/v1/{resource}/import",
        content=body,
        headers={**CSV, **(headers or {})},
        params=query,
    )
    return answer


async def imported(tenant: Any, body: Any, resource: str = "projects", **query: Any) -> Any:
    """The record of an import that has ended."""
    answer = await send(tenant, body, resource, **query)
    assert answer.status_code == 202, answer.text
    return await ended(tenant, answer.json()["id"])


async def ended(tenant: Any, id: str) -> Any:
    """The record once nobody works on it any more."""
    for _ in range(_PATIENCE_SECONDS * 100):
        record = await record_of(tenant, id)
        if record["status"] != "running":
            return record
        await asyncio.sleep(0.01)
    raise AssertionError(f"still running: {record}")


async def record_of(tenant: Any, id: str) -> Any:
    answer = await tenant.get(f"/v1/imports/{id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def errors_of(tenant: Any, id: str) -> Any:
    answer = await tenant.get(f"/v1/imports/{id}/errors", params={"limit": 100})
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def bad_rows_of(tenant: Any, id: str) -> str:
    answer = await tenant.get(f"/v1/imports/{id}/errors", params={"format": "csv"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    text: str = answer.text
    return text


def counts(record: Any) -> tuple[int, ...]:
    """Read, inserted, updated, skipped, failed."""
    names = ("rows_read", "inserted", "updated", "skipped", "failed")
    return tuple(record[name] for name in names)


async def names_of(tenant: Any, resource: str = "projects", field: str = "name") -> list[str]:
    rows = (await tenant.get(f"/v1/{resource}", params={"limit": 100, "sort": field})).json()
    return [row[field] for row in rows["items"]]


async def break_off(
    app: Any, tenant: Any, path: str, *pieces: bytes, length: int | None = None
) -> int | None:
    """Send the pieces of a file and hang up; the status of the answer, if there was one."""
    path, _, query = path.partition("?")
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {tenant.key}".encode()), (b"content-type", b"text/csv")]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers,
    }
    await asyncio.create_task(app(scope, receive, send), context=Context())
    return sent[0]["status"] if sent else None


async def only_import_of(tenant: Any) -> Any:
    """The one that there is."""
    (record,) = (await tenant.get("/v1/imports")).json()["items"]
    return record
