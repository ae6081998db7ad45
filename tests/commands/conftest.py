"""Commands as an operator types them, on the suite's database, with bytes for standard output."""

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
from saas.installation import as_environment
from saas.settings import Settings


class Ran(NamedTuple):
    code: int
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        """What `--json` has printed."""
        return json.loads(self.out)

    @property
    def refusal(self) -> str:
        """What a command that refused has said: one line, and nothing but the refusal."""
        assert (self.code, self.out) == (2, b""), self
        assert self.err.startswith("saas: "), self
        assert self.err.count("\n") == 1, self
        return self.err.removeprefix("saas: ").rstrip("\n")


Saas = Callable[..., Awaitable[Ran]]


@pytest.fixture
def saas(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Saas:
    """Run one command, in a folder of its own."""
    # Nothing of the developer's, in `.env` or the environment, may decide anything.
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SAAS_")]:
        monkeypatch.delenv(name)
    for name, value in as_environment(settings).items():
        if name.startswith("SAAS_"):
            monkeypatch.setenv(name, value)

    async def saas(*arguments: str) -> Ran:
        # In a thread: a command runs an event loop of its own.
        return await asyncio.to_thread(_run, [*arguments])

    return saas


def _run(arguments: list[str]) -> Ran:
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline=""), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as stop:
            code = stop.code or 0
    out.flush()
    return Ran(code, out.buffer.getvalue(), err.getvalue())  # type: ignore[attr-defined]


@pytest.fixture
def slug(tenant: Any) -> str:
    return str(tenant.body["tenant"]["slug"])
