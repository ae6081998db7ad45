"""Interleaved rounds: one contender under load at a time, each in turn, so that a drift of the
machine meets all of them."""

import resource
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from tests.bench import cores, procfs, wrk
from tests.bench.contenders import Contender

# A batch takes the peer most of a second.
WARM_UP_SECONDS = defaultdict(lambda: 1, batch=5)
# More of them at once make the peer slower.
CONNECTIONS = defaultdict(lambda: 32, batch=2)


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One run of wrk against one contender, and the CPU seconds that it took: of the server, of
    PostgreSQL, and of everything else on the machine but wrk, which is disturbance."""

    operation: str
    contender: str
    load: wrk.Load
    server_seconds: float
    postgres_seconds: float
    other_seconds: float


class Bench:
    """What all rounds share: where things run, and for how long."""

    def __init__(self, *, postgres_pid: int, placement: cores.Cores, seconds: int) -> None:
        self._postgres_pid = postgres_pid
        self._placement = placement
        self._seconds = seconds

    def measure(
        self,
        operation: str,
        plans: Mapping[Contender, Path],
        *,
        rounds: int,
        settle: Callable[[Contender], None],
    ) -> Iterator[Round]:
        """Warm each contender up, then load them in turn. `settle` follows each run."""
        for contender, plan in plans.items():
            self._pin(list(plans))
            self._load(operation, contender, plan, seconds=WARM_UP_SECONDS[operation])
            settle(contender)
        for _ in range(rounds):
            for contender, plan in plans.items():
                self._pin(list(plans))
                yield self._one(operation, contender, plan)
                settle(contender)

    def _one(self, operation: str, contender: Contender, plan: Path) -> Round:
        before = self._clocks(contender)
        load = self._load(operation, contender, plan, seconds=self._seconds)
        server, postgres, of_wrk, machine = (
            after - earlier for after, earlier in zip(self._clocks(contender), before, strict=True)
        )
        return Round(
            operation=operation,
            contender=contender.name,
            load=load,
            server_seconds=server,
            postgres_seconds=postgres,
            other_seconds=max(0.0, machine - server - postgres - of_wrk),
        )

    def _load(self, operation: str, contender: Contender, plan: Path, *, seconds: int) -> wrk.Load:
        connections, core = CONNECTIONS[operation], self._placement.rest
        return wrk.run(contender.url, plan, seconds=seconds, connections=connections, core=core)

    def _clocks(self, contender: Contender) -> tuple[float, ...]:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (
            procfs.cpu_seconds(contender.server.pid, without=[self._postgres_pid]),
            procfs.cpu_seconds(self._postgres_pid),
            children.ru_utime + children.ru_stime,
            procfs.machine_cpu_seconds(),
        )

    def _pin(self, contenders: Sequence[Contender]) -> None:
        """Before each run, for servers may start processes at any time. PostgreSQL comes last,
        because the product may have started it."""
        for contender in contenders:
            cores.pin(contender.server.pid, self._placement.server)
        cores.pin(self._postgres_pid, self._placement.rest)
