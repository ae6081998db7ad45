"""`python -m tests.bench.noisy`: what one tenant's flood does to the latency of another."""

import json
import secrets
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple, get_args

import rich_click as click
from rich import box
from rich.console import Console
from rich.table import Table

from saas.dev.postgres import EmbeddedPostgres
from saas.errors import ConfigurationError
from tests.bench import contenders, dataset, floods, lab, plans, postgres, tenants, wrk
from tests.bench.errors import BenchError
from tests.bench.floods import Flood, Kind, Request

# By number, as the data set gives rows to tenants: four of five are the noisy one's.
CALM, NOISY = 0, 1
CALM_CONNECTIONS = 4
WARM_UP_SECONDS = 2
FOLDER = click.Path(path_type=Path, file_okay=False)


class Running(NamedTuple):
    """The product, what wrk sends for the calm tenant, and what the other one does."""

    url: str
    calm: Path
    flood: Flood


class Round(NamedTuple):
    """The calm tenant alone, then beside the flood, and what that was."""

    alone: wrk.Load
    beside: wrk.Load
    flood: str


@click.command(context_settings={"show_default": True})
@click.option("--data", type=FOLDER, default=".saas-noisy", help="Rows, keys and logs.")
@click.option("--seconds", type=click.IntRange(1, 60), default=8, help="Length of one run.")
@click.option("--rounds", type=click.IntRange(1, 50), default=5)
@click.option("--connections", type=click.IntRange(1, 1_000), default=64, help="Of the flood.")
@click.option("--projects", type=click.IntRange(1_000, 10_000_000), default=100_000)
@click.option(
    "--flood",
    "kind",
    type=click.Choice(get_args(Kind)),
    default="large",
    help="Slow lists and large writes; gets, short lists and creates; or CSV files.",
)
def main(
    data: Path, seconds: int, rounds: int, connections: int, projects: int, kind: Kind
) -> None:
    """Measure p50 and p99 of a calm tenant's requests, alone and beside another tenant's flood.
    SAAS_TENANT_CONNECTIONS=10 shows it with no share kept free."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    console = Console()
    try:
        with _running(data.absolute(), projects, kind, connections) as running:
            done = []
            for _ in range(rounds):
                done.append(_round(running, seconds))
                _show_round(console, done[-1])
    except (BenchError, ConfigurationError) as error:
        raise click.ClickException(str(error)) from None
    _show(console, done)


@contextmanager
def _running(folder: Path, projects: int, kind: Kind, connections: int) -> Iterator[Running]:
    lab.make_folder(folder)
    server = EmbeddedPostgres(folder / "saas")
    platform_key = secrets.token_urlsafe(32)
    with ExitStack() as stack:
        stack.callback(server.stop)
        server.start()
        product = contenders.start_product(folder, asgi_server="granian", platform_key=platform_key)
        stack.callback(product.server.stop)
        two = tenants.onboard(
            product.url, platform_key=platform_key, count=2, kept=folder / "keys.json"
        )
        with postgres.connect(server, product.database) as connection:
            dataset.load(connection, [tenant.id for tenant in two], projects)
            rows = dataset.sample(connection, 2, projects)
        calm, noisy = (
            [str(id) for number, id in rows if number == whose][:1_000] for whose in (CALM, NOISY)
        )
        if kind == "import":
            flood = floods.of_imports(product.url, two[NOISY].key)
        else:
            sent = floods.large_requests() if kind == "large" else floods.small_requests(noisy)
            file = _write(folder / "flood.requests", sent, two[NOISY].key)
            flood = floods.of_requests(product.url, file, connections=connections)
        calm_file = _write(folder / "calm.requests", _calm(calm), two[CALM].key)
        yield Running(product.url, calm_file, flood)


def _calm(ids: Sequence[str]) -> Iterator[Request]:
    for id in ids:
        yield f"GET /v1/projects/{id}", ""
        yield f"GET /v1{plans.LIST}", ""
        yield f"PATCH /v1/projects/{id}", f'{{"name": "Calm {id} %015d", "budget_cents": %010d}}'


def _write(file: Path, requests: Iterator[Request], key: str) -> Path:
    file.touch(mode=0o600)
    texts = [_request(line, body, key) for line, body in requests]
    file.write_text(plans.SEPARATOR.join(texts), encoding="ascii")
    return file


def _request(line: str, body: str, key: str) -> str:
    headers = [f"{line} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}"]
    if body:
        headers += ["Content-Type: application/json", f"Content-Length: {plans.length_of(body)}"]
    return "\r\n".join([*headers, "", body])


def _round(running: Running, seconds: int) -> Round:
    def calm(seconds: int) -> wrk.Load:
        return wrk.run_paced(
            running.url, running.calm, seconds=seconds, connections=CALM_CONNECTIONS
        )

    alone = calm(seconds)
    with ThreadPoolExecutor(1) as beside:
        flood = beside.submit(running.flood, seconds + 2 * WARM_UP_SECONDS)
        calm(WARM_UP_SECONDS)
        noisy = calm(seconds)
        return Round(alone, noisy, flood.result())


def _show_round(console: Console, done: Round) -> None:
    alone, beside, flood = done
    console.print(
        f"alone p99 {alone.p99_ms:7.2f} ms   beside p99 {beside.p99_ms:7.2f} ms   flood {flood}",
        highlight=False,
    )


def _show(console: Console, rounds: Sequence[Round]) -> None:
    table = Table(title="The calm tenant, medians over the rounds", box=box.SIMPLE)
    for heading in ("", "requests/s", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, loads in (
        ("alone", [done.alone for done in rounds]),
        ("beside the flood", [done.beside for done in rounds]),
    ):
        table.add_row(
            name,
            f"{median(load.requests_per_second for load in loads):,.0f}",
            f"{median(load.p50_ms for load in loads):.2f}",
            f"{median(load.p99_ms for load in loads):.2f}",
        )
    console.print(table)
    ratios = [done.beside.p99_ms / done.alone.p99_ms for done in rounds]
    shown = {"p99 ratio": round(median(ratios), 2), "rounds": [round(r, 2) for r in ratios]}
    console.print(json.dumps(shown), highlight=False)


if __name__ == "__main__":
    main()
