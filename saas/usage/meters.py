"""Counting what the product sells: pages, messages, minutes. Each event is kept under the caller's
own key and counts once; the sums are in `usage_meters` (docs/usage.md).

`sync_meters.py` has the same for threads.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from saas import context
from saas.db.advisory_locks import lock_number
from saas.db.operation import Operation, Step
from saas.db.repository import perform
from saas.db.value_faults import field_error
from saas.errors import Invalid, MeterQuotaExceeded
from saas.usage.events import Event, as_row, faults_of
from saas.usage.meter_statements import COUNT, LOCK, WANTED


async def meter(
    name: str,
    quantity: int = 1,
    *,
    idempotency_key: str | None = None,
    at: datetime | None = None,
    data: dict[str, Any] | None = None,
) -> bool:
    """Count `quantity` of the meter `name` for the bound tenant, in the current transaction. Gives
    whether it counted: a key that was there before does not. Without a key it always does.

    Raises Invalid for what `Event` does not allow, MeterQuotaExceeded where the tenant's limit of
    the month leaves no room, Unbound without a tenant or transaction."""
    event = event_of(name, quantity, idempotency_key=idempotency_key, at=at, data=data)
    return await perform(counted([event])) == 1


async def count_events(events: Sequence[Event]) -> int:
    """`meter` for many: how many of them counted, in one statement, or three where the tenant's
    meters have limits. None is where one is refused; the pointers begin at the list."""
    faults = [
        fault._replace(pointer=f"/{index}{fault.pointer}")
        for index, event in enumerate(events)
        for fault in faults_of(event)
    ]
    if faults:
        raise Invalid(errors=faults)
    return await perform(counted(events))


def event_of(
    name: str,
    quantity: int,
    *,
    idempotency_key: str | None,
    at: datetime | None,
    data: dict[str, Any] | None,
) -> Event:
    """Raises Invalid for what is no event."""
    key = str(uuid7()) if idempotency_key is None else idempotency_key
    values = {"meter": name, "quantity": quantity, "idempotency_key": key, "at": at, "data": data}
    try:
        event = msgspec.convert(values, Event)
    except msgspec.ValidationError as error:
        raise Invalid(errors=[field_error(str(error), Event)]) from None
    if faults := list(faults_of(event)):
        raise Invalid(errors=faults)
    return event


def counted(events: Sequence[Event]) -> Operation[int]:
    """`count_events` as an Operation, of events that have no faults."""
    principal = context.principal()
    # Of two with one key the first counts: a statement cannot insert a row and find it there.
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for event in events:
        rows.setdefault((event.meter, event.idempotency_key), as_row(event))
    given = list(rows.values())
    yield from _require_room(principal.tenant_id, given, principal.limits.meters or {})
    values = {
        "tenant_id": principal.tenant_id,
        "actor": principal.actor,
        "kind": principal.actor.partition(":")[0],
        "given": _json(given),
    }
    found = yield Step(COUNT, values)
    count: int = found[0]["counted"]
    return count


def _require_room(
    tenant_id: UUID, rows: list[dict[str, Any]], limits: dict[str, int]
) -> Operation[None]:
    """Nothing is done for meters without a limit. Those with one wait for each other, by meter,
    until the transaction ends."""
    limited = [row for row in rows if row["meter"] in limits]
    if not limited:
        return
    # In one order, so that two batches of the same meters never wait for each other.
    numbers = sorted(
        {lock_number(b"meter", tenant_id.bytes, row["meter"].encode()) for row in limited}
    )
    yield Step(LOCK, {"numbers": numbers})
    # A statement of its own: only a snapshot that is taken under the locks shows those before.
    for found in (yield Step(WANTED, {"tenant_id": tenant_id, "given": _json(limited)})):
        if found["total"] > limits[found["meter"]]:
            raise MeterQuotaExceeded(found["meter"], limits[found["meter"]])


def _json(rows: list[dict[str, Any]]) -> str:
    return msgspec.json.encode(rows).decode()
