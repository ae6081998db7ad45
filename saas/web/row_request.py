"""What a request on one row asks for: its id, its fields, the version it expects, soft or hard."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from litestar.connection import Request

from saas import context
from saas.db.query import ListQuery, QueryGrammar, bad_parameter
from saas.db.repository import TenantRepository
from saas.errors import (
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    PreconditionRequired,
    VersionConflict,
)
from saas.web.pages import query_pairs
from saas.web.preconditions import is_unmodified, versions_wanted

AnyRequest = Request[Any, Any, Any]


def row_id(text: str) -> UUID:
    """A malformed id is one that no row has: NotFound, like every other."""
    try:
        return msgspec.convert(text, UUID)
    except msgspec.ValidationError:
        raise NotFound from None


def header(request: AnyRequest, name: bytes) -> str | None:
    """A header by its lower-case name, lists of it joined; Litestar's own mapping of all headers
    costs as much as the whole rest of a handler."""
    found = [value for key, value in request.scope["headers"] if key == name]
    return b", ".join(found).decode("latin-1") if found else None


def require_permission(permission: str) -> None:
    """For what depends on the query; a route's own permission is checked by the middleware."""
    if permission not in context.principal().permissions:
        raise PermissionDenied(permission)


class Wanted(NamedTuple):
    """The version that the caller demands, and the refusal that fits where it said so."""

    version: int | None
    in_header: bool = False

    @contextmanager
    def refusals(self) -> Iterator[None]:
        try:
            yield
        except VersionConflict as stale:
            if self.in_header:
                raise PreconditionFailed(stale.current_version) from None
            raise


# No row has it, so it is stale whatever the present version is.
_NO_VERSION = 0


async def wanted_version(
    request: AnyRequest,
    repository: TenantRepository[Any, Any],
    id: str,
    *,
    is_demanded: bool,
    in_body: int | msgspec.UnsetType = msgspec.UNSET,
    include_deleted: bool = False,
) -> Wanted:
    async def present() -> int:
        row = await repository.get(row_id(id), include_deleted=include_deleted)
        version: int = row.version
        return version

    if is_demanded and header(request, b"if-match") is None:
        raise PreconditionRequired
    return await wanted_version_of(request, present, in_body=in_body)


async def wanted_version_of(
    request: AnyRequest,
    present: Callable[[], Awaitable[int]],
    *,
    in_body: int | msgspec.UnsetType = msgspec.UNSET,
) -> Wanted:
    """`present` is asked for the present version only where several demands have to hold at
    once, or one that If-None-Match makes (RFC 9110, 13.1.2)."""
    wanted = versions_wanted(header(request, b"if-match"))
    if (unwanted := header(request, b"if-none-match")) is not None:
        version = await present()
        if is_unmodified(unwanted, version):
            return Wanted(_NO_VERSION, in_header=True)
        wanted = frozenset({version}) & (wanted or {version})
    if wanted is None:
        return Wanted(None if in_body is msgspec.UNSET else in_body)
    if len(wanted) == 1 and in_body is msgspec.UNSET:
        return Wanted(next(iter(wanted)), in_header=True)
    version = await present()
    if version not in wanted:
        return Wanted(_NO_VERSION, in_header=True)
    return Wanted(version if in_body is msgspec.UNSET else in_body)


def may_list_deleted(query: ListQuery, write_permission: str) -> None:
    """Raises PermissionDenied for a list of deleted rows without the permission to write such."""
    if query.deleted != "exclude":
        require_permission(write_permission)


def is_hard(request: AnyRequest) -> bool:
    hard = dict(query_pairs(request)).get("hard", "false")
    if hard not in {"true", "false"}:
        raise bad_parameter("hard", "Give true or false.")
    return hard == "true"


def wanted_fields(request: AnyRequest, grammar: QueryGrammar) -> tuple[str, ...]:
    """The fields of the row to show; none means all. Raises BadRequest."""
    text = dict(query_pairs(request)).get("fields")
    return () if text is None else grammar.parse_fields(text)


def past_time(request: AnyRequest) -> datetime | None:
    """The time of `as_of`, None without it. Raises BadRequest where it is none."""
    if not request.scope["query_string"]:
        return None
    given = [text for name, text in query_pairs(request) if name == "as_of"]
    if len(given) > 1:
        raise bad_parameter("as_of", "Give it once.")
    try:
        # The ends of the calendar are out of range in UTC, which is what is compared.
        return msgspec.convert(given[0], _Time).astimezone(UTC) if given else None
    except (msgspec.ValidationError, OverflowError):
        raise bad_parameter(
            "as_of",
            "Give an RFC 3339 time with its offset, + written as %2B: 2026-01-31T09:00:00Z.",
        ) from None


_Time = Annotated[datetime, msgspec.Meta(tz=True)]
