"""`Idempotency-Key` on every POST of a tenant or an operator: one effect, and its answer again.

The source is draft-ietf-httpapi-idempotency-key-header-07; where it is silent, what Stripe does.
docs/idempotency.md walks through it.
"""

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send

from saas import context
from saas.auth.permissions import require
from saas.db import idempotency as store
from saas.db.idempotency import Kept
from saas.db.transaction import current_transaction
from saas.errors import IdempotencyKeyInUse, IdempotencyKeyReused, SaasError
from saas.web.answer import Answer
from saas.web.idempotency_key import HEADER, Claim, KeptAnswer, claim_of
from saas.web.problems import problem_answer
from saas.web.request_id import request_id
from saas.web.spool import spooled
from saas.web.strict_request import StrictRequest
from saas.web.uploads import received_early

_KEPT_HEADERS = frozenset({b"content-type", b"location", b"etag"})
# Neither is about the request: the one is about the credential, the other about the moment.
_NEVER_KEPT = frozenset({401, 429})


class Idempotency:
    """Calls the handler of a POST, at most once for each key of a caller on a route.

    It needs the transaction of the request, whose effect, record and lock end together. `secret`
    must be the same on every node; with another one every key is a new one.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Raises BadRequest for a malformed key, IdempotencyKeyReused, IdempotencyKeyInUse."""
        sent = [value for name, value in scope["headers"] if name == HEADER]
        if not sent:
            await next_app(scope, receive, send)
            return
        claim = claim_of(sent, _caller(scope), self._secret)
        request = StrictRequest(scope, receive, send)
        if scope["route_handler"].opt.get("takes"):
            # A file: its handler finds it where it was put.
            async with _file_digest(request) as digest:
                mac = claim.mac_of(scope["query_string"], digest)
                answer = await _answer(claim, mac, scope, receive, next_app)
        else:
            body = await request.body()
            mac = claim.mac(scope["query_string"], body)
            answer = await _answer(claim, mac, scope, _Received(body, receive), next_app)
        await answer(scope, receive, send)


@asynccontextmanager
async def _file_digest(request: StrictRequest) -> AsyncIterator[bytes]:
    """What stands for a file, which is there for the handler inside the block."""
    if "receive" in request.scope["route_handler"].opt:
        async with received_early(request) as digest:
            yield digest
    else:
        async with spooled(request) as spool:
            yield spool.sha256


async def _answer(
    claim: Claim, mac: bytes, scope: Scope, receive: Receive, next_app: ASGIApp
) -> Answer:
    kept = await _kept_answer(claim, mac)
    if kept is None:
        return await _first_answer(claim, mac, scope, receive, next_app)
    answer = Answer(kept.status, kept.body, kept.headers)
    answer.headers.append((b"idempotency-replayed", b"true"))
    return answer


def _caller(scope: Scope) -> tuple[Any, ...]:
    """Who asks for what. The path and not its template: another row is another request."""
    principal = context.principal_or_none()
    tenant = principal.tenant_id.bytes if principal else b""
    parameters = [(name, str(value)) for name, value in scope["path_params"].items()]
    return tenant, scope["state"]["actor"], scope["path_template"], parameters


def _permissions() -> frozenset[str]:
    principal = context.principal_or_none()
    return principal.permissions if principal else frozenset()


async def _kept_answer(claim: Claim, mac: bytes) -> KeptAnswer | None:
    """The first answer. None where there is none, and then nobody else can be at it."""
    is_alone = await store.try_lock(claim.lock)
    kept = await store.find(claim.id)
    if kept is not None:
        if not hmac.compare_digest(kept.request_mac, mac):
            raise IdempotencyKeyReused
        answer = claim.open(kept.answer, mac)
        # A token may carry less than the key or member that it is of: it must not be told of a
        # secret that is worth more than itself.
        for permission in answer.permissions:
            require(permission, _permissions())
        return answer
    if not is_alone:
        raise IdempotencyKeyInUse
    return None


async def _first_answer(
    claim: Claim, mac: bytes, scope: Scope, receive: Receive, next_app: ASGIApp
) -> Answer:
    work = current_transaction()
    await work.begin_attempt()
    sent = _Sent()
    await next_app(scope, receive, sent)
    answer = Answer(sent.status, b"".join(sent.parts), sent.headers)
    if answer.status >= 500 or answer.status in _NEVER_KEPT:
        # The repeat does the work, and may come as soon as this is sent.
        await work.rollback()
        return answer
    try:
        # A refusal is undone, and kept all the same, under the lock that nobody has had since.
        await work.end_attempt()
        headers = [header for header in answer.headers if header[0] in _KEPT_HEADERS]
        first = KeptAnswer(answer.status, headers, answer.body, sorted(_permissions()))
        await store.keep(claim.id, Kept(mac, claim.seal(first, mac)))
        await work.commit()
    except SaasError as error:
        await work.rollback()
        # Litestar takes the handler's answer for sent and would not answer a second time.
        return problem_answer(error, request_id(scope))
    return answer


class _Received:
    """A body that was read already, as the server gave it; after it, what the server says."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Any:
        body, self._body = self._body, None
        if body is None:
            return await self._receive()
        return {"type": "http.request", "body": body, "more_body": False}


class _Sent:
    """What a handler sends, held back until it has been kept."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            # `Answer` counts the length by itself.
            self.headers = [h for h in message["headers"] if h[0] != b"content-length"]
        elif message["type"] == "http.response.body":
            self.parts.append(message.get("body", b""))
