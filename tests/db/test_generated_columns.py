"""A column that the database works out of others is read, filtered and logged like any, and written
by nobody."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from guarded import acting, guarded_pools, own_table
from sqlalchemy import BigInteger, Column, Computed, Integer
from sqlalchemy.orm import Mapped, deferred, mapped_column

from saas.db.batch_items import BatchItem
from saas.db.models import TenantModel
from saas.db.repository import TenantRepository
from saas.db.transaction import transaction
from saas.db.where import where
from saas.errors import Invalid
from saas.schema import metadata
from saas.web.schemas import Read


class PricedLine(TenantModel):
    __tablename__ = "lines"

    pieces: Mapped[int]
    price_cents: Mapped[int] = mapped_column(BigInteger)
    total_cents: Mapped[int] = mapped_column(
        BigInteger, Computed("pieces * price_cents", persisted=True)
    )


class PricedLineRead(Read):
    pieces: int
    price_cents: int
    total_cents: int


TABLE = own_table(PricedLine)


async def test_its_value_follows_the_others(migrated: Any) -> None:
    lines = TenantRepository(PricedLine, PricedLineRead)
    wish = {"pieces": 2, "price_cents": 50}
    async with guarded_pools(migrated, TABLE) as database:
        with acting(uuid4()):
            async with transaction(database):
                made = await lines.create(wish)
            then = datetime.now(UTC)
            async with transaction(database):
                changed = await lines.update(made.id, {"pieces": 3})
                many = await lines.create_many([wish] * 60)
                items = [
                    BatchItem(kind="update", id=row.id, values={"price_cents": 7}) for row in many
                ]
                await lines.batch(items)
            async with transaction(database):
                found = await lines.list(where(total_cents__gte=14, sort="-total_cents", limit=1))
                count = await lines.count(where(total_cents=14))
                past = await lines.get_as_of(made.id, then)
                entry = (await lines.history(made.id)).items[0]
                batched = (await lines.history(many[0].id)).items[0]
                back = await lines.revert(made.id, to=(await lines.history(made.id)).items[1].id)

    assert (made.total_cents, changed.total_cents, past.total_cents) == (100, 150, 100)
    assert ([row.id for row in found.items], count) == ([made.id], 60)
    assert entry.changes["total_cents"] == {"old": 100, "new": 150}
    assert batched.changes["total_cents"] == {"old": 100, "new": 14}
    assert back.total_cents == 100


def deferred_column(*arguments: Any) -> Any:
    return deferred(Column(*arguments))


GIVEN = {"pieces": 2, "price_cents": 50, "total_cents": 1}
WAYS: dict[str, Callable[[Any], Any]] = {
    "create": lambda lines: lines.create(GIVEN),
    "update": lambda lines: lines.update(uuid4(), {"total_cents": 1}),
    "batch": lambda lines: lines.batch([BatchItem(kind="create", values=GIVEN)] * 2),
}


@pytest.mark.parametrize("write", WAYS.values(), ids=WAYS.keys())
async def test_it_is_written_by_nobody(migrated: Any, write: Callable[[Any], Any]) -> None:
    lines = TenantRepository(PricedLine, PricedLineRead)
    async with guarded_pools(migrated, TABLE) as database:
        with acting(uuid4()):
            async with transaction(database):
                with pytest.raises(Invalid) as refusal:
                    await write(lines)

    (fault,) = refusal.value.errors
    assert fault.pointer.endswith("/total_cents")
    assert fault.code == "unknown_field"


# The class that is refused is known by its name all the same.
@pytest.mark.filterwarnings("ignore:This declarative base already contains")
@pytest.mark.parametrize("declared", [mapped_column, Column, deferred_column])
def test_one_that_is_not_stored_is_refused(declared: Callable[..., Any]) -> None:
    """Triggers do not see it, so that the log and the usage would miss it."""
    with pytest.raises(TypeError, match=r"virtual_lines\.twice.*persisted=True"):

        class VirtualLine(TenantModel):
            __tablename__ = "virtual_lines"

            pieces: Mapped[int]
            twice: Mapped[int] = declared(Integer, Computed("pieces * 2"))

    assert "virtual_lines" not in metadata.tables
