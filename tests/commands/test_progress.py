"""The progress of long commands."""

import io

from rich.console import Console

from saas.commands.progress import RowProgress


def test_terminal_shows_rows_and_errors_and_anything_else_nothing() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    file = Console(file=io.StringIO(), force_terminal=False)

    for console in (terminal, file):
        with RowProgress(console, "projects", 2_000_000) as progress:
            progress.show(1_234_567, errors=89)

    shown = terminal.file.getvalue()  # type: ignore[attr-defined]
    assert "projects" in shown
    assert "1,234,567 rows" in shown
    assert "89 errors" in shown
    assert file.file.getvalue() == ""  # type: ignore[attr-defined]


def test_rate_is_that_of_this_run() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)

    with RowProgress(terminal, "projects", None, begun=1_000) as progress:
        progress.show(1_000)

    assert " 0/s" in terminal.file.getvalue()  # type: ignore[attr-defined]
