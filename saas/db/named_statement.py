"""A statement as psycopg takes it: parameters by name, documents as jsonb."""

from collections.abc import Mapping
from typing import Any, ClassVar

from psycopg.types.json import Jsonb
from sqlalchemy import JSON, Executable
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect

from saas.db.storable_times import refuse_unstorable, times_among


class NamedStatement:
    """SQL text with `%(name)s` for each parameter."""

    __slots__ = ("_defaults", "_documents", "_names", "_times", "sql")

    dialect: ClassVar[Any] = psycopg_dialect.dialect()  # type: ignore[no-untyped-call]

    def __init__(self, statement: Executable) -> None:
        compiled = statement.compile(  # type: ignore[attr-defined]
            dialect=self.dialect, compile_kwargs={"render_postcompile": True}
        )
        self.sql = str(compiled)
        self._defaults: Mapping[str, Any] = compiled.params
        self._times = times_among(compiled.binds)
        # psycopg would send a dict as nothing and a list as an array; the column's type decides.
        self._documents = frozenset(
            name for name, bound in compiled.binds.items() if isinstance(bound.type, JSON)
        )

    def arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values by the names of the parameters. Raises Invalid for a time that cannot be
        stored."""
        refuse_unstorable(self._times, values)
        chosen = {name: values.get(name, default) for name, default in self._defaults.items()}
        for name in self._documents:
            if chosen[name] is not None:
                chosen[name] = Jsonb(chosen[name])
        return chosen
