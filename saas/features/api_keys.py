"""API keys of the tenant: make, list, rotate, revoke."""

from datetime import datetime
from typing import Annotated

from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp
from msgspec import Meta

from saas.tenancy.api_keys import MOST_OVERLAP_SECONDS, WRITE, ApiKeys, KeyWish, NewApiKey
from saas.tenancy.fields import Name, PermissionName
from saas.tenancy.stored_keys import ApiKeyRead, api_key, api_keys, grammar, repository
from saas.web.answer import Answer
from saas.web.cursors import Cursors
from saas.web.described import IF_MATCH, IF_NONE_MATCH, described, list_parameters
from saas.web.pages import ListBody, list_answer, parse_page
from saas.web.row_answer import changed_row, new_row, row_answer
from saas.web.row_request import AnyRequest, may_list_deleted, row_id, wanted_version
from saas.web.schemas import Create

READ = "api_keys:read"


class ApiKeyCreate(Create):
    """Without `permissions` the key has all that its maker has."""

    name: Name
    permissions: Annotated[list[PermissionName], Meta(min_length=1, max_length=1_000)] | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class Rotate(Create):
    """For how long the secret before this one is good as well."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=MOST_OVERLAP_SECONDS)] = 0


def api_key_handlers(keys: ApiKeys, cursors: Cursors) -> list[HTTPRouteHandler]:
    """The routes below `/v1/api-keys`."""
    return [_create(keys), _list(cursors), get_api_key, _revoke(keys), _rotate(keys)]


def _create(keys: ApiKeys) -> HTTPRouteHandler:
    @post(
        "/v1/api-keys",
        **described(
            "api_keys.create",
            "Make a key, which is shown this once",
            permission=WRITE,
            success=201,
            body=NewApiKey,
        ),
    )
    async def create_api_key(data: JSONBody[ApiKeyCreate]) -> ASGIApp:
        made = await keys.create(KeyWish(data.name, data.permissions, data.expires_at))
        return new_row(made, f"/v1/api-keys/{made.id}")

    return create_api_key


def _list(cursors: Cursors) -> HTTPRouteHandler:
    @get(
        "/v1/api-keys",
        **described(
            "api_keys.list",
            "List keys",
            permission=READ,
            success=200,
            body=ListBody[ApiKeyRead],
            refusals=(400,),
            parameters=list_parameters(grammar),
        ),
    )
    async def list_api_keys(request: AnyRequest) -> ASGIApp:
        query = parse_page(request, "api-keys", grammar, cursors)
        may_list_deleted(query, WRITE)
        return list_answer(request, "api-keys", query, await api_keys(query), cursors)

    return list_api_keys


@get(
    "/v1/api-keys/{id:str}",
    **described(
        "api_keys.get",
        "Read what is stored of a key",
        permission=READ,
        success=200,
        body=ApiKeyRead,
        refusals=(400, 404),
        parameters=(IF_NONE_MATCH,),
    ),
)
async def get_api_key(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
    return row_answer(request, await api_key(row_id(id)))


def _revoke(keys: ApiKeys) -> HTTPRouteHandler:
    @delete(
        "/v1/api-keys/{id:str}",
        status_code=200,
        **described(
            "api_keys.revoke",
            "Revoke a key",
            permission=WRITE,
            success=204,
            body=None,
            refusals=(400, 404, 409, 412),
            parameters=(IF_MATCH,),
        ),
    )
    async def revoke_api_key(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
        wanted = await wanted_version(request, repository, id, is_demanded=False)
        with wanted.refusals():
            await keys.revoke(row_id(id), version=wanted.version)
        return Answer(204)

    return revoke_api_key


def _rotate(keys: ApiKeys) -> HTTPRouteHandler:
    @post(
        "/v1/api-keys/{id:str}/rotate",
        status_code=200,
        **described(
            "api_keys.rotate",
            "Give a key another secret, which is shown this once",
            permission=WRITE,
            success=200,
            body=NewApiKey,
            refusals=(400, 404, 409, 412),
            parameters=(IF_MATCH,),
        ),
    )
    async def rotate_api_key(
        request: AnyRequest, id: FromPath[str], data: JSONBody[Rotate | None] = None
    ) -> ASGIApp:
        wanted = await wanted_version(request, repository, id, is_demanded=False)
        seconds = data.overlap_seconds if data else 0
        with wanted.refusals():
            made = await keys.rotate(row_id(id), overlap_seconds=seconds, version=wanted.version)
        return changed_row(made)

    return rotate_api_key
