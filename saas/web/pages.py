"""Query strings into ListQuery, and pages into list answers with their links."""

from collections.abc import Container
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec
from litestar.connection import Request
from msgspec import UNSET, UnsetType

from saas.db.query import ListQuery, QueryGrammar, bad_parameter
from saas.db.row_operations import Page
from saas.errors import BadRequest
from saas.web.answer import Answer, json_answer
from saas.web.cursors import Cursors, Place

_MAX_PARAMETERS = 100
_PAIRS = "query_pairs"

Item = TypeVar("Item")


class ListBody(msgspec.Struct, Generic[Item], frozen=True):
    """The envelope of every list. `offset` and `total` are there when they were asked for."""

    items: list[Item]
    limit: int
    next_cursor: str | None
    prev_cursor: str | None
    offset: int | UnsetType = UNSET
    total: int | UnsetType = UNSET


def query_pairs(request: Request[Any, Any, Any]) -> list[tuple[str, str]]:
    """The query parameters in order. Raises BadRequest for what is no UTF-8 or too much."""
    raw: bytes = request.scope["query_string"]
    if not raw:
        return []
    remembered = request.scope["state"].get(_PAIRS)
    if remembered is None:
        remembered = request.scope["state"][_PAIRS] = _parsed(raw.decode("latin-1"))
    pairs: list[tuple[str, str]] = remembered
    return pairs


def _parsed(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS
        )
    except UnicodeDecodeError:
        raise BadRequest("The query string is not UTF-8.") from None
    except ValueError:
        raise BadRequest(f"At most {_MAX_PARAMETERS} query parameters are allowed.") from None


def parse_page(
    request: Request[Any, Any, Any],
    resource: str,
    grammar: QueryGrammar,
    cursors: Cursors,
    *,
    leaving_out: Container[str] = (),
) -> ListQuery:
    """The page that the query string asks for, but for the parameters that the route reads by
    itself. Raises BadRequest naming what is allowed."""
    pairs = [pair for pair in query_pairs(request) if pair[0] not in leaving_out]
    tokens = [text for name, text in pairs if name == "cursor"]
    query = grammar.parse(pair for pair in pairs if pair[0] != "cursor")
    if not tokens:
        return query
    if len(tokens) > 1:
        raise bad_parameter("cursor", "Give it once.")
    if query.offset is not None:
        raise bad_parameter("cursor", "Give either cursor or offset.")
    place = cursors.read(resource, grammar, query, tokens[0])
    if place.backwards:
        return msgspec.structs.replace(query, before=place.position)
    return msgspec.structs.replace(query, after=place.position or None)


def list_answer(
    request: Request[Any, Any, Any],
    resource: str,
    query: ListQuery,
    page: Page[Any],
    cursors: Cursors,
) -> Answer:
    """The list envelope, with a Link (RFC 8288) to the next page and to the one before it, where
    there are such."""
    next_cursor = prev_cursor = None
    links: list[str] = []
    if page.next_after is not None:
        next_cursor = cursors.write(resource, query, Place(page.next_after))
        links.append(_link(request, "next", _next_offset(query), next_cursor))
    if page.prev_before is not None:
        prev_cursor = cursors.write(resource, query, Place(page.prev_before, backwards=True))
        links.append(_link(request, "prev", _prev_offset(query, page), prev_cursor))
    body = ListBody(
        page.items,
        query.limit,
        next_cursor,
        prev_cursor,
        UNSET if query.offset is None else query.offset,
        UNSET if page.total is None else page.total,
    )
    return json_answer(body, headers=[(b"link", ", ".join(links).encode())] if links else None)


def _link(request: Request[Any, Any, Any], rel: str, offset: int | None, cursor: str) -> str:
    """To a page by its offset, if it has one, else by its cursor; all else as it was asked for."""
    place = ("cursor", cursor) if offset is None else ("offset", str(offset))
    kept = [pair for pair in query_pairs(request) if pair[0] not in {"cursor", "offset"}]
    return f'<{request.scope["path"]}?{urlencode([*kept, place])}>; rel="{rel}"'


def _next_offset(query: ListQuery) -> int | None:
    return None if query.offset is None else query.offset + query.limit


def _prev_offset(query: ListQuery, page: Page[Any]) -> int | None:
    if query.offset is None:
        return None
    # From far behind the end it leads to the last rows.
    end = query.offset if page.total is None else min(query.offset, page.total)
    return max(end - query.limit, 0)
