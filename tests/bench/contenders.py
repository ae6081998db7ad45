"""What runs against what: each contender's process, database, address and credentials."""

import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import msgspec

from tests.bench.servers import Server, free_port

# The runner must never load a database that is not its own; empty also overrides `.env`.
NO_OTHER_DATABASE = {
    "SAAS_DATABASE_URL": "",
    "SAAS_PLATFORM_DATABASE_URL": "",
    "SAAS_MIGRATION_DATABASE_URL": "",
}
FIRST_START_SECONDS = 120


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """A running server. `tenant_ids` and `credentials` (a header line each) go by the number of
    the tenant; `database` names the one whose table `projects` it serves."""

    name: str
    server: Server
    port: int
    prefix: str
    database: str
    tenant_ids: tuple[UUID, ...] = ()
    credentials: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def start_product(folder: Path, *, asgi_server: str, platform_key: str) -> Contender:
    """`saas dev` with the embedded PostgreSQL in the folder, which it starts and stops itself."""
    port = free_port()
    return _start(
        Contender(
            name="product",
            server=Server(
                "product",
                [sys.executable, "-m", "saas.cli", "dev"],
                environment={
                    **NO_OTHER_DATABASE,
                    "SAAS_HOST": "127.0.0.1",
                    "SAAS_PORT": str(port),
                    "SAAS_WORKERS": "1",
                    "SAAS_SERVER": asgi_server,
                    "SAAS_DATA_DIR": str(folder / "saas"),
                    "SAAS_PLATFORM_KEY": platform_key,
                    "SAAS_JWT_SECRET": secrets.token_hex(32),
                },
                log=folder / "product.log",
            ),
            port=port,
            prefix="/v1",
            database="saas",
        ),
        ready="/readyz",
    )


def start_serving(name: str, folder: Path, *, environment: Mapping[str, str]) -> Contender:
    """`saas serve`, one worker, on a database that is there: the environment names it."""
    port = free_port()
    address = {"SAAS_HOST": "127.0.0.1", "SAAS_PORT": str(port), "SAAS_WORKERS": "1"}
    server = Server(
        name,
        [sys.executable, "-m", "saas.cli", "serve"],
        environment={**environment, **address},
        log=folder / f"{name}.log",
    )
    contender = Contender(name=name, server=server, port=port, prefix="/v1", database="saas")
    return _start(contender, ready="/readyz")


def start_peer(folder: Path, *, database_url: str, database: str) -> Contender:
    return _start_uvicorn(
        "peer",
        folder,
        app="tests.bench.peer.app:app",
        ready="/openapi.json",
        environment={"PEER_DATABASE_URL": database_url},
        database=database,
    )


def start_lean(folder: Path, *, database_url: str, database: str) -> Contender:
    """The peer without the refresh after each commit."""
    return _start_uvicorn(
        "lean",
        folder,
        app="tests.bench.peer.app:app",
        ready="/openapi.json",
        environment={"PEER_DATABASE_URL": database_url, "PEER_LEAN": "1"},
        database=database,
    )


def start_floor(folder: Path, *, database_url: str, database: str) -> Contender:
    return _start_uvicorn(
        "floor",
        folder,
        app="tests.bench.floor:app",
        ready="/ready",
        environment={"FLOOR_DATABASE_URL": database_url},
        database=database,
    )


def _start_uvicorn(
    name: str,
    folder: Path,
    *,
    app: str,
    ready: str,
    environment: Mapping[str, str],
    database: str,
) -> Contender:
    port = free_port()
    command = [
        *(sys.executable, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--loop", "uvloop", "--http", "httptools"),
        *("--no-access-log", "--log-level", "warning"),
    ]
    server = Server(name, command, environment=environment, log=folder / f"{name}.log")
    contender = Contender(name=name, server=server, port=port, prefix="", database=database)
    return _start(contender, ready=ready)


def _start(contender: Contender, *, ready: str) -> Contender:
    try:
        contender.server.wait_until_ready(contender.url + ready, FIRST_START_SECONDS)
    except BaseException:
        contender.server.stop()
        raise
    return contender
