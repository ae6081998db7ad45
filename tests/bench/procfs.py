"""Process trees and CPU time from /proc. Elsewhere than on Linux trees are their root, times 0."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
IDLE_COLUMNS = (3, 4)


class Stat(NamedTuple):
    """`ticks` are those of the process and of its children that it has waited for."""

    pid: int
    parent: int
    started: int
    ticks: int


def stat_of(pid: int) -> Stat | None:
    """None when there is no such process. See proc_pid_stat(5)."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return Stat(pid, int(fields[1]), int(fields[19]), sum(int(field) for field in fields[11:15]))


def tree(root: int) -> list[Stat]:
    """`root` and all its living descendants, parents first."""
    by_parent: dict[int, list[Stat]] = {}
    for stat in _all():
        by_parent.setdefault(stat.parent, []).append(stat)
    found = [stat for stat in [stat_of(root)] if stat]
    for stat in found:
        found.extend(by_parent.get(stat.pid, ()))
    return found


def cpu_seconds(root: int, without: Collection[int] = ()) -> float:
    """CPU time used so far by the tree of `root`, without the trees of the pids in `without`."""
    left_out = {stat.pid for pid in without for stat in tree(pid)}
    ticks = sum(stat.ticks for stat in tree(root) if stat.pid not in left_out)
    return ticks / TICKS_PER_SECOND


def machine_cpu_seconds() -> float:
    """CPU time that all processors have spent on anything but idling."""
    try:
        line = (PROC / "stat").read_text().partition("\n")[0]
    except OSError:
        return 0.0
    ticks = [int(field) for field in line.split()[1:9]]
    return sum(t for i, t in enumerate(ticks) if i not in IDLE_COLUMNS) / TICKS_PER_SECOND


def _all() -> Iterator[Stat]:
    for entry in PROC.glob("[0-9]*"):
        stat = stat_of(int(entry.name))
        if stat:
            yield stat
