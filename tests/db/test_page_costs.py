"""A page deep in a list touches as few blocks as the first: counted by PostgreSQL, as the app's
role and under row-level security, for plans made for the values and for plans kept for all."""

import itertools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from saas.context import Principal, acting_as
from saas.db.database import Database
from saas.db.filters import parameters
from saas.db.query import ListQuery, SortKey
from saas.db.roles import APP, PLATFORM
from saas.db.statements import Statement, select_page
from saas.db.transaction import Transaction
from saas.features.projects import projects

ROWS = 6_000
TENANTS = (uuid4(), uuid4())
INSERT = """
INSERT INTO projects (tenant_id, name, budget_cents, created_at, created_by, updated_by)
SELECT '{}', 'p' || md5(n::text), nullif(n % 10, 0) * n,
       now() - n * interval '1 second', 'x', 'x'
FROM generate_series(1, {}) n
"""
NEWEST, NAME = SortKey("created_at", True), SortKey("name", False)


class Plan(NamedTuple):
    blocks: int
    nodes: set[str]
    indexes: set[str]


SORTS = {
    (NEWEST, SortKey("id", True)): "ix_projects_created",
    (SortKey("created_at", False), SortKey("id", False)): "ix_projects_created",
    (NEWEST, NAME, SortKey("id", False)): "ix_projects_created",
    (NEWEST, SortKey("budget_cents", False), SortKey("id", True)): "ix_projects_created",
    (NAME, SortKey("id", False)): "uq_projects_name_live",
    (NAME, SortKey("budget_cents", True), SortKey("id", True)): "uq_projects_name_live",
}


@pytest.fixture
def stocked(new_database: Any) -> Any:
    """A database with two tenants of many rows each, of which the planner knows."""
    copy = new_database()
    copy.run(
        "ALTER TABLE projects DISABLE TRIGGER USER",
        *(INSERT.format(tenant, ROWS) for tenant in TENANTS),
        "VACUUM ANALYZE projects",
    )
    return copy


async def test_deep_page_touches_as_few_blocks_as_the_first(stocked: Any) -> None:
    urls = stocked.url(APP), stocked.url(PLATFORM)
    with acting_as(Principal(tenant_id=TENANTS[0], actor="system:test")):
        async with Database(*urls, size=1) as database, Transaction(database.app) as work:
            for (sort, index), mode in itertools.product(SORTS.items(), ["custom", "generic"]):
                first = await explained(work, ListQuery(sort=sort), mode)
                by_offset = ListQuery(sort=sort, offset=ROWS // 2)
                middle = await projects.repository.list(by_offset)

                for place in ({"after": middle.next_after}, {"before": middle.prev_before}):
                    deep = await explained(work, ListQuery(sort=sort, **place), mode)
                    assert deep.indexes == {index}, (sort, mode)
                    assert not deep.nodes & {"Sort", "Seq Scan", "Bitmap Heap Scan"}
                    assert deep.blocks <= first.blocks + 10
                # The measure tells: a page by its number walks all rows before it.
                whole = await explained(work, by_offset, mode)
                assert whole.blocks > first.blocks + 20


async def explained(work: Transaction, query: ListQuery, mode: str) -> Plan:
    columns = projects.read.__struct_fields__
    statement = Statement(select_page(projects.repository.table, columns, query, ()))
    values = statement.arguments(parameters(query) | {"tenant_id": TENANTS[0]})
    await work.fetch(f"SET LOCAL plan_cache_mode = force_{mode}_plan")
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) /* {mode} */ {statement.sql}"
    found = (await work.fetch(explain, values))[0][0]
    top = json.loads(found)[0]["Plan"]
    nodes = list(_nodes(top))
    return Plan(
        top["Shared Hit Blocks"] + top["Shared Read Blocks"],
        {node["Node Type"] for node in nodes},
        {node["Index Name"] for node in nodes if "Index Name" in node},
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
