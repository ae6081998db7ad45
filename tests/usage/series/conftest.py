"""Figures of a tenant, written past all locks, and gone after the test: nothing has led to them."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql


class Figures:
    """Writes what the meters and the fold would have written."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._written: list[tuple[str, dict[str, Any]]] = []

    def requests(self, tenant: Any, at: str, **other: Any) -> None:
        row = {
            "grain": 1,
            "route": "/v1/projects",
            "status": 2,
            "kind": "key",
            "requests": 1,
            "bytes_in": 0,
            "bytes_out": 0,
            "latency_buckets": [3],
            "latency_counts": [1],
        }
        self._write("usage_requests", {"tenant": tenant.tenant_id, "at": at}, row | other)

    def day(self, tenant: Any, day: str, requests: int, errors: int = 0) -> None:
        row = {"requests": requests, "errors": errors, "bytes_in": 10, "bytes_out": 20}
        self._write("usage_days", {"tenant": tenant.tenant_id, "day": day}, row)

    def activity(
        self, tenant: Any, at: str, actor: str, done: tuple[int, int, int], entity: str = "projects"
    ) -> None:
        counts = dict(zip(("created", "updated", "deleted"), done, strict=True))
        row = {"entity": entity, "actor": actor, **counts, "live": 0, "bytes": 0}
        self._write("usage_activity", {"tenant": tenant.tenant_id, "at": at}, row)

    def meter(self, tenant: Any, at: str, quantity: int, kind: str = "key") -> None:
        self._write_meter("usage_meters", tenant, at, quantity, kind)

    def new_events(self, tenant: Any, at: str, quantity: int) -> None:
        self._write_meter("usage_meter_changes", tenant, at, quantity, "key")

    def forget(self) -> None:
        for table, key in self._written:
            query = sql.SQL("DELETE FROM {} WHERE {}").format(
                sql.Identifier(table),
                sql.SQL(" AND ").join(
                    sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value))
                    for name, value in key.items()
                ),
            )
            self._connection.execute(query)

    def _write_meter(self, table: str, tenant: Any, at: str, quantity: int, kind: str) -> None:
        row = {"meter": "pdf_pages", "kind": kind, "events": 1, "quantity": quantity}
        self._write(table, {"tenant": tenant.tenant_id, "at": at}, row)

    def _write(self, table: str, key: dict[str, Any], row: dict[str, Any]) -> None:
        self._written.append((table, key))
        values = key | row
        query = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(map(sql.Literal, values.values())),
        )
        self._connection.execute(query)


@pytest.fixture(scope="session")
def past_all_locks(postgres, settings) -> Iterator[psycopg.Connection]:
    url = postgres.dsn(postgres.superuser, "saas")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def figures(past_all_locks) -> Iterator[Figures]:
    written = Figures(past_all_locks)
    yield written
    written.forget()


@pytest.fixture
def series(tenant):
    """The values of each series of a metric, by group."""

    async def values(metric, *, of=None, **query):
        answer = await (of or tenant).get("/v1/stats/usage", params={"metric": metric} | query)
        assert answer.status_code == 200, answer.text
        return {
            one["group"]: [point["value"] for point in one["points"]]
            for one in answer.json()["series"]
        }

    return values
