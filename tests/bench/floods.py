"""What a noisy tenant does beside a calm one, for so many seconds; each tells how much that was."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias
from uuid import uuid4

import httpx

from tests.bench import dataset, plans, wrk
from tests.bench.errors import BenchError

Kind = Literal["large", "small", "import"]
Request: TypeAlias = tuple[str, str]
"""A line and a body."""
Flood: TypeAlias = Callable[[int], str]

_IMPORTED_ROWS = 50_000
_LONGEST_IMPORT_SECONDS = 120


def large_requests() -> Iterator[Request]:
    words = "q=line&sort=name&limit=100&include_total=true"
    yield f"GET /v1/projects?{words}", ""
    yield f"GET /v1/projects?{words}&sort=-budget_cents", ""
    yield (
        "POST /v1/projects/batch",
        plans.batch_body(f"{dataset.CREATED_PREFIX}{plans.NUMBER}", rows=200),
    )


def small_requests(ids: Sequence[str]) -> Iterator[Request]:
    created = f'{{"name": "{dataset.CREATED_PREFIX}%015d", "budget_cents": %010d}}'
    for id in ids:
        yield f"GET /v1/projects/{id}", ""
        yield f"GET /v1{plans.LIST}", ""
        yield "POST /v1/projects", created


def of_requests(url: str, requests: Path, *, connections: int) -> Flood:
    """`requests` over and over, without a pause."""

    def run(seconds: int) -> str:
        load = wrk.flood(url, requests, seconds=seconds, connections=connections)
        return f"{load.requests_per_second:6,.0f} requests/s, {load.refused} refused"

    return run


def of_imports(url: str, key: str) -> Flood:
    """One file after another. Raises BenchError where one is not imported as a whole."""

    def run(seconds: int) -> str:
        begin = time.monotonic()
        rows = 0
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client:
            while time.monotonic() < begin + seconds:
                _import(client)
                rows += _IMPORTED_ROWS
        return f"{rows / (time.monotonic() - begin):6,.0f} rows/s"

    return run


def _import(client: httpx.Client) -> None:
    prefix = f"{dataset.CREATED_PREFIX}{uuid4()}"
    lines = (f"{prefix} {number},Imported,{number}\n" for number in range(_IMPORTED_ROWS))
    body = "name,description,budget_cents\n" + "".join(lines)
    headers = {"Content-Type": "text/csv"}
    answer = client.post("/v1/projects/import", content=body, headers=headers, timeout=60)
    end = time.monotonic() + _LONGEST_IMPORT_SECONDS
    while answer.is_success and answer.json()["status"] == "running" and time.monotonic() < end:
        time.sleep(0.2)
        answer = client.get(f"/v1/imports/{answer.json()['id']}", timeout=60)
    if not answer.is_success or answer.json()["inserted"] != _IMPORTED_ROWS:
        raise BenchError(f"an import ends with {answer.status_code}: {answer.text[:300]}")
