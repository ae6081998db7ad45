"""Files that only their owner reads: secrets, keys. Written whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

from saas.errors import ConfigurationError


def keep(path: Path, make: Callable[[], str]) -> str:
    """The text in `path`; what `make` gives, written there, on the first call. Of two processes
    that come at once one writes, and both read the same. Raises ConfigurationError."""
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_once(path, make())
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot keep {path.name} in {path.parent}: {error}") from None


def replace(path: Path, text: str) -> None:
    """Write `text` in the place of what was there. Raises OSError."""
    _fresh(path, text).replace(path)


def _write_once(path: Path, text: str) -> None:
    fresh = _fresh(path, text)
    try:
        # A link, unlike a rename, never takes the place of another process' file.
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()


def _fresh(path: Path, text: str) -> Path:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text(text, encoding="utf-8")
    return fresh
