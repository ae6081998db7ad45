"""The start sequence of docker-compose.yml, command by command, against a PostgreSQL over TCP that
asks for passwords."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import yaml

from command_line import leave_settings, run
from saas.dev.account import server_account
from saas.dev.cluster import server_programs
from saas.dev.home import recorded_home
from saas.dev.postgres import EmbeddedPostgres
from saas.secret_files import make_secrets
from throwaway import throwaway_folder

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
NOWHERE = "postgresql://x@127.0.0.1:1/saas"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def folder() -> Iterator[Path]:
    path = throwaway_folder("saas-deploy-")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def secrets(folder: Path) -> Iterator[Path]:
    """The folder of secrets for a server that listens on TCP and believes no address."""
    secrets, port = folder / "secrets", free_port()
    make_secrets(secrets, host="127.0.0.1", port=port)
    server = EmbeddedPostgres(folder / "server", durable=False)
    server.start()
    password = (secrets / "postgres_password").read_text()
    with psycopg.connect(server.dsn(server.superuser, "postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE postgres SUPERUSER LOGIN PASSWORD '{password}'")
    server.stop()
    cluster = recorded_home(folder / "server") / "pg"
    (cluster / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
    process = subprocess.Popen(
        [
            str(programs_for(cluster) / "postgres"),
            *("-D", str(cluster), "-p", str(port), "-c", "fsync=off"),
            *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
        ],
        stderr=subprocess.DEVNULL,
        **identity_of(cluster),
    )
    wait_for(secrets)
    yield secrets
    process.send_signal(signal.SIGINT)
    process.wait(30)


def programs_for(cluster: Path) -> Path:
    return server_programs(cluster.parent, server_account([cluster]), log=print)


def identity_of(cluster: Path) -> dict[str, object]:
    owner = cluster.stat()
    if os.getuid() == owner.st_uid:
        return {}
    return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


def wait_for(secrets: Path) -> None:
    for _ in range(200):
        try:
            psycopg.connect((secrets / "admin_url").read_text()).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the server did not come up")


def saas(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "saas.cli", *words],
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def environment(settings: dict[str, str]) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SAAS_")}
    return inherited | settings


def app_settings(secrets: Path, port: int) -> dict[str, str]:
    """As docker-compose.yml gives them, but for the place of the files; dev, because the embedded
    binaries are older than production demands."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    given = compose["services"]["app"]["environment"]
    files = {name: value.replace("/secrets", str(secrets)) for name, value in given.items()}
    return files | {"SAAS_PORT": str(port), "SAAS_ENVIRONMENT": "dev"}


def test_the_sequence_of_the_compose_file_serves_and_stops(secrets: Path) -> None:
    port = free_port()
    settings = app_settings(secrets, port)
    migration = {"SAAS_MIGRATION_DATABASE_URL_FILE": str(secrets / "migration_database_url")}

    unmigrated = saas("serve", **settings)
    assert unmigrated.returncode == 2
    for done in (
        saas("bootstrap", "--secrets", str(secrets)),
        saas("bootstrap", "--secrets", str(secrets)),
        saas("migrate", **migration),
        saas("migrate", **migration),
        saas("doctor", **settings),
    ):
        assert done.returncode == 0, done.stderr

    server = subprocess.Popen(
        [sys.executable, "-m", "saas.cli", "serve"],
        env=environment(settings),
        stderr=subprocess.DEVNULL,
    )
    try:
        key = onboard(port, (secrets / "platform_key").read_text())
        assert ask(port, "/v1/projects", key)["items"] == []
    finally:
        server.send_signal(signal.SIGTERM)
        code = server.wait(30)
    assert code in (0, 143, -signal.SIGTERM)


def onboard(port: int, platform_key: str) -> str:
    owner = {"email": "ada@acme.test", "name": "Ada"}
    body = {"slug": "acme", "name": "Acme", "plan": "free", "owner": owner}
    for _ in range(200):
        try:
            done = ask(port, "/v1/admin/tenants", platform_key, body)
        except ConnectionRefusedError:
            time.sleep(0.05)
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
            time.sleep(0.05)
        else:
            key: str = done["api_key"]["key"]
            return key
    raise TimeoutError("the API did not come up")


def ask(port: int, path: str, key: str, body: object = None) -> dict[str, object]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=5) as answer:
        found: dict[str, object] = json.load(answer)
        return found


@pytest.mark.parametrize(
    ("words", "settings", "reason"),
    [
        (("migrate",), {"SAAS_MIGRATION_DATABASE_URL": NOWHERE}, "refused"),
        (("bootstrap", NOWHERE), {}, "refused"),
        (("bootstrap",), {}, "give the address of an administrator"),
        (
            ("serve",),
            {
                "SAAS_ENVIRONMENT": "prod",
                "SAAS_DATABASE_URL": NOWHERE,
                "SAAS_PLATFORM_DATABASE_URL": NOWHERE,
            },
            "SAAS_PLATFORM_KEY is needed in production",
        ),
    ],
    ids=str,
)
def test_what_cannot_start_says_why_in_one_line(
    words: tuple[str, ...],
    settings: dict[str, str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leave_settings(monkeypatch, tmp_path)
    for name, value in {**settings, "SAAS_DATA_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)

    assert reason in run(*words).refusal
    assert not (tmp_path / "pg").exists()


def test_secrets_stay_as_they_are(tmp_path: Path) -> None:
    assert saas("secrets", str(tmp_path), "--host", "db").returncode == 0
    before = {file.name: file.read_text() for file in tmp_path.iterdir()}

    assert saas("secrets", str(tmp_path), "--host", "other").returncode == 0

    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == before
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_compose_file_and_image_fit_together() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    copied = [line.split()[1] for line in dockerfile.splitlines() if line.startswith("COPY ")]

    services = compose["services"]
    for name, service in services.items():
        for needed in service.get("depends_on", {}):
            assert needed in services, name
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"], name
    assert (ROOT / services["app"]["build"]["dockerfile"]).exists()
    for path in copied:
        assert path.startswith("--") or (ROOT / path).exists(), path
    ignored = (ROOT / ".dockerignore").read_text()
    for path in ("saas", "migrations", "requirements/serve.txt"):
        assert f"!{path}\n" in ignored
