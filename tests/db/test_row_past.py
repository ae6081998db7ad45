"""A row's past, whatever its types: as it was at any time, and the way back to any entry.

A plain Python model of what was done to a row is compared with what PostgreSQL rebuilds from the
audit log.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import Context
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import msgspec
import pytest
from guarded import acting, guarded_pools, own_table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import ARRAY, Date, Float, LargeBinary, Numeric, SmallInteger, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from saas.db.audit import AuditEntry, AuditLog
from saas.db.database import Database
from saas.db.models import TenantModel
from saas.db.query import ListQuery, SortKey
from saas.db.repository import TenantRepository
from saas.db.transaction import current_transaction, transaction
from saas.errors import BadRequest, Conflict, Invalid, NotFound
from saas.web.schemas import Read


class Specimen(TenantModel):
    """A column of each type; two are called as the SQL calls its own parts."""

    __tablename__ = "specimens"

    label: Mapped[str] = mapped_column(String(200))
    code: Mapped[str | None] = mapped_column(Text)
    flag: Mapped[bool] = mapped_column(server_default=text("true"))
    small: Mapped[int] = mapped_column(SmallInteger, server_default=text("2"))
    big: Mapped[int | None]
    exact: Mapped[Decimal | None] = mapped_column(Numeric)
    ratio: Mapped[float | None] = mapped_column(Float(53))
    day: Mapped[date | None] = mapped_column(Date)
    moment: Mapped[datetime | None]
    other: Mapped[UUID | None]
    document: Mapped[dict[str, Any] | None]
    tags: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    raw: Mapped[bytes | None] = mapped_column(LargeBinary)
    present: Mapped[bool | None]
    state: Mapped[str | None]
    secret: Mapped[str | None] = mapped_column(info={"masked": True})


class SpecimenRead(Read):
    label: str
    code: str | None
    flag: bool
    small: int
    big: int | None
    exact: Decimal | None
    ratio: float | None
    day: date | None
    moment: datetime | None
    other: UUID | None
    document: Any
    tags: list[str] | None
    raw: bytes | None
    present: bool | None
    state: str | None


table = own_table(Specimen)
specimens: TenantRepository[Specimen, SpecimenRead] = TenantRepository(Specimen, SpecimenRead)


@pytest.fixture(scope="module")
async def database(library, postgres) -> AsyncIterator[Any]:
    async with guarded_pools(library, table) as pools:
        yield pools


texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
whole = st.integers(-(2**63), 2**63 - 1)
documents = st.recursive(
    whole | texts | st.just(0.1),
    lambda inner: (
        st.lists(inner | st.none(), max_size=2)
        | st.dictionaries(texts, inner | st.none(), max_size=2)
    ),
    max_leaves=4,
)
VALUES = {
    "label": texts,
    "code": st.none() | texts | st.sampled_from(["***", "null", '"', "\\u0000", "\U0001f680"]),
    "flag": st.booleans(),
    "small": st.integers(-(2**15), 2**15 - 1),
    "big": st.none() | whole | st.just(2**53 + 1),
    "exact": st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=25),
    # JSON has no negative zero.
    "ratio": st.none() | st.floats(allow_nan=False).map(lambda number: number + 0.0),
    "day": st.none() | st.dates(),
    "moment": st.none()
    | st.datetimes(
        datetime(1, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
        datetime(9999, 12, 30),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
    "other": st.none() | st.uuids(),
    "document": st.none() | documents,
    "tags": st.none() | st.lists(texts, max_size=3),
    "raw": st.none() | st.binary(max_size=8),
    "present": st.none() | st.booleans(),
    "state": st.none() | texts,
    "secret": st.none() | texts,
}
changes = st.fixed_dictionaries({}, optional=VALUES)
wholes = st.builds(lambda values, label: {"label": label} | values, changes, texts)
steps = st.one_of(
    st.tuples(st.just("update"), changes),
    st.tuples(st.sampled_from(["delete", "restore", "purge"]), st.just({})),
    st.tuples(st.just("revert"), st.integers(0, 9)),
)


State = tuple[dict[str, Any], bool] | None
log: TenantRepository[AuditLog, AuditEntry] = TenantRepository(AuditLog, AuditEntry)
NEWEST = ListQuery(sort=(SortKey("id", True),), limit=1)


class Moment(NamedTuple):
    """An entry of the log, and the row after it; None after a purge."""

    entry: UUID
    at: datetime
    row: SpecimenRead | None


class Row:
    """One row, what is done to it, and what it should be. A state is the values and whether the row
    is soft-deleted; None after a purge."""

    def __init__(self, database: Database) -> None:
        self.tenant, self.database = uuid4(), database
        self.id: UUID
        self.state: State = None
        self.secret: str | None = None
        self.moments: list[Moment] = []
        self.states: list[State] = []

    async def run(self, work: Callable[[], Any]) -> Any:
        with acting(self.tenant, f"system:{len(self.moments)}"):
            async with transaction(self.database):
                return await work()

    async def create(self, values: dict[str, Any]) -> None:
        self.id = (await self.run(lambda: specimens.create(values))).id
        self.secret = values.get("secret")
        absent = shown(dict.fromkeys(VALUES))
        await self.becomes((absent | {"flag": True, "small": 2} | shown(values), False))

    async def step(self, name: str, argument: Any) -> None:
        """Do it where the model says that it can be done."""
        if name == "revert":
            await self.revert(argument % len(self.moments))
        elif self.state is None or (name != "purge" and (name == "restore") != self.state[1]):
            return
        elif name == "update":
            await self.run(lambda: specimens.update(self.id, argument))
            secret, self.secret = self.secret, argument.get("secret", self.secret)
            state = (self.state[0] | shown(argument), False)
            await self.becomes(state, is_new=state != self.state or secret != self.secret)
        else:
            await self.run(lambda: getattr(specimens, name)(self.id))
            await self.becomes(None if name == "purge" else (self.state[0], name == "delete"))

    async def revert(self, number: int) -> None:
        target, entry = self.states[number], self.moments[number].entry
        if target is None:
            with pytest.raises(Conflict, match="gone for good"):
                await self.run(lambda: specimens.revert(self.id, to=entry))
            return
        row = await self.run(lambda: specimens.revert(self.id, to=entry))
        if self.state is None:
            self.secret = None
        await self.becomes(target, is_new=target != self.state)
        assert row == self.moments[-1].row

    async def becomes(self, state: State, *, is_new: bool = True) -> None:
        """Compare the row and its newest entry with what they should be."""

        async def look() -> tuple[Any, ...]:
            entry = (await log.list(NEWEST)).items[0]
            if state is None:
                return entry, None, None
            row = await specimens.get(self.id, include_deleted=True)
            return entry, row, await secret_of(self.id)

        entry, row, secret = await self.run(look)
        assert is_new == (not self.moments or entry.id != self.moments[-1].entry)
        if is_new:
            self.moments.append(Moment(entry.id, entry.at, row))
            self.states.append(state)
        self.state = state
        if state is not None:
            values, is_deleted = state
            assert {name: getattr(row, name) for name in values} == values
            assert (row.deleted_at is not None) == is_deleted
            assert row.version == sum(state is not None for state in self.states)
            assert row.created_at == self.moments[0].at
            assert secret == self.secret

    async def as_of(self, time: datetime) -> SpecimenRead | None:
        try:
            return await self.run(lambda: specimens.get_as_of(self.id, time))
        except NotFound:
            return None


async def secret_of(id: UUID) -> str | None:
    rows = await current_transaction().fetch("SELECT secret FROM specimens WHERE id = $1", [id])
    return rows[0][0]


def shown(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "secret"}


def live(row: SpecimenRead | None) -> bytes | None:
    """What `as_of` gives: bytes, in which 1.0 is not 1.00 and 1 not true."""
    return None if row is None or row.deleted_at else msgspec.json.encode(row)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(first=wholes, done=st.lists(steps, max_size=10))
async def test_every_state_of_a_row_is_found_again_and_can_be_had_again(database, first, done):
    row = Row(database)
    await row.create(first)
    for step in done:
        await row.step(*step)

    moments = row.moments
    microsecond = timedelta(microseconds=1)
    assert await row.as_of(moments[0].at - microsecond) is None
    for moment, following in zip(moments, [*moments[1:], None], strict=True):
        assert live(await row.as_of(moment.at)) == live(moment.row)
        if following is not None:
            assert live(await row.as_of(following.at - microsecond)) == live(moment.row)
    for number in reversed(range(len(moments))):
        await row.revert(number)


async def test_column_that_came_or_went_since_does_not_stand_in_the_way(database, library):
    row = Row(database)
    await row.create({"label": "old", "code": "kept", "flag": False, "small": 7})
    await row.step("update", {"label": "new"})
    await row.step("purge", {})
    # As if `flag` had not been there yet, and another column had.
    with library.connect() as superuser:
        superuser.execute(
            "UPDATE audit_log SET changes = jsonb_set(changes #- '{old,flag}', '{old,lost}', '1')"
            " WHERE entity_id = %s AND action = 'delete'",
            [row.id],
        )

    earlier = await row.as_of(row.moments[0].at)
    back = await row.run(lambda: specimens.revert(row.id, to=row.moments[0].entry))

    assert (earlier.label, earlier.code, earlier.small, earlier.flag) == ("old", "kept", 7, True)
    assert (back.label, back.code, back.small, back.flag) == ("old", "kept", 7, True)


async def test_change_of_a_transaction_that_began_earlier_counts_from_the_one_before(database):
    row = Row(database)
    await row.create({"label": "first"})

    with acting(row.tenant):
        async with transaction(database) as slow:
            await slow.fetch("SELECT 1")
            await apart(row.run(lambda: specimens.update(row.id, {"code": "quick"})))
            await specimens.update(row.id, {"label": "slow"})
        async with transaction(database, read_only=True):
            slow_entry, quick_entry, _ = (await specimens.history(row.id)).items

    assert slow_entry.at < quick_entry.at
    between = await row.as_of(slow_entry.at)
    after = await row.as_of(quick_entry.at)
    assert (between.label, between.code, between.version) == ("first", None, 1)
    assert (after.label, after.code, after.version) == ("slow", "quick", 3)


async def test_masked_value_is_kept_and_what_needs_one_cannot_come_back(database, monkeypatch):
    row = Row(database)
    await row.create({"label": "old", "secret": "hidden"})
    await row.step("update", {"label": "new", "secret": "hidden too"})
    await row.step("revert", 0)
    assert row.secret == "hidden too"
    await row.step("purge", {})

    monkeypatch.setattr(table.c.secret, "nullable", False)
    with pytest.raises(Conflict, match="does not keep secret"):
        await row.run(lambda: specimens.revert(row.id, to=row.moments[0].entry))
    monkeypatch.undo()
    await row.step("revert", 1)

    assert (row.secret, row.moments[-1].row.label) == (None, "new")


async def test_masked_value_shows_nowhere_in_the_past(database):
    class WithSecret(SpecimenRead):
        secret: str | None

    careless = TenantRepository(Specimen, WithSecret)
    row = Row(database)
    await row.create({"label": "old", "secret": "hidden"})
    await row.step("update", {"label": "new", "secret": "hidden too"})

    history = await row.run(lambda: specimens.history(row.id))
    past = await row.run(lambda: careless.get_as_of(row.id, row.moments[0].at))
    back = await row.run(lambda: specimens.revert(row.id, to=row.moments[0].entry))

    assert (past.label, past.secret) == ("old", None)
    assert [entry.changes.get("secret", {}).get("new") for entry in history.items] == ["***"] * 2
    assert (await row.run(lambda: careless.get(row.id))).secret == "hidden too"
    assert b"hidden" not in msgspec.json.encode((history, past, back))


async def test_entries_and_rows_of_another_tenant_are_as_absent_as_none(database):
    row, stranger = Row(database), Row(database)
    await row.create({"label": "own"})
    await stranger.create({"label": "foreign"})
    await row.step("update", {"label": "changed"})
    entry, foreign = row.moments[0].entry, stranger.moments[0].entry

    for bad in (foreign, uuid4()):
        with pytest.raises(Invalid) as refused:
            await row.run(lambda to=bad: specimens.revert(row.id, to=to))
        assert refused.value.errors[0][:2] == ("/to", "unknown_reference")
    for bad in (stranger.id, uuid4()):
        for to in (entry, foreign):
            with pytest.raises(NotFound):
                await row.run(lambda id=bad, to=to: specimens.revert(id, to=to))
        with pytest.raises(NotFound):
            await row.run(lambda id=bad: specimens.get_as_of(id, stranger.moments[0].at))
        with pytest.raises(NotFound):
            await row.run(lambda id=bad: specimens.history(id))
    assert (await row.run(lambda: specimens.revert(row.id, to=entry))).label == "own"


async def test_time_needs_an_offset(database):
    row = Row(database)
    await row.create({"label": "own"})
    at = row.moments[0].at

    with pytest.raises(BadRequest):
        await row.run(lambda: specimens.get_as_of(row.id, at.replace(tzinfo=None)))
    assert await row.as_of(at) == row.moments[0].row


async def apart(work: Coroutine[Any, Any, Any]) -> None:
    """In a context of its own, as another request would."""
    await asyncio.create_task(work, context=Context())
