"""Query strings into ListQuery, and pages into list answers with their links."""

from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec
from litestar.connection import Request
from msgspec import UNSET, UnsetType

from saas.db.query import ListQuery, QueryGrammar, bad_parameter
from saas.db.row_operations import Page
from saas.errors import BadRequest
from saas.web.answer import Answer, json_answer
from saas.web.cursors import Cursors

_MAX_PARAMETERS = 100


Item = TypeVar("Item")


class ListBody(msgspec.Struct, Generic[Item], frozen=True):
    """The envelope of every list. `offset` and `total` are there when they were asked for."""

    items: list[Item]
    limit: int
    next_cursor: str | None
    offset: int | UnsetType = UNSET
    total: int | UnsetType = UNSET


def query_pairs(request: Request[Any, Any, Any]) -> list[tuple[str, str]]:
    """The query parameters in order. Raises BadRequest for what is no UTF-8 or too much."""
    text = request.scope["query_string"].decode("latin-1")
    if not text:
        return []
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
) -> ListQuery:
    """The page that the query string asks for. Raises BadRequest naming what is allowed."""
    pairs = query_pairs(request)
    tokens = [text for name, text in pairs if name == "cursor"]
    query = grammar.parse(pair for pair in pairs if pair[0] != "cursor")
    if not tokens:
        return query
    if len(tokens) > 1:
        raise bad_parameter("cursor", "Give it once.")
    if query.offset is not None:
        raise bad_parameter("cursor", "Give either cursor or offset.")
    return msgspec.structs.replace(query, after=cursors.read(resource, grammar, query, tokens[0]))


def list_answer(
    request: Request[Any, Any, Any],
    resource: str,
    query: ListQuery,
    page: Page[Any],
    cursors: Cursors,
) -> Answer:
    """The list envelope, with a `Link: rel="next"` (RFC 8288) while there are more rows."""
    cursor = None
    headers: list[tuple[bytes, bytes]] = []
    if page.next_after is not None:
        cursor = cursors.write(resource, query, page.next_after)
        headers.append((b"link", _next_link(request, query, cursor)))
    body = ListBody(
        page.items,
        query.limit,
        cursor,
        UNSET if query.offset is None else query.offset,
        UNSET if page.total is None else page.total,
    )
    return json_answer(body, headers=headers)


def _next_link(request: Request[Any, Any, Any], query: ListQuery, cursor: str) -> bytes:
    if query.offset is None:
        place = ("cursor", cursor)
    else:
        place = ("offset", str(query.offset + query.limit))
    kept = [pair for pair in query_pairs(request) if pair[0] not in {"cursor", "offset"}]
    return f'<{request.scope["path"]}?{urlencode([*kept, place])}>; rel="next"'.encode()
