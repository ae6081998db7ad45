"""The Python files that `saas lint` looks at, read and parsed. No file is run."""

import ast
import io
import os
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from saas.errors import ConfigurationError

# Tables are built in migrations, one row of the schema after the other; nobody is bound yet. The
# others hold what is not the project's own.
_SKIPPED = frozenset({"migrations", "node_modules", "site-packages", "__pycache__"})
# Copies of the project, unless they are packages of its own.
_BUILT = frozenset({"build", "dist"})


class Fault(NamedTuple):
    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


class Source(NamedTuple):
    text: str
    tree: ast.Module


def sources_in(paths: Iterable[Path]) -> tuple[dict[Path, Source], list[Fault]]:
    """The Python files among `paths` and below them, and a fault for each that is none. Raises
    ConfigurationError for a path that is not there."""
    sources: dict[Path, Source] = {}
    faults: list[Fault] = []
    for file in dict.fromkeys(file for path in paths for file in _files(path)):
        source = _source(file)
        if isinstance(source, Fault):
            faults.append(source)
        else:
            sources[file] = source
    return sources, faults


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        for folder, folders, names in os.walk(path):
            below = Path(folder)
            # What is taken out here is not walked into.
            folders[:] = sorted(name for name in folders if not _is_skipped(below / name))
            for name in sorted(names):
                if name.endswith(".py") and not name.startswith("."):
                    yield below / name
    else:
        raise ConfigurationError(f"there is no {path}")


def _is_skipped(folder: Path) -> bool:
    if folder.name.startswith(".") or folder.name in _SKIPPED:
        return True
    if folder.name in _BUILT:
        return not (folder / "__init__.py").exists()
    return (folder / "pyvenv.cfg").exists()


def _source(file: Path) -> Source | Fault:
    try:
        data = file.read_bytes()
        text = io.StringIO(data.decode(_coding(data)), newline=None).read()
        return Source(text, ast.parse(text))
    except OSError as error:
        return Fault(file, 1, f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Fault(file, line, f"no Python: not {error.encoding} ({error.reason})")
    except SyntaxError as error:
        return Fault(file, error.lineno or 1, f"no Python: {error.msg}")
    except (LookupError, ValueError) as error:
        # A coding that is none of text; a zero byte.
        return Fault(file, 1, f"no Python: {error}")
    except (RecursionError, MemoryError):
        return too_deep(file)


def _coding(data: bytes) -> str:
    try:
        return tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    except SyntaxError:
        # Bytes in the first two lines that are no UTF-8 end here too, without their place.
        data.decode()
        raise


def too_deep(file: Path) -> Fault:
    return Fault(file, 1, "nested too deeply to be checked")
