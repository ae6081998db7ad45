"""Medians over the rounds, as a table and as JSON."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from tests.bench.plans import OPERATIONS
from tests.bench.rounds import Round

# Above this share of one core the machine was busy with something else, and figures are doubtful.
DISTURBED = 0.15
MEASURED = ("fastapi", "pydantic", "sqlalchemy", "asyncpg", "litestar", "uvicorn", "granian")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One contender at one operation. `ratio` is that of the medians to the first contender's;
    `ratio_range` the lowest and the highest ratio of two runs of the same round."""

    operation: str
    contender: str
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    ratio: float
    ratio_range: tuple[float, float]
    server_us_per_request: float
    postgres_us_per_request: float
    disturbance: float
    received_bytes_per_request: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `--json` writes: results first, then each round as it was measured."""

    setting: dict[str, str]
    results: list[Result]
    rounds: list[Round]


def results(rounds: Sequence[Round]) -> list[Result]:
    """In the order of measurement; the contender that came first is the reference."""
    found = []
    for operation in dict.fromkeys(each.operation for each in rounds):
        of_operation = [each for each in rounds if each.operation == operation]
        reference = [each for each in of_operation if each.contender == of_operation[0].contender]
        for contender in dict.fromkeys(each.contender for each in of_operation):
            own = [each for each in of_operation if each.contender == contender]
            found.append(_result(own, reference))
    return found


def software(server: str) -> str:
    """The versions that the figures belong to."""
    versions = [f"{name} {version(name)}" for name in MEASURED]
    return f"Python {platform.python_version()}, {', '.join(versions)}; product on {server}"


def show(console: Console, report: Report) -> None:
    for name, value in report.setting.items():
        console.print(f"[bold]{name}[/]: {value}", highlight=False)
    table = Table(title="Medians over the rounds", box=box.SIMPLE, padding=0, show_edge=False)
    table.add_column("operation", no_wrap=True)
    table.add_column("contender", no_wrap=True)
    for heading in (
        "requests/s",
        "p50 ms",
        "p99 ms",
        "ratio",
        "range",
        "app µs",
        "PG µs",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    shown = ""
    for result in report.results:
        if result.operation != shown and shown:
            table.add_section()
        table.add_row(
            "" if result.operation == shown else OPERATIONS[result.operation], *_cells(result)
        )
        shown = result.operation
    console.print(table)
    disturbance = max(result.disturbance for result in report.results)
    if disturbance > DISTURBED:
        console.print(f"[yellow]Other work took up to {disturbance:.0%} of a core: repeat this.[/]")


def show_round(console: Console, each: Round) -> None:
    """One line while the bench is under way."""
    console.print(
        f"{each.operation:<10} {each.contender:<18} {each.load.requests_per_second:>9,.0f} /s  "
        f"p50 {each.load.p50_ms:7.2f} ms  p99 {each.load.p99_ms:7.2f} ms",
        highlight=False,
    )


def write_json(report: Report, file: Path) -> None:
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def _cells(result: Result) -> list[str]:
    low, high = result.ratio_range
    return [
        result.contender,
        f"{result.requests_per_second:,.0f}",
        f"{result.p50_ms:.2f}",
        f"{result.p99_ms:.2f}",
        f"{result.ratio:.2f}",
        f"{low:.1f}-{high:.1f}",
        f"{result.server_us_per_request:,.0f}",
        f"{result.postgres_us_per_request:,.0f}",
    ]


def _result(own: Sequence[Round], reference: Sequence[Round]) -> Result:
    rate = median(each.load.requests_per_second for each in own)
    ratios = [
        each.load.requests_per_second / other.load.requests_per_second
        for each, other in zip(own, reference, strict=True)
    ]
    return Result(
        operation=own[0].operation,
        contender=own[0].contender,
        requests_per_second=rate,
        p50_ms=median(each.load.p50_ms for each in own),
        p99_ms=median(each.load.p99_ms for each in own),
        ratio=rate / median(each.load.requests_per_second for each in reference),
        ratio_range=(min(ratios), max(ratios)),
        server_us_per_request=median(1e6 * r.server_seconds / r.load.requests for r in own),
        postgres_us_per_request=median(1e6 * r.postgres_seconds / r.load.requests for r in own),
        disturbance=median(each.other_seconds / each.load.seconds for each in own),
        received_bytes_per_request=median(r.load.received_bytes / r.load.requests for r in own),
    )
