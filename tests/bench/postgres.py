"""The PostgreSQL server under test, as its superuser sees it: the peer's database and roles, the
process behind it and the settings that matter. Tables' rows are in dataset.py."""

from typing import LiteralString

import psycopg
from psycopg import Connection, sql
from sqlalchemy import create_engine, make_url

from saas.dev.postgres import EmbeddedPostgres
from tests.bench import procfs
from tests.bench.errors import BenchError
from tests.bench.peer.models import Base

SUPERUSER = "saas_root"
PEER = "bench_peer"
FLOOR = "bench_floor"
SHOWN_SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")

# The peer connects as the owner, whom the policy does not bind; only the floor is bound.
FLOOR_STATEMENTS: tuple[LiteralString, ...] = (
    "GRANT SELECT, INSERT, UPDATE ON projects TO bench_floor",
    "DROP POLICY IF EXISTS tenant ON projects",
    """CREATE POLICY tenant ON projects
       USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
       WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)""",
)


def connect(server: EmbeddedPostgres, database: str) -> Connection:
    return psycopg.connect(server.dsn(SUPERUSER, database), autocommit=True)


def create_peer_database(server: EmbeddedPostgres) -> None:
    """Roles, database and table of the peer, where they are not there yet."""
    with connect(server, "postgres") as admin:
        roles = {row[0] for row in admin.execute("SELECT rolname FROM pg_roles")}
        for role in (PEER, FLOOR):
            if role not in roles:
                admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        databases = {row[0] for row in admin.execute("SELECT datname FROM pg_database")}
        if PEER not in databases:
            admin.execute(
                sql.SQL("CREATE DATABASE {0} OWNER {0} TEMPLATE template0").format(
                    sql.Identifier(PEER)
                )
            )
    engine = create_engine(make_url(server.dsn(PEER, PEER)).set(drivername="postgresql+psycopg"))
    Base.metadata.create_all(engine)
    engine.dispose()


def set_floor_security(server: EmbeddedPostgres, *, is_measured: bool) -> None:
    """Row-level security on the peer's table only while the floor is measured."""
    with connect(server, PEER) as admin:
        if is_measured:
            for statement in FLOOR_STATEMENTS:
                admin.execute(statement)
            admin.execute("ALTER TABLE projects ENABLE ROW LEVEL SECURITY")
        else:
            admin.execute("ALTER TABLE projects DISABLE ROW LEVEL SECURITY")


def peer_url(server: EmbeddedPostgres) -> str:
    url = make_url(server.dsn(PEER, PEER)).set(drivername="postgresql+asyncpg")
    return url.render_as_string(hide_password=False)


def floor_url(server: EmbeddedPostgres) -> str:
    return server.dsn(FLOOR, PEER)


def process_id(server: EmbeddedPostgres) -> int:
    """The postmaster: the parent of our own backend."""
    with connect(server, "postgres") as admin:
        backend = procfs.stat_of(admin.info.backend_pid)
    if backend is None:
        raise BenchError("the PostgreSQL server is not on this machine")
    return backend.parent


def described(server: EmbeddedPostgres) -> str:
    with connect(server, "postgres") as admin:
        version = admin.info.parameter_status("server_version")
        settings = admin.execute(
            "SELECT name || ' ' || current_setting(name) FROM unnest(%s::text[]) AS name",
            [list(SHOWN_SETTINGS)],
        ).fetchall()
    return f"PostgreSQL {version} ({', '.join(setting for (setting,) in settings)})"
