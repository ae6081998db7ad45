"""Many new rows with columns in which all have the same value, which is sent once."""

from decimal import Decimal
from typing import Any

import pytest
from guarded import as_owner, create_guarded
from sqlalchemy import Numeric
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from saas.db.batch_items import BatchItem
from saas.db.models import TenantModel, table_of
from saas.db.where import where
from saas.schema import metadata
from saas.web.schemas import Read
from twins import Twin

FIELDS = ("name", "description", "is_active", "budget_cents")
ALIKE: list[dict[str, Any]] = [
    {"description": "Made", "is_active": False, "budget_cents": 7},
    {"description": None, "is_active": True, "budget_cents": None},
    {"description": "100 %s", "is_active": True, "budget_cents": -(2**63)},
]


@pytest.mark.parametrize("rows", [99, 100, 250])
@pytest.mark.parametrize("alike", ALIKE, ids=lambda values: str(values["description"]))
@pytest.mark.parametrize("differs", [None, *ALIKE[0]])
async def test_each_row_is_as_its_item_asks(
    twin: Twin, projects: Any, rows: int, alike: dict[str, Any], differs: str | None
) -> None:
    wanted = [{"name": f"Row {n}"} | alike for n in range(rows)]
    if differs:
        other = {"description": "Other", "is_active": not alike["is_active"], "budget_cents": 0}
        wanted[rows // 2][differs] = other[differs]

    async with twin.transaction():
        made = await projects.create_many(wanted)

    assert [{name: getattr(row, name) for name in FIELDS} for row in made] == wanted


@pytest.mark.parametrize("is_atomic", [True, False])
async def test_new_rows_are_in_the_order_of_their_items(
    twin: Twin, projects: Any, is_atomic: bool
) -> None:
    """Though they are inserted in that of their names."""
    items = [
        BatchItem(kind="create", values={"name": f"Row {n:03}", "description": "Made"})
        for n in reversed(range(120))
    ]

    async with twin.transaction():
        results = await projects.batch(items, is_atomic=is_atomic)
        page = await projects.list(where(sort="id", limit=100))

    assert [result.status for result in results] == ["created"] * 120
    assert [row.id for row in page.items] == [result.id for result in results][:100]
    assert page.items[0].name == "Row 119"


async def test_those_in_conflict_are_told_among_them(twin: Twin, projects: Any) -> None:
    async with twin.transaction():
        await projects.create({"name": "Row 7"})
    items = [
        BatchItem(kind="create", values={"name": f"Row {n % 110}", "is_active": False})
        for n in range(120)
    ]

    async with twin.transaction():
        results = await projects.batch(items, is_atomic=False)

    failed = [result.index for result in results if result.refusal]
    assert failed == [7, *range(110, 120)]
    async with twin.transaction(read_only=True):
        stored = await projects.count(where(is_active=False))
    assert stored == 109


# Each twin has its own; the other's is gone by then.
@pytest.mark.filterwarnings("ignore:This declarative base already contains")
async def test_values_that_python_alone_finds_equal_are_kept_apart(
    twin: Twin, library: Any
) -> None:
    class Reading(TenantModel):
        __tablename__ = "readings"

        figure: Mapped[Decimal | None] = mapped_column(Numeric())
        document: Mapped[Any] = mapped_column(JSONB, nullable=True)

    class ReadingRead(Read):
        figure: Decimal | None
        document: Any

    table = table_of(Reading)
    create_guarded(library, table)
    try:
        readings = twin.repository(Reading, ReadingRead)
        figures = [1, Decimal("1.0"), Decimal("1.00")]
        documents = [1, True, 1, {"a": 1}, {"a": True}, ["x"], "x"]
        for some in (documents[:3], documents[3:5], documents[5:], ["x"], [True], [None]):
            wanted = [
                {"figure": figures[n % 3], "document": some[n % len(some)]} for n in range(120)
            ]
            async with twin.transaction():
                made = await readings.create_many(wanted)
            kept = [(str(row.figure), repr(row.document)) for row in made]
            assert kept == [(str(row["figure"]), repr(row["document"])) for row in wanted]
    finally:
        as_owner(library, "DROP TABLE readings")
        metadata.remove(table)
