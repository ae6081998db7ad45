"""What schemathesis must know of this API, and what else must hold after every answer."""

import os
import random
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import psycopg
import schemathesis
from schemathesis.openapi.checks import (
    EnsureResourceAvailability,
    RejectedPositiveData,
    UseAfterFree,
)

from saas.auth.keys import parse_api_key

# The server takes 50 filters at once, and the coverage phase sends all parameters together. Each
# costs a dozen requests, so another seed takes other ones.
_MOST_FILTERS = 5
_sample = random.Random(os.environ["FUZZ_SEED"]).sample
# Each has tests of its own. A cursor is signed; the grammar of `or` is not regular; a time to come
# has no past row; a key that was used before, as short ones soon are, refuses any other body;
# `fields` leaves out what the schema of a whole row requires, as its description says; what is in
# the JSON of `map` is not in the schema of a parameter; one time is before the other, and zones
# have the names that somebody gave them.
_NOT_GENERATED = {
    *("cursor", "or", "as_of", "Idempotency-Key", "fields", "map"),
    *("from", "to", "tz"),
}
# Only made of rows that there are; tests/portability sends such files, and spoilt ones.
_FILE = "application/zip"
_TABLES = {"text/csv", "application/x-ndjson"}
_database = psycopg.connect(os.environ["FUZZ_DATABASE"], autocommit=True)


@schemathesis.serializer(_FILE)
def bytes_as_they_are(context: schemathesis.SerializationContext, value: Any) -> Any:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@schemathesis.hook
def before_load_schema(context: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """Take out of the document what cannot be generated, and thin out what is too much."""
    for path in raw_schema["paths"].values():
        for operation in path.values():
            operation["parameters"] = _thinned(operation.get("parameters", []))


def _thinned(parameters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    known = [p for p in parameters if p.get("name") not in _NOT_GENERATED]
    filters = [parameter for parameter in known if "__" in parameter.get("name", "")]
    kept = _sample(filters, min(len(filters), _MOST_FILTERS))
    return [parameter for parameter in known if parameter not in filters or parameter in kept]


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]
) -> None:
    """Let the tenant that asks live until the end, and the key with which it asks."""
    if case.method != "GET" and case.path_parameters.get("id") in {_own_id, _own_key}:
        case.path_parameters["id"] = str(uuid4())


_own_key = str(_parsed.key_id) if (_parsed := parse_api_key(os.environ["FUZZ_TENANT_KEY"])) else ""


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Let an id in a body refer to a row that there is, and a time when something ends be near:
    made up, they would always be refused."""
    if isinstance(body, list):
        return [map_body(context, member) for member in body]
    if not isinstance(body, dict):
        return body
    return {name: _existing(name, map_body(context, value)) for name, value in body.items()}


def _existing(name: str, value: Any) -> Any:
    if name == "expires_at" and isinstance(value, str) and _is_time(value):
        return (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    # What is no id at all was made so on purpose.
    if name not in _references or not (isinstance(value, str) and _is_uuid(value)):
        return value
    table, tenant = _references[name], "SELECT id FROM tenants WHERE slug = %s"
    live = f"SELECT id FROM {table} WHERE deleted_at IS NULL AND tenant_id = ({tenant}) LIMIT 1"
    row = _database.execute(live, [os.environ["FUZZ_TENANT"]]).fetchone()
    return value if row is None else str(row[0])


_of_slug = "SELECT id::text FROM tenants WHERE slug = %s"
_own_id = _database.execute(_of_slug, [os.environ["FUZZ_TENANT"]]).fetchone()[0]  # type: ignore[index]
_is_time = re.compile(r"\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)").fullmatch
_is_uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
# The table that a column refers to: the database knows it.
_references: dict[str, str] = dict(
    _database.execute(
        "SELECT a.attname, c.confrelid::regclass::text FROM pg_constraint c JOIN pg_attribute a "
        "ON a.attrelid = c.conrelid AND a.attnum = c.conkey[2] WHERE c.contype = 'f'"
    ).fetchall()
)


@schemathesis.check
def refusal_is_a_problem(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """RFC 9457 also where the document says nothing, as of methods that a path lacks."""
    if response.status_code < 400 or response.request.method == "HEAD":
        return
    assert response.headers["content-type"] == ["application/problem+json"]
    problem = response.json()
    assert problem["status"] == response.status_code
    assert [problem["instance"]] == response.headers["x-request-id"]


@schemathesis.check
def refusal_stores_nothing(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    before, _stored.changes = _stored.changes, _changes()
    if response.status_code >= 400:
        assert _stored.changes == before


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext,
    failure: Any,
    case: schemathesis.Case,
    response: schemathesis.Response,
) -> bool:
    """A body that fits its schema is still refused for what no schema can know. A tenant is read
    after its DELETE, which only begins its end, and its certificate is not there before."""
    path = case.operation.path
    if isinstance(failure, UseAfterFree) and path.startswith("/v1/admin/tenants/{id}"):
        return False
    if isinstance(failure, EnsureResourceAvailability) and path.endswith("/certificate"):
        return False
    if not isinstance(failure, RejectedPositiveData):
        return True
    if path == "/v1/stats/usage":  # Which meters a tenant has, and how each metric is grouped.
        return False
    if response.status_code == 412:  # It does not know the row's present version.
        return False
    if response.status_code == 400 and case.media_type == _FILE and "errors" not in response.json():
        return False
    if response.status_code == 422 and case.media_type in _TABLES:  # Which columns a file has.
        return False
    if response.status_code == 400:
        return _fits_headers(case)
    faults = response.json().get("errors", ())
    return not faults or any(_is_of_schema(fault) for fault in faults)


def _is_of_schema(fault: dict[str, str]) -> bool:
    """Not so: which rows, permissions and invitations there are, and how late it is. And JSON
    Schema takes 1.0 for an integer, which the contract does not."""
    is_float = fault["code"] == "wrong_type" and fault["message"].endswith("got `float`.")
    is_time = fault["pointer"].rpartition("/")[2] in {"expires_at", "at"}
    is_past = is_time and fault["code"] == "out_of_range"
    return fault["code"] not in _OF_THE_MOMENT and not is_float and not is_past


_OF_THE_MOMENT = {"unknown_reference", "unknown_permission", "no_invitation", "in_the_past"}


def _fits_headers(case: schemathesis.Case) -> bool:
    """The coverage phase cannot generate a header with quotes, and sends one without."""
    headers = case.headers or {}
    patterns = {
        parameter["name"]: parameter["schema"].get("pattern", "")
        for parameter in case.operation.definition.raw.get("parameters", ())
        if parameter.get("in") == "header"
    }
    return all(re.search(patterns.get(name, ""), str(value)) for name, value in headers.items())


def _changes() -> int:
    """How long the audit log is, which notes every change of every tenant's rows."""
    row = _database.execute("SELECT count(*) FROM audit_log").fetchone()
    return 0 if row is None else int(row[0])


_stored = SimpleNamespace(changes=_changes())
