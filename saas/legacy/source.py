"""The legacy database: its tables, read in batches in the order of their keys. Nothing is written
there. Values stay what its driver makes of them; what they mean is the map's to say."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Engine,
    Select,
    and_,
    column,
    create_engine,
    false,
    func,
    inspect,
    or_,
    select,
    table,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, NoSuchTableError, SQLAlchemyError

from saas.errors import ConfigurationError
from saas.legacy.map import TableMap

Key = tuple[Any, ...]

# What a driver raises for a value that it cannot read, such as text in another encoding.
_UNREADABLE = (SQLAlchemyError, ValueError, OverflowError)


class SourceRow(NamedTuple):
    """`values` are those of the columns that were asked for; None for a row that the driver cannot
    read, for the reason `fault`."""

    key: Key
    values: Sequence[Any] | None
    fault: str = ""


def open_source(text: str) -> Engine:
    """Raises ConfigurationError for what is no address, and for a driver that is not installed."""
    try:
        url = make_url(text)
    except ArgumentError:
        # Without the text: it may hold a password.
        raise ConfigurationError(
            "the source is no SQLAlchemy URL, such as sqlite:///legacy.db"
        ) from None
    _refuse_new_file(url)
    try:
        return create_engine(url)
    except NoSuchModuleError:
        raise ConfigurationError(f"SQLAlchemy knows no database {url.drivername!r}") from None
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{url.drivername} needs the Python module {error.name}: install it beside saas"
        ) from None


def _refuse_new_file(url: URL) -> None:
    """SQLite would make the file, and the migration of nothing would succeed."""
    file = url.database or ""
    is_path = url.get_backend_name() == "sqlite" and not file.startswith("file:")
    if is_path and not Path(file).is_file():
        raise ConfigurationError(f"there is no SQLite file {file or ':memory:'}")


class SourceTable:
    """One table or view, of which the `wanted` columns are read. Raises ConfigurationError where
    the source does not have them, or the key is not unique."""

    def __init__(self, engine: Engine, map: TableMap, wanted: Sequence[str]) -> None:
        self._engine = engine
        self._name, self._schema = map.source, map.schema
        self._key: list[ColumnClause[Any]] = [column(name) for name in map.key_columns]
        self._wanted: list[ColumnClause[Any]] = [column(name) for name in wanted]
        self._table = table(map.source, *self._key, schema=map.schema)
        with _reading(self._name):
            self._check_columns([*map.key_columns, *wanted])
            self._check_key(set(map.key_columns))

    def count(self) -> int:
        with _reading(self._name):
            return self._count(self._table)

    def batch(self, after: Key | None, size: int) -> list[SourceRow]:
        """The first `size` rows behind the key `after`. Raises ConfigurationError where the source
        cannot be read at all."""
        with _reading(self._name):
            return self._batch(after, size)

    def _batch(self, after: Key | None, size: int) -> list[SourceRow]:
        try:
            rows = self._rows(select(*self._key, *self._wanted), after, size)
        except _UNREADABLE as error:
            if size == 1:
                # One row that cannot be read costs no other.
                return [
                    SourceRow(tuple(key), None, _told(error))
                    for key in self._rows(select(*self._key), after, 1)
                ]
        else:
            width = len(self._key)
            return [SourceRow(tuple(row[:width]), row[width:]) for row in rows]
        found = self._batch(after, size // 2)
        if len(found) == size // 2:
            found += self._batch(found[-1].key, size - size // 2)
        return found

    def _rows(self, chosen: Select[Any], after: Key | None, size: int) -> Sequence[Any]:
        chosen = chosen.select_from(self._table).order_by(*self._key).limit(size)
        if after is not None:
            chosen = chosen.where(_beyond(self._key, after))
        with self._engine.connect() as connection:
            return connection.execute(chosen).all()

    def _count(self, rows: Any) -> int:
        with self._engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(rows)).scalar_one()

    def _check_columns(self, names: Sequence[str]) -> None:
        try:
            columns = inspect(self._engine).get_columns(self._name, schema=self._schema)
        except NoSuchTableError:
            raise ConfigurationError(f"the source has no table {self._name!r}") from None
        there = [str(found["name"]) for found in columns]
        missing = [name for name in names if name not in there]
        if missing:
            raise ConfigurationError(
                f"{self._name} has no column {missing[0]!r}; it has {', '.join(there)}"
            )

    def _check_key(self, key: set[str]) -> None:
        """Rows that share a key would be read once, and rows without one never."""
        primary = inspect(self._engine).get_pk_constraint(self._name, schema=self._schema)
        if primary["constrained_columns"] and key >= set(primary["constrained_columns"]):
            return
        whole = (
            select(*self._key).select_from(self._table).where(*(c.is_not(None) for c in self._key))
        )
        if self._count(whole.distinct().subquery()) < self._count(self._table):
            names = ", ".join(c.name for c in self._key)
            raise ConfigurationError(f"{names} is no key of {self._name}: it is null or repeats")


def _beyond(key: Sequence[ColumnClause[Any]], after: Key) -> ColumnElement[bool]:
    """The rows behind `after` in the order of the key, in words that every database knows."""
    beyond: ColumnElement[bool] = false()
    for part, value in reversed([*zip(key, after, strict=True)]):
        beyond = or_(part > value, and_(part == value, beyond))
    return beyond


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise ConfigurationError(f"cannot read {name}: {_told(error)}") from None


def _told(error: Exception) -> str:
    """In one line, and without the statement that SQLAlchemy adds."""
    return " ".join(str(getattr(error, "orig", None) or error).split())
