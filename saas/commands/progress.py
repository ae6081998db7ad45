"""How far a long command is: rows, rows a second, errors and time left, on a terminal alone."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class RowProgress:
    """`with RowProgress(console, "projects", total) as progress: … progress.show(rows)`. The bar
    counts `total` things, which are rows unless `show` is told how many of them are done; None is
    a total that nobody knows. `begun` rows were there before. Where the console is no terminal
    nothing is shown."""

    def __init__(self, console: Console, what: str, total: int | None, *, begun: int = 0) -> None:
        self._begun = begun
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rows]:,} rows"),
            TextColumn("{task.fields[speed]:,}/s"),
            TextColumn("{task.fields[errors]:,} errors"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(what, total=total, rows=0, speed=0, errors=0)

    def __enter__(self) -> "RowProgress":
        self._progress.start()
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(
        self, rows: int, *, errors: int = 0, done: int | None = None, total: int | None = None
    ) -> None:
        """So many rows by now. `total` is for one that was not known at the beginning."""
        seconds = self._progress.tasks[0].elapsed or 0
        self._progress.update(
            self._task,
            completed=rows if done is None else done,
            total=total,
            rows=rows,
            errors=errors,
            speed=round((rows - self._begun) / seconds) if seconds else 0,
        )
