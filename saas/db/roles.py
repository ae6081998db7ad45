"""The four database roles and the SQL that sets them up on an empty cluster. Run once, by an
administrator of the server; every statement may be repeated."""

from collections.abc import Mapping

import psycopg
from psycopg import sql

from saas.errors import ConfigurationError

OWNER = "saas_owner"
MIGRATOR = "saas_migrator"
APP = "saas_app"
PLATFORM = "saas_platform"
LOGIN_ROLES = (MIGRATOR, APP, PLATFORM)

MINIMUM_SERVER_VERSION = 180000
# The first minor release without CVE-2026-14666 (a prepared statement that keeps bypassing RLS).
PATCHED_SERVER_VERSION = 180006

# Expressions can call functions, but not SET LOCAL: with set_config out of reach, an injected
# expression cannot change the tenant inside a statement.
DENIED_FUNCTIONS = (
    "set_config(text, text, boolean)",
    "lo_create(oid)",
    "lo_creat(integer)",
    "lo_from_bytea(oid, bytea)",
    "lo_import(text)",
    "lo_import(text, oid)",
)

_ROLE_ATTRIBUTES = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT"

_ROLE_SETTINGS = (
    # With row_security off, a backfill that RLS would silently reduce to 0 rows is an error.
    (MIGRATOR, "row_security", "off"),
    (APP, "jit", "off"),
    # A tenant's share is of connections: one query must not take several processors.
    (APP, "max_parallel_workers_per_gather", "0"),
    # Whoever waits for a row holds a connection that others need.
    (APP, "lock_timeout", "5s"),
    (APP, "idle_in_transaction_session_timeout", "60s"),
    (PLATFORM, "jit", "off"),
    (PLATFORM, "lock_timeout", "5s"),
    (PLATFORM, "idle_in_transaction_session_timeout", "60s"),
)


def bootstrap(
    admin_url: str, *, database: str = "saas", passwords: Mapping[str, str] | None = None
) -> None:
    """Create roles and database on the server that `admin_url` (a superuser) reaches, and close
    what PostgreSQL leaves open to PUBLIC. Repeatable; existing passwords are kept unless given.

    Raises ConfigurationError where the server is unreachable, too old, or refuses."""
    try:
        with psycopg.connect(admin_url, autocommit=True, connect_timeout=10) as admin:
            if admin.info.server_version < MINIMUM_SERVER_VERSION:
                major = admin.info.server_version // 10_000
                raise ConfigurationError(f"PostgreSQL 18 or newer is needed, this is {major}")
            _create_roles(admin, passwords or {})
            _create_database(admin, database)
        with psycopg.connect(admin_url, dbname=database, autocommit=True) as inside:
            _close_database(inside, database)
    except psycopg.Error as error:
        raise ConfigurationError(f"bootstrap failed: {str(error).splitlines()[0]}") from error


def _create_roles(admin: psycopg.Connection, passwords: Mapping[str, str]) -> None:
    present = {row[0] for row in admin.execute("SELECT rolname FROM pg_roles")}
    for role in (OWNER, *LOGIN_ROLES):
        name = sql.Identifier(role)
        if role not in present:
            admin.execute(sql.SQL("CREATE ROLE {}").format(name))
        login = "LOGIN" if role in LOGIN_ROLES else "NOLOGIN"
        admin.execute(
            sql.SQL("ALTER ROLE {} {} {}").format(name, sql.SQL(login), sql.SQL(_ROLE_ATTRIBUTES))
        )
        if role in passwords:
            admin.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, sql.Literal(passwords[role]))
            )
    admin.execute(
        sql.SQL("GRANT {} TO {} WITH INHERIT FALSE, SET TRUE").format(
            sql.Identifier(OWNER), sql.Identifier(MIGRATOR)
        )
    )
    for role, setting, value in _ROLE_SETTINGS:
        admin.execute(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(
                sql.Identifier(role), sql.Identifier(setting), sql.Literal(value)
            )
        )


def _create_database(admin: psycopg.Connection, database: str) -> None:
    found = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone()
    if not found:
        admin.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(database), sql.Identifier(OWNER)
            )
        )


def _close_database(inside: psycopg.Connection, database: str) -> None:
    name, owner = sql.Identifier(database), sql.Identifier(OWNER)
    roles = sql.SQL(", ").join(map(sql.Identifier, LOGIN_ROLES))
    for statement in (
        sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name),
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, roles),
        sql.SQL("ALTER SCHEMA public OWNER TO {}").format(owner),
        sql.SQL("REVOKE ALL ON SCHEMA public FROM PUBLIC"),
        sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(roles),
    ):
        inside.execute(statement)
    for function in DENIED_FUNCTIONS:
        inside.execute(
            sql.SQL("REVOKE EXECUTE ON FUNCTION pg_catalog.{} FROM PUBLIC").format(
                sql.SQL(function)
            )
        )
    inside.execute(
        sql.SQL("GRANT EXECUTE ON FUNCTION pg_catalog.{} TO {}").format(
            sql.SQL(DENIED_FUNCTIONS[0]), sql.Identifier(MIGRATOR)
        )
    )
