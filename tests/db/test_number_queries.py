"""Fractions and decimals are compared, sorted and paged like every other column."""

import itertools
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from guarded import guarded_pools, own_table
from sqlalchemy import Float, Numeric
from sqlalchemy.orm import Mapped, mapped_column

from saas.context import Principal, acting_as
from saas.db.models import TenantModel
from saas.db.repository import TenantRepository
from saas.db.transaction import transaction
from saas.db.where import where
from saas.errors import BadRequest
from saas.web.cursors import Cursors, Place
from saas.web.schemas import Read


class Measure(TenantModel):
    __tablename__ = "measures"

    ratio: Mapped[float | None] = mapped_column(Float(53))
    exact: Mapped[Decimal | None] = mapped_column(Numeric(30, 10))


class MeasureRead(Read):
    ratio: float | None
    exact: Decimal | None


table = own_table(Measure)
measures: TenantRepository[Measure, MeasureRead] = TenantRepository(Measure, MeasureRead)
ROWS = [
    {"ratio": 0.1, "exact": Decimal("0.1")},
    {"ratio": -2.5, "exact": Decimal("-2.5")},
    {"ratio": None, "exact": None},
    {"ratio": 1e300, "exact": Decimal("1e19")},
    {"ratio": 7.0, "exact": Decimal("7")},
    {"ratio": 0.30000000000000004, "exact": Decimal("0.3")},
]


@pytest.fixture(scope="module")
async def database(library, postgres) -> AsyncIterator[Any]:
    async with guarded_pools(library, table) as pools:
        yield pools


@pytest.fixture
async def bound(database) -> AsyncIterator[None]:
    with acting_as(Principal(tenant_id=uuid4(), actor="system:test")):
        async with transaction(database):
            for row in ROWS:
                await measures.create(row)
            yield


async def found(**given: Any) -> list[float | None]:
    return [row.ratio for row in (await measures.list(where(**given))).items]


@pytest.mark.usefixtures("bound")
async def test_comparisons_are_exact():
    assert await found(ratio=0.30000000000000004) == [0.30000000000000004]
    assert await found(ratio__gte=7, sort="ratio") == [7.0, 1e300]
    assert await found(ratio__in=[0.1, -2.5], sort="ratio") == [-2.5, 0.1]
    assert await found(ratio=None) == [None]
    assert await found(exact__lt=Decimal("0.1"), sort="exact") == [-2.5]
    assert await found(exact__gt=Decimal("9999999999999999999.9")) == [1e300]


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("sort", ["ratio", "-ratio", "exact", "-exact"])
async def test_pages_go_on_where_the_last_one_ended(sort):
    cursors, grammar = Cursors(b"secret" * 8), measures.operations.grammar
    whole, paged, place = await found(sort=sort), [], None

    for _ in ROWS:
        query = grammar.parse([("sort", sort), ("limit", "1")])
        page = await measures.list(
            query if place is None else msgspec.structs.replace(query, after=place.position)
        )
        paged += [row.ratio for row in page.items]
        if page.next_after is None:
            break
        text = cursors.write("measures", query, Place(page.next_after, False))
        place = cursors.read("measures", grammar, query, text)

    assert paged == whole
    assert len(whole) == len(ROWS)


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("ratio", "1e999"),
        *itertools.product(
            ("ratio", "exact"),
            ("nan", "inf", "-Infinity", "0x1", "1_000", "", " 1", "1,5", "\u0661", "9" * 101),
        ),
    ],
)
async def test_what_is_no_number_is_refused(column, text):
    with pytest.raises(BadRequest, match=r"Give a number such as 12\.5"):
        measures.operations.grammar.parse([(column, text)])


@pytest.mark.usefixtures("bound")
async def test_a_number_of_any_kind_may_be_written():
    row = await measures.create({"ratio": Decimal("0.5"), "exact": 0.25})
    whole = await measures.update(row.id, {"ratio": 2, "exact": 3})

    assert (row.ratio, row.exact) == (0.5, Decimal("0.25"))
    assert (whole.ratio, whole.exact) == (2.0, Decimal(3))


@pytest.mark.usefixtures("bound")
async def test_text_is_no_number_in_python_either():
    with pytest.raises(BadRequest, match="Give a float, not a str"):
        await found(ratio="1.5")
