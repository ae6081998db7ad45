"""The HTTP requests that wrk sends, written beforehand, so that sending costs next to nothing."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from uuid import UUID

from tests.bench.contenders import Contender
from tests.bench.dataset import CREATED_PREFIX

SEPARATOR = "\x1e"
# load.lua writes fifteen digits in its place, the same ones all over a request.
NUMBER = "\x1d"
BATCH_ROWS = 1_000
LIST = "/projects?is_active=true&sort=-created_at&limit=20"
Sample = Sequence[tuple[int, UUID]]

OPERATIONS: Mapping[str, str] = {
    "get": "get one",
    "list": "list 20",
    "list-total": "list 20+total",
    "create": "create",
    "patch": "patch",
    "batch": f"create {BATCH_ROWS:,}",
}
# Method, target and body of each. Get and patch go to sampled rows, the rest to each tenant.
TEMPLATES: Mapping[str, tuple[str, str]] = {
    "get": ("GET /projects/{id}", ""),
    "list": (f"GET {LIST}", ""),
    "list-total": (f"GET {LIST}&include_total=true", ""),
    "create": (
        "POST /projects",
        f'{{"name": "{CREATED_PREFIX}%015d", "description": "Made by the bench", '
        '"budget_cents": %010d}',
    ),
    "patch": ("PATCH /projects/{id}", '{"name": "Changed {id} %015d", "budget_cents": %010d}'),
    "batch": ("POST /projects/batch", ""),
}
DEFAULT_OPERATIONS = ("get", "list", "create", "patch")
WRITES = frozenset({"create", "patch", "batch"})
# Of the hand-written reference there is no such route.
WITHOUT_FLOOR = frozenset({"batch"})


def write(contender: Contender, operation: str, *, sample: Sample, folder: Path) -> Path:
    """A file of requests for load.lua, with credentials, so it is private. Its %d are filled in
    as it sends, always to the same length; they make each name unique and each patch a change."""
    path = folder / f"{contender.name}-{operation}.requests"
    path.touch(mode=0o600)
    path.write_text(SEPARATOR.join(_requests(contender, operation, sample)), encoding="ascii")
    return path


def _requests(contender: Contender, operation: str, sample: Sample) -> Iterator[str]:
    line, body = TEMPLATES[operation]
    if operation == "batch":
        body = batch_body(f"{CREATED_PREFIX}{NUMBER}", BATCH_ROWS)
    of_a_row = "{id}" in line
    targets = sample if of_a_row else [(n, "") for n in range(len(contender.credentials))]
    for tenant, id in targets:
        yield _request(
            contender,
            tenant,
            line=line.replace("{id}", str(id)),
            body=body.replace("{id}", str(id)),
        )


def batch_body(prefix: str, rows: int) -> str:
    """Creates of `rows` projects whose names begin with `prefix`."""
    data = (
        {"name": f"{prefix} {n:04}", "description": "Made", "budget_cents": n} for n in range(rows)
    )
    body = json.dumps({"items": [{"op": "create", "data": row} for row in data]})
    return body.replace(json.dumps(NUMBER)[1:-1], NUMBER)


def length_of(body: str) -> int:
    """How long it is when its numbers are filled in."""
    return len(body) + 14 * body.count(NUMBER) if NUMBER in body else len(body % (0, 0))


def _request(contender: Contender, tenant: int, *, line: str, body: str) -> str:
    verb, _, target = line.partition(" ")
    headers = [
        f"{verb} {contender.prefix}{target} HTTP/1.1",
        f"Host: 127.0.0.1:{contender.port}",
        contender.credentials[tenant],
    ]
    if body:
        headers += ["Content-Type: application/json", f"Content-Length: {length_of(body)}"]
    return "\r\n".join([*headers, "", body])
