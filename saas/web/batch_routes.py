"""`POST /v1/R/batch`: up to 1,000 changes in one transaction, and the report on them."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from saas.db.batch_items import BatchResult, Status
from saas.errors import SaasError
from saas.web.answer import json_answer
from saas.web.batch_bodies import BatchDecoder, body_type, item_type
from saas.web.described import described
from saas.web.routed import JSON_BODY, Routed, demanded


class FieldFault(msgspec.Struct, frozen=True):
    pointer: str
    code: str
    message: str


class ItemError(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem document's members that differ from item to item."""

    code: str
    detail: str
    errors: list[FieldFault]
    current_version: int | None = None


class ItemReport(msgspec.Struct, frozen=True, gc=False):
    index: int
    status: Status
    id: UUID | None
    error: ItemError | None


class BatchReport(msgspec.Struct, frozen=True):
    succeeded: int
    failed: int
    results: list[ItemReport]


def batch_handler(resource: Routed) -> HTTPRouteHandler:
    """The batch route of `resource`, relative to its path."""
    name, repository = resource.name, resource.repository
    item = item_type(name, resource.create, resource.update)
    body = body_type(name, item)

    async def change_rows(data: Any) -> ASGIApp:
        is_atomic = data.mode == "atomic"
        results = await repository.batch(
            data.items, is_atomic=is_atomic, on_conflict=data.on_conflict
        )
        return json_answer(_report(results), 200 if is_atomic else 207)

    change_rows.__annotations__["data"] = Annotated[body, JSON_BODY]
    declared = described(
        f"{name}.batch",
        f"Change many of {name}",
        permission=f"{name}:write",
        success=200,
        body=BatchReport,
        refusals=(404, 409, *demanded(resource)),
    )
    # Atomic answers 200, partial 207.
    declared["responses"][207] = declared["responses"][200]
    # A function: Litestar copies what stands here.
    declared["opt"]["make_decoder"] = lambda: BatchDecoder(
        body, item, demands_version=resource.requires_match
    )
    return post("/batch", status_code=200, **declared)(change_rows)


def _report(results: Sequence[BatchResult]) -> BatchReport:
    items = [ItemReport(r.index, r.status, r.id, _error(r.refusal)) for r in results]
    failed = sum(result.refusal is not None for result in results)
    return BatchReport(len(items) - failed, failed, items)


def _error(refusal: SaasError | None) -> ItemError | None:
    if refusal is None:
        return None
    faults = [FieldFault(*fault) for fault in refusal.errors]
    current = refusal.extra.get("current_version")
    return ItemError(refusal.code, refusal.message, faults, current)
