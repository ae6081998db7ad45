"""Is this installation as isolated as it claims? Asked before the app serves, and by
`saas doctor`. The questions to the catalogues are in `doctor_checks.py`, the comparison with the
models in `doctor_drift.py`."""

from collections.abc import Iterable
from typing import Any

import psycopg

from saas.db.doctor_checks import DATABASE_CHECKS, ROLE_CHECKS, Check
from saas.db.doctor_drift import guarded_tables, inspect_models
from saas.db.doctor_findings import Findings
from saas.db.migrate import current_revision, head_revision, known_revisions
from saas.db.models import tenant_tables
from saas.db.roles import (
    APP,
    DENIED_FUNCTIONS,
    MINIMUM_SERVER_VERSION,
    OWNER,
    PATCHED_SERVER_VERSION,
    PLATFORM,
)

_CONNECT_SECONDS = 10


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


def revision_fault(app_url: str) -> str | None:
    """The sentence on a database that is not migrated as this code needs it; None where it is, and
    where it cannot be asked."""
    try:
        with _connect(app_url) as connection:
            findings, _ = _inspect_revision(connection)
    except psycopg.Error:
        return None
    return next(iter(findings.errors), None)


def inspect_role(connection: psycopg.Connection[Any], role: str) -> Findings:
    """What the role of this connection could do beyond what `role` may."""
    return _ask(connection, ROLE_CHECKS, {"role": role})


def inspect_database(connection: psycopg.Connection[Any], *, environment: str = "dev") -> Findings:
    """What is missing, too much or different in the database of this connection."""
    version = inspect_version(connection.info.server_version, environment=environment)
    if version.errors:
        return version
    revision, is_ahead = _inspect_revision(connection)
    drift = inspect_models(connection, is_ahead=is_ahead, is_behind=bool(revision.errors))
    declared = [table.name for table in guarded_tables()]
    tenants = [table.name for table in tenant_tables()]
    names = {"declared": declared, "tenant_tables": tenants}
    asked = _ask(connection, DATABASE_CHECKS, names, is_ahead=is_ahead)
    return version + revision + drift + asked


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
