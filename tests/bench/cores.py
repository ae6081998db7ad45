"""Which processor runs what: servers on one core, PostgreSQL and wrk on another."""

import os
from typing import NamedTuple

from tests.bench import procfs


class Cores(NamedTuple):
    """None: this machine has one core or cannot pin, so nothing is pinned."""

    server: int | None
    rest: int | None

    def __str__(self) -> str:
        if self.server is None:
            return "not pinned: fewer than two cores, or no support for it"
        return f"servers on core {self.server}, PostgreSQL and wrk on core {self.rest}"


def choose() -> Cores:
    if not hasattr(os, "sched_getaffinity"):
        return Cores(None, None)
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[1]) if len(allowed) > 1 else Cores(None, None)


def pin(root: int, core: int | None) -> None:
    """Keep the tree of `root` on `core`, each thread; what it starts later inherits that."""
    if core is None:
        return
    for stat in procfs.tree(root):
        for thread in _threads(stat.pid):
            try:
                os.sched_setaffinity(thread, {core})
            except ProcessLookupError:
                continue


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(procfs.PROC / str(pid) / "task")]
    except OSError:
        return []
