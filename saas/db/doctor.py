"""Is this installation as isolated as it claims? Asked before the app serves, and by
`saas doctor`. The questions to the catalogues are in `doctor_checks.py`."""

from collections.abc import Iterable
from typing import Any

import msgspec
import psycopg

from saas.db.catalog import DEFINER_FUNCTIONS, Catalogue, read_catalogue, required_function
from saas.db.doctor_checks import DATABASE_CHECKS, ROLE_CHECKS, Check
from saas.db.drift import security_changes
from saas.db.migrate import current_revision, head_revision, known_revisions
from saas.db.models import Base, tenant_tables
from saas.db.rls import required_security
from saas.db.roles import (
    APP,
    DENIED_FUNCTIONS,
    MINIMUM_SERVER_VERSION,
    OWNER,
    PATCHED_SERVER_VERSION,
    PLATFORM,
)

_CONNECT_SECONDS = 10


class Findings(msgspec.Struct, frozen=True):
    """Sentences of one line. With an error the app must not serve; a warning is for the
    operator."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __add__(self, other: "Findings") -> "Findings":
        return Findings(self.errors + other.errors, self.warnings + other.warnings)


def check_installation(app_url: str, platform_url: str, *, environment: str = "dev") -> Findings:
    """Connect as the app will, and look for whatever would break the isolation of tenants. Takes
    some 50 ms and reads only catalogues. The models must all be imported. Raises
    ConfigurationError where the migrations of this checkout are broken."""
    try:
        with _connect(app_url) as connection:
            findings = inspect_role(connection, APP)
            findings += inspect_database(connection, environment=environment)
        with _connect(platform_url) as connection:
            return findings + inspect_role(connection, PLATFORM)
    except psycopg.Error as error:
        return Findings(errors=(f"The database cannot be checked: {_first_line(error)}",))


def is_serving(app_url: str) -> bool:
    """Whether the database answers and is at the revision that this code needs, or ahead of it:
    it is migrated before the new version serves."""
    try:
        with _connect(app_url) as connection:
            current = current_revision(connection)
    except psycopg.Error:
        return False
    return current == head_revision() or _is_ahead(current)


def inspect_role(connection: psycopg.Connection[Any], role: str) -> Findings:
    """What the role of this connection could do beyond what `role` may."""
    return _ask(connection, ROLE_CHECKS, {"role": role})


def inspect_database(connection: psycopg.Connection[Any], *, environment: str = "dev") -> Findings:
    """What is missing, too much or different in the database of this connection."""
    version = inspect_version(connection.info.server_version, environment=environment)
    if version.errors:
        return version
    revision, is_ahead = _inspect_revision(connection)
    drift = _drift(read_catalogue(connection), is_ahead=is_ahead)
    declared = [table.name for table in _guarded_tables()]
    tenants = [table.name for table in tenant_tables()]
    names = {"declared": declared, "tenant_tables": tenants}
    asked = _ask(connection, DATABASE_CHECKS, names, is_ahead=is_ahead)
    return version + revision + drift + _missing_keys(connection) + asked


def inspect_version(version: int, *, environment: str) -> Findings:
    """`version` as in server_version_num."""
    shown = f"{version // 10_000}.{version % 10_000}"
    if version < MINIMUM_SERVER_VERSION:
        return Findings(errors=(f"PostgreSQL 18 or newer is needed, this is {shown}.",))
    if version >= PATCHED_SERVER_VERSION:
        return Findings()
    sentence = f"PostgreSQL {shown} lacks security fixes of 18.6, among them one of RLS: update."
    return Findings(errors=(sentence,)) if environment == "prod" else Findings((), (sentence,))


def _inspect_revision(connection: psycopg.Connection[Any]) -> tuple[Findings, bool]:
    """And whether the database is ahead of this version."""
    needed = head_revision()
    try:
        # A transaction of its own (or a savepoint), so that a refusal leaves the others usable.
        with connection.transaction():
            current = current_revision(connection)
    except psycopg.errors.InsufficientPrivilege:
        sentence = "The app may not read alembic_version: run `saas migrate`, which grants it."
        return Findings(errors=(sentence,)), False
    if current == needed:
        return Findings(), False
    place = f"The database is at revision {current or 'none'}"
    if _is_ahead(current):
        return Findings((), (f"{place}, which is newer than this version ({needed}).",)), True
    return Findings((f"{place}, this version needs {needed}: run `saas migrate`.",)), False


def _is_ahead(revision: str | None) -> bool:
    return revision is not None and revision not in known_revisions()


def _drift(catalogue: Catalogue, *, is_ahead: bool) -> Findings:
    errors: list[str] = []
    warnings: list[str] = []
    for table in _guarded_tables():
        actual, required = catalogue.tables.get(table.name), required_security(table)
        if actual is None or required is None:
            errors.append(f"Table {table.name} is missing.")
            continue
        changes = security_changes(actual, required)
        for change in changes.removals + changes.additions:
            # A newer version may have added columns, and so grants; its policies are the same.
            is_grant = change.do.startswith(("GRANT", "REVOKE"))
            (warnings if is_ahead and is_grant else errors).append(
                f"Table {table.name} is not guarded as its model says; needed: {change.do}."
            )
    for function in DEFINER_FUNCTIONS:
        if catalogue.functions.get(function.signature) != required_function(function):
            (warnings if is_ahead else errors).append(
                f"Function {function.signature} is missing or not that of this version."
            )
    return Findings(tuple(errors), tuple(warnings))


def _missing_keys(connection: psycopg.Connection[Any]) -> Findings:
    """Foreign keys are what keeps a row from naming another tenant's; unique indexes keep names."""
    found = connection.execute("""
        SELECT conname FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND convalidated
        UNION SELECT relname FROM pg_class JOIN pg_index ON indexrelid = pg_class.oid
        WHERE relnamespace = 'public'::regnamespace AND indisvalid""")
    present = {row[0] for row in found}
    needed = [
        (table.name, str(key.name))
        for table in _guarded_tables()
        for key in (*table.constraints, *table.indexes)
        if key.name is not None
    ]
    return Findings(
        tuple(
            f"{name} of table {table} is missing or not valid."
            for table, name in needed
            if name not in present
        )
    )


def _guarded_tables() -> list[Any]:
    return [table for table in Base.metadata.sorted_tables if required_security(table)]


def _ask(
    connection: psycopg.Connection[Any],
    checks: Iterable[Check],
    names: dict[str, Any],
    *,
    is_ahead: bool = False,
) -> Findings:
    parameters = {
        "app": APP,
        "platform": PLATFORM,
        "owner": OWNER,
        "denied_functions": list(DENIED_FUNCTIONS),
        **names,
    }
    findings = Findings()
    with connection.transaction(force_rollback=True):
        # No schema but PostgreSQL's own can answer for it; names in public are printed short.
        connection.execute("SET LOCAL search_path = pg_catalog, public")
        for check in checks:
            sentences = tuple(str(row[0]) for row in connection.execute(check.sql, parameters))
            is_warning = check.is_warning or (is_ahead and check.about_models)
            findings += Findings((), sentences) if is_warning else Findings(sentences)
    return findings


def _connect(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url, connect_timeout=_CONNECT_SECONDS, application_name="saas doctor")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
