"""A `saas` command run in the test's own process, and all that came of it."""

import asyncio
import contextlib
import io
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from saas.cli import main
from saas.commands.on_database import out as terminal
from saas.installation import as_environment
from saas.settings import Settings


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def raw(self) -> bytes:
        """The very bytes of the standard output."""
        return self.out.encode()

    @property
    def json(self) -> Any:
        """What `--json` has printed."""
        return json.loads(self.out)

    @property
    def answer(self) -> str:
        """What a command that did its work has said."""
        assert (self.code, self.err) == (0, ""), self
        return self.out.rstrip("\n")

    @property
    def refusal(self) -> str:
        """What a command that refused has said: one line, and nothing but the refusal."""
        assert (self.code, self.out) == (2, ""), self
        assert self.err.startswith("saas: "), self
        assert self.err.count("\n") == 1, self
        return self.err.removeprefix("saas: ").rstrip("\n")


Saas = Callable[..., Awaitable[Ran]]


def saas_on(settings: Settings, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Saas:
    """Runs one command at a time, in this folder, on the installation of the settings. By name:
    settings to change; None takes one away."""
    leave_settings(monkeypatch, folder)
    # As wide as a terminal can be: a table cuts its columns to fit.
    monkeypatch.setattr(terminal, "width", 160)

    async def saas(*arguments: str, **changes: str | None) -> Ran:
        changed = {f"SAAS_{name.upper()}": value for name, value in changes.items()}
        with monkeypatch.context() as patch:
            for name, value in (as_environment(settings) | changed).items():
                if value is not None:
                    patch.setenv(name, value)
            # In a thread: a command runs an event loop of its own.
            return await asyncio.to_thread(run, *arguments)

    return saas


def leave_settings(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Nothing of the developer's, in `.env` or the environment, may decide anything."""
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("SAAS_")]:
        monkeypatch.delenv(name)


def run(*arguments: str) -> Ran:
    """Runs the command in this thread. The output has bytes beneath, as that of a process has, for
    the commands that write those; line ends stay as they were written."""
    written, err = io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(written, encoding="utf-8", newline="")
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as stop,
    ):
        main([*arguments])
    out.flush()
    assert isinstance(stop.value.code, int)
    return Ran(stop.value.code, written.getvalue().decode(), err.getvalue())
