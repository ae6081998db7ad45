"""`POST /v1/R`: one row, and the rows of the resources that are nested in it, all or none."""

from typing import Annotated, Any

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from msgspec import UNSET, Meta, Struct, UnsetType

from saas.errors import SaasError
from saas.web.answer import json_answer
from saas.web.described import described
from saas.web.preconditions import etag_header
from saas.web.routed import JSON_BODY, Nested, Routed
from saas.web.row_request import require_permission
from saas.web.schemas import values_of, without_field

MAX_CHILDREN = 1_000


def create_handler(resource: Routed) -> HTTPRouteHandler:
    """The create route of `resource`, relative to its path."""
    name, repository, children = resource.name, resource.repository, resource.children
    location = f"/v1/{name}/"
    taken: type[Struct] = resource.create
    shown: type[Struct] = resource.read
    if children:
        taken = _with_children(
            resource.create, {c.name: without_field(c.create, c.column) for c in children}
        )
        shown = _with_children(resource.read, {c.name: c.read for c in children})

    async def create_row(data: Any) -> ASGIApp:
        values = values_of(data)
        given = [child for child in children if child.name in values]
        rows: dict[str, Any] = {child.name: values.pop(child.name) for child in given}
        row = await repository.create(values)
        headers = [etag_header(row.version), (b"location", f"{location}{row.id}".encode())]
        if given:
            created = {c.name: await _create_children(c, row.id, rows[c.name]) for c in given}
            row = shown(**msgspec.structs.asdict(row), **created)
        return json_answer(row, 201, headers)

    create_row.__annotations__["data"] = Annotated[taken, JSON_BODY]
    return post(
        "/",
        **described(
            f"{name}.create",
            f"Create one of {name}",
            permission=f"{name}:write",
            success=201,
            body=shown,
            refusals=(409,),
        ),
    )(create_row)


async def _create_children(child: Nested, parent_id: Any, rows: list[Struct]) -> Any:
    require_permission(f"{child.name}:write")
    values = [{child.column: parent_id, **values_of(row)} for row in rows]
    try:
        return await child.repository.create_many(values, place=f"/{child.name}/{{}}")
    except SaasError as refusal:
        # The caller has not sent the reference to the parent, and could not.
        told = [e for e in refusal.errors if not e.pointer.endswith(f"/{child.column}")]
        refusal.errors = tuple(told) or refusal.errors
        raise


def _with_children(base: type[Struct], children: dict[str, type[Struct]]) -> type[Struct]:
    return msgspec.defstruct(
        f"{base.__name__}With{''.join(name.title() for name in children)}",
        [
            (name, Annotated[list[row], Meta(max_length=MAX_CHILDREN)] | UnsetType, UNSET)  # type: ignore[valid-type]
            for name, row in children.items()
        ],
        bases=(base,),
        kw_only=True,
    )
