"""`python -m tests.bench.metering`: what counting requests costs."""

import json
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from uuid import uuid4

import msgspec
import rich_click as click
from rich.console import Console

from saas.db.database import Database
from saas.db.migrate import migrate
from saas.db.roles import APP, MIGRATOR, PLATFORM, bootstrap
from saas.dev.postgres import EmbeddedPostgres
from saas.errors import ConfigurationError
from saas.usage.request_meter import RequestMeter
from tests.bench import contenders, cores, dataset, lab, plans, postgres, report, tenants
from tests.bench.contenders import Contender
from tests.bench.errors import BenchError
from tests.bench.lab import Lab
from tests.bench.rounds import Bench, Round

OPERATIONS = ("get", "patch")
OFF, ON = "without", "metered"
TENANTS, CALLS = 200, 200_000
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(context_settings={"show_default": True})
@click.option("--data", type=FOLDER, default=".saas-metering", help="Rows, keys and logs.")
@click.option("--seconds", type=click.IntRange(1, 60), default=8, help="Length of one run.")
@click.option("--rounds", type=click.IntRange(1, 50), default=9)
@click.option("--projects", type=click.IntRange(1_000, 10_000_000), default=100_000)
def main(data: Path, seconds: int, rounds: int, projects: int) -> None:
    """Measure a call of the request meter, and requests/s with metering on and off."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    console = Console()
    micros = _microseconds_a_call()
    console.print(f"RequestMeter.count: {micros:.2f} µs", highlight=False)
    try:
        with _opened(data.absolute(), projects) as opened:
            done = list(_rounds(console, opened, data.absolute(), seconds, rounds))
    except (BenchError, ConfigurationError) as error:
        raise click.ClickException(str(error)) from None
    report.show(console, report.Report(setting={}, results=report.results(done), rounds=done))
    ratios = {operation: _ratios(done, operation) for operation in OPERATIONS}
    shown = {name: {"median": round(median(r), 3), "rounds": r} for name, r in ratios.items()}
    console.print(json.dumps({"us_a_call": round(micros, 2), "ratio": shown}), highlight=False)


def _microseconds_a_call() -> float:
    """The best of five runs, over as many tenants as the bench has, ten routes and new minutes'
    first requests among them."""
    nowhere = "postgresql://nobody@localhost/nothing"
    whose = [(str(uuid4()), f"key:{uuid4()}") for _ in range(TENANTS)]
    routes = [f"/v1/resource{number}/{{id}}" for number in range(10)]
    found = []
    for _ in range(5):
        meter = RequestMeter(Database(nowhere, nowhere), interval_seconds=1)
        began = time.perf_counter()
        for number in range(CALLS):
            meter.count(
                whose[number % TENANTS], routes[number % 10], 200, number % 97 / 1e4, (10, 500)
            )
        found.append((time.perf_counter() - began) / CALLS * 1e6)
    return min(found)


@contextmanager
def _opened(folder: Path, projects: int) -> Iterator[Lab]:
    lab.make_folder(folder)
    server = EmbeddedPostgres(folder / "saas")
    with ExitStack() as stack:
        stack.callback(server.stop)
        server.start()
        bootstrap(server.dsn(postgres.SUPERUSER, "postgres"))
        migrate(server.dsn(MIGRATOR))
        shared = {
            "SAAS_DATABASE_URL": server.dsn(APP),
            "SAAS_PLATFORM_DATABASE_URL": server.dsn(PLATFORM),
            "SAAS_MIGRATION_DATABASE_URL": server.dsn(MIGRATOR),
            "SAAS_DATA_DIR": str(folder / "saas"),
            "SAAS_PLATFORM_KEY": secrets.token_urlsafe(32),
            "SAAS_JWT_SECRET": secrets.token_hex(32),
        }
        pair = []
        for name, own in ((OFF, {"SAAS_USAGE_SECONDS": "0"}), (ON, {})):
            pair.append(contenders.start_serving(name, folder, environment=shared | own))
            stack.callback(pair[-1].server.stop)
        yield _filled(server, pair, shared["SAAS_PLATFORM_KEY"], folder / "keys.json", projects)


def _filled(
    server: EmbeddedPostgres, pair: Sequence[Contender], key: str, kept: Path, projects: int
) -> Lab:
    two_hundred = tenants.onboard(pair[0].url, platform_key=key, count=TENANTS, kept=kept)
    ids = tuple(tenant.id for tenant in two_hundred)
    credentials = tuple(f"Authorization: Bearer {tenant.key}" for tenant in two_hundred)
    with postgres.connect(server, "saas") as connection:
        dataset.load(connection, ids, projects)
        sample = dataset.sample(connection, TENANTS, projects)
    known = [msgspec.structs.replace(one, tenant_ids=ids, credentials=credentials) for one in pair]
    return Lab(server, known, sample)


def _rounds(
    console: Console, opened: Lab, folder: Path, seconds: int, rounds: int
) -> Iterator[Round]:
    bench = Bench(
        postgres_pid=postgres.process_id(opened.server), placement=cores.choose(), seconds=seconds
    )
    for operation in OPERATIONS:
        files = {
            contender: plans.write(contender, operation, sample=opened.sample, folder=folder)
            for contender in opened.contenders
        }
        settle = opened.settle if operation in plans.WRITES else lambda _: None
        for each in bench.measure(operation, files, rounds=rounds, settle=settle):
            report.show_round(console, each)
            yield each


def _ratios(rounds: Sequence[Round], operation: str) -> list[float]:
    """With metering to without, of the two runs of each round."""
    rates = {
        name: [
            each.load.requests_per_second
            for each in rounds
            if (each.operation, each.contender) == (operation, name)
        ]
        for name in (OFF, ON)
    }
    return [round(on / off, 3) for off, on in zip(rates[OFF], rates[ON], strict=True)]


if __name__ == "__main__":
    main()
