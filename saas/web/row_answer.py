"""One row with a version as an answer: its ETag, and 304 where the caller holds it already."""

from typing import Any

from saas.web.answer import Answer, json_answer
from saas.web.preconditions import etag_header, is_unmodified
from saas.web.row_request import AnyRequest, header


def row_answer(request: AnyRequest, row: Any) -> Answer:
    """The answer to a GET. Raises BadRequest for a malformed If-None-Match."""
    tag = etag_header(row.version)
    if is_unmodified(header(request, b"if-none-match"), row.version):
        return Answer(304, headers=[tag])
    return json_answer(row, headers=[tag])


def changed_row(row: Any) -> Answer:
    """The answer to a change."""
    return json_answer(row, headers=[etag_header(row.version)])


def new_row(row: Any, location: str) -> Answer:
    """The answer to a create; `location` is the path of the new row."""
    headers = [etag_header(row.version), (b"location", location.encode())]
    return json_answer(row, 201, headers)
