"""A copy of the checkout, as a newcomer has it, for tests that change its files."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processes import environment, scratch_folder

ROOT = Path(__file__).parents[1]
# What a newcomer has cloned, and its bytecode, which saves time; the rest is made by tools.
_MADE = shutil.ignore_patterns(".*", "*.egg-info", "build", "bench")


@contextmanager
def scratch_copy() -> Iterator[Path]:
    """The copy's folder; at the end nothing runs in it any more, and it is gone."""
    with scratch_folder() as folder:
        checkout = folder / "checkout"
        shutil.copytree(ROOT, checkout, ignore=_MADE)
        # `make run` has made it; here it is the one that runs this suite.
        (checkout / ".venv").symlink_to(sys.prefix)
        yield checkout


def versions(checkout: Path) -> Iterator[Path]:
    return (checkout / "migrations" / "versions").glob("*.py")


def run(checkout: Path, *command: str) -> str:
    """Run a program in the copy, whose modules come before the installed ones; what it said."""
    done = subprocess.run(
        command,
        cwd=checkout,
        env=environment() | {"PYTHONPATH": os.fspath(checkout)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
