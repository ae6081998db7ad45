"""Access tokens of a tenant: an API key is exchanged for one, and all of them are ended at once."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import post
from litestar.connection import Request
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import Meta

from saas import context
from saas.auth.permissions import EVERYONE, Role
from saas.auth.tokens import MAX_TTL_SECONDS, TokenIssuer
from saas.errors import ApiKeyRequired, PermissionDenied
from saas.tenancy.revocation import revoke_member_tokens, revoke_tenant_tokens
from saas.web.answer import json_answer
from saas.web.described import described
from saas.web.routed import JSON_BODY
from saas.web.row_request import require_permission, row_id

Ttl = Annotated[int, Meta(ge=1, le=MAX_TTL_SECONDS)]


class IssuedToken(msgspec.Struct, frozen=True):
    """As in RFC 6749, 5.1; `expires_in` is in seconds."""

    access_token: str
    token_type: str
    expires_in: int


class RevokedBody(msgspec.Struct, frozen=True):
    """Tokens issued before this time are refused, everywhere within 5 s."""

    tokens_valid_from: datetime


def token_handlers(tokens: TokenIssuer, permissions: Iterable[str]) -> list[HTTPRouteHandler]:
    """`tokens` issues those of tenants; `permissions` are all that there are."""
    return [_issue(tokens, permissions), revoke_tenant, revoke_member]


def _issue(tokens: TokenIssuer, permissions: Iterable[str]) -> HTTPRouteHandler:
    known: Any = Literal.__getitem__(tuple(sorted(permissions)))
    # No permission at all would be a token for nothing.
    some = Annotated[list[known], Meta(min_length=1)]
    wish = msgspec.defstruct(
        "TokenWish",
        [("ttl_seconds", Ttl, MAX_TTL_SECONDS), ("permissions", some | None, None)],
        kw_only=True,
        forbid_unknown_fields=True,
    )

    async def issue_token(request: Request[Any, Any, Any], data: Any = None) -> ASGIApp:
        asked: Any = data or wish()
        who = context.principal()
        state = request.scope["state"]
        if not state["is_api_key"]:
            raise ApiKeyRequired
        for permission in asked.permissions or ():
            if permission not in who.permissions:
                raise PermissionDenied(permission)
        token = tokens.issue(
            who.actor,
            tenant_id=who.tenant_id,
            permissions=asked.permissions,
            key_version=state["key_version"],
            ttl_seconds=asked.ttl_seconds,
        )
        return json_answer(IssuedToken(token, "Bearer", asked.ttl_seconds))

    issue_token.__annotations__["data"] = Annotated[wish | None, JSON_BODY]
    return post(
        "/v1/auth/token",
        status_code=200,
        **described(
            "auth.token",
            "Exchange an API key for a short-lived token",
            permission=EVERYONE,
            success=200,
            body=IssuedToken,
        ),
    )(issue_token)


@post(
    "/v1/tenant/revoke-tokens",
    status_code=200,
    **described(
        "auth.revoke_tenant",
        "End every access token of the tenant",
        permission="tenant:write",
        success=200,
        body=RevokedBody,
    ),
)
async def revoke_tenant() -> ASGIApp:
    revoked = await revoke_tenant_tokens()
    return json_answer(RevokedBody(revoked.tokens_valid_from))


@post(
    "/v1/members/{id:str}/revoke-tokens",
    status_code=200,
    **described(
        "auth.revoke_member",
        "End every access token of a member",
        permission="members:write",
        success=200,
        body=RevokedBody,
    ),
)
async def revoke_member(id: FromPath[str]) -> ASGIApp:
    revoked = await revoke_member_tokens(row_id(id))
    if revoked.role == Role.OWNER.value:
        # Undone with the refusal: who is not an owner has no hand in what owners do.
        require_permission("tenant:write")
    return json_answer(RevokedBody(revoked.tokens_valid_from))
