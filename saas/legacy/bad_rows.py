"""The rows that did not go in, as a CSV file beside the checkpoint."""

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from saas.db.cells import text_cell
from saas.errors import ConfigurationError


class BadRow(NamedTuple):
    """Which row of the source, and what is wrong with which column of the resource."""

    source: str
    key: str
    column: str | None
    value: str | None
    code: str
    reason: str


class BadRows:
    """The file at `path`, to be begun with `keep`. Raises ConfigurationError where it cannot be
    written."""

    def __init__(self, path: Path) -> None:
        self.size = 0
        try:
            self._file = path.open("r+b" if path.exists() else "w+b")
        except OSError as error:
            raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None

    def keep(self, size: int) -> None:
        """Go on behind the first `size` bytes: the rest is of a batch that is not in."""
        self.size = min(size, self._file.seek(0, os.SEEK_END))
        self._file.truncate(self.size)
        self._file.seek(self.size)
        if not self.size:
            self.add([BadRow(*BadRow._fields)])

    def add(self, rows: Iterable[BadRow]) -> None:
        """On the disk when it returns."""
        written = io.StringIO()
        lines = csv.writer(written)
        for row in rows:
            lines.writerow(["" if cell is None else text_cell(cell) for cell in row])
        if content := written.getvalue().encode("utf-8", "backslashreplace"):
            self._file.write(content)
            self._file.flush()
            os.fsync(self._file.fileno())
            self.size += len(content)

    def close(self) -> None:
        self._file.close()
