"""The product's own meters, told by the tenant's programs."""

from typing import Annotated

import msgspec
from litestar import post
from litestar.params import JSONBody
from litestar.types import ASGIApp
from msgspec import Meta

from saas.errors import Invalid
from saas.usage.events import Event
from saas.usage.meters import count_events
from saas.web.answer import json_answer
from saas.web.described import described


class EventBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them count or, where one is refused, none."""

    events: Annotated[list[Event], Meta(min_length=1, max_length=1_000)]


class Counted(msgspec.Struct, frozen=True):
    """`duplicates` had a key that was there before, in an earlier batch or in this one."""

    accepted: int
    duplicates: int


@post(
    "/v1/usage/events",
    status_code=200,
    **described(
        "usage.count",
        "Count uses of the product's own meters, each key once",
        permission="usage:write",
        success=200,
        body=Counted,
    ),
)
async def post_events(data: JSONBody[EventBatch]) -> ASGIApp:
    try:
        accepted = await count_events(data.events)
    except Invalid as refusal:
        refusal.errors = tuple(
            fault._replace(pointer=f"/events{fault.pointer}") for fault in refusal.errors
        )
        raise
    return json_answer(Counted(accepted, len(data.events) - accepted))
