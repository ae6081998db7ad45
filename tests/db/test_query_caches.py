"""Callers choose the shapes of lists, so what is remembered of a shape is bounded."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import literal, select

from saas.context import Principal, acting_as
from saas.db import partial
from saas.db.database import Database
from saas.db.query import Condition, ListQuery, SortKey
from saas.db.statements import ShapeCache
from saas.db.transaction import transaction
from saas.features.projects import projects
from saas.settings import Settings


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    urls = str(settings.database_url), str(settings.platform_database_url)
    async with Database(*urls, size=1) as database:
        yield database


def test_shapes_in_use_stay_while_novel_ones_push_each_other_out() -> None:
    cache, built = ShapeCache(most=10), []

    def ask(shape: Any) -> None:
        cache.get(shape, lambda: built.append(shape) or select(literal(1)))

    ask("everyday")
    for number in range(100):
        ask(number)
        ask("everyday")
    ask(0)

    assert built.count("everyday") == 1
    assert built.count(0) == 2


def novel(number: int) -> ListQuery:
    """A query whose SQL differs from that of every other number."""
    return ListQuery(
        any_of=(Condition("name", "eq", "x"),) * (number % 50 + 1),
        sort=(SortKey("name", number % 2 == 0), SortKey("id", False)),
        limit=number // 50 + 1,
    )


async def test_novel_shapes_leave_at_most_500_statements_prepared(database: Database) -> None:
    counted = "SELECT count(*) FROM pg_prepared_statements"
    with acting_as(Principal(tenant_id=uuid4(), actor="system:test")):
        async with transaction(database, read_only=True) as work:
            await projects.repository.list(novel(0))
            few = (await work.fetch(counted))[0][0]
            for number in range(1, 600):
                await projects.repository.list(novel(number))
            # Those given up are closed a moment later.
            await asyncio.sleep(0.1)
            many = (await work.fetch(counted))[0][0]
            page = await projects.repository.list(novel(0))

    assert few < 10
    assert 450 < many <= 500
    assert page.items == []


def test_choices_of_fields_are_remembered_within_a_bound() -> None:
    names = projects.read.__struct_fields__
    for number in range(1, 1000):
        chosen = tuple(name for bit, name in enumerate(names) if number >> bit & 1)
        assert partial.shape_for(projects.read, chosen).columns == chosen

    remembered = partial.shape_for.cache_info()

    assert remembered.maxsize is not None
    assert remembered.currsize <= remembered.maxsize < 999


def test_unknown_field_is_named() -> None:
    with pytest.raises(ValueError, match="'colour'"):
        partial.shape_for(projects.read, ("id", "colour"))
