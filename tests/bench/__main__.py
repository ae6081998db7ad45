"""`python -m tests.bench`: the product against a seed-style peer, measured and printed."""

import signal
import sys
from pathlib import Path
from typing import Any

import rich_click as click
from rich.console import Console

from saas.errors import ConfigurationError
from tests.bench import cores, lab, plans, postgres, report
from tests.bench.errors import BenchError
from tests.bench.options import Options
from tests.bench.rounds import Bench, Round

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


def operations_of(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",")))
    unknown = sorted(set(names) - set(plans.OPERATIONS))
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}: choose of {', '.join(plans.OPERATIONS)}")
    return names


@click.command(context_settings={"show_default": True})
@click.option("--data", type=FOLDER, default=".saas-bench", help="Rows, keys and logs. Keep it.")
@click.option("--seconds", type=click.IntRange(1, 60), default=5, help="Length of one run.")
@click.option("--rounds", type=click.IntRange(1, 50), default=5, help="Runs of each contender.")
@click.option(
    "--operations",
    callback=operations_of,
    default=",".join(plans.DEFAULT_OPERATIONS),
    help=f"Comma list of {', '.join(plans.OPERATIONS)}.",
)
@click.option("--server", type=click.Choice(["granian", "uvicorn"]), default="granian")
@click.option("--product/--no-product", default=True, help="Measure the product.")
@click.option("--lean", is_flag=True, help="Measure the peer without its refresh, too.")
@click.option("--floor", is_flag=True, help="Measure hand-written asyncpg in Litestar, too.")
@click.option("--tenants", type=click.IntRange(2, 1_000), default=200)
@click.option("--projects", type=click.IntRange(1_000, 10_000_000), default=1_000_000)
@click.option("--json", type=FILE, help="Write results and all rounds to this file.")
def main(**arguments: Any) -> None:
    """Measure requests/s, p50 and p99 of the product and their ratio to a FastAPI peer."""
    for signal_number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, lambda number, _: sys.exit(128 + number))
    options = Options(**{**arguments, "data": arguments["data"].absolute()})
    console = Console()
    try:
        found = _measure(options, console)
    except (BenchError, ConfigurationError) as error:
        raise click.ClickException(str(error)) from None
    report.show(console, found)
    if options.json:
        report.write_json(found, options.json)


def _measure(options: Options, console: Console) -> report.Report:
    placement = cores.choose()
    rounds: list[Round] = []
    with lab.opened(options, console) as opened:
        bench = Bench(
            postgres_pid=postgres.process_id(opened.server),
            placement=placement,
            seconds=options.seconds,
        )
        for operation in options.operations:
            files = lab.write_plans(opened, operation, options)
            settle = opened.settle if operation in plans.WRITES else lambda _: None
            for each in bench.measure(operation, files, rounds=options.rounds, settle=settle):
                rounds.append(each)
                report.show_round(console, each)
        setting = {
            "software": report.software(options.server),
            "database": postgres.described(opened.server),
            "data": f"{options.tenants:,} tenants, {options.projects:,} projects, "
            f"{options.projects // 5:,} of them of one tenant",
            "processors": str(placement),
            "load": f"wrk, 1 thread, 32 connections (batch: 2); {options.rounds} rounds of "
            f"{options.seconds} s, interleaved; one worker each",
        }
    return report.Report(setting=setting, results=report.results(rounds), rounds=rounds)


if __name__ == "__main__":
    main()
