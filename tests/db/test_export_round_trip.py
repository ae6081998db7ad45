"""What an export writes and an import reads: equal values, wherever the file is cut in pieces."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saas.db.bulk_target import bulk_target
from saas.db.export_formats import FORMATS
from saas.db.imports.piece import reader_for
from saas.db.imports.source import Position, SourceOptions
from saas.features.projects import ProjectRead, projects

MOMENT = datetime(2026, 1, 31, tzinfo=UTC)
# PostgreSQL stores no NUL; most texts are near what is special in a file or a spreadsheet.
TEXTS = st.text("'=+-@\t\r\n \",;|x\ufeff") | st.text(
    st.characters(codec="utf-8", exclude_characters="\0")
)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
ROWS = st.lists(
    st.tuples(TEXTS, st.none() | TEXTS, st.booleans(), st.none() | INTEGERS),
    min_size=1,
    max_size=4,
)
COLUMNS = ("name", "description", "is_active", "budget_cents")
TARGET = bulk_target(projects)


@pytest.mark.parametrize("format", ["csv", "jsonl"])
@given(rows=ROWS, cut=st.integers(0, 300))
def test_rows_come_back_equal(format: str, rows: list[tuple[object, ...]], cut: int) -> None:
    layout = FORMATS[format].layout(projects.repository.table, ProjectRead.__struct_fields__)
    file = layout.head + layout.lines([_row(row) for row in rows])
    options = SourceOptions(format="csv" if format == "csv" else "jsonl")

    reader = reader_for(TARGET, options, Position())
    read = [*reader.read(file[:cut], is_last=False), *reader.read(file[cut:], is_last=True)]

    values = [row.values for row in read]
    assert [tuple(v[name] for name in COLUMNS) for v in values] == rows  # type: ignore[index]


def _row(values: tuple[object, ...]) -> ProjectRead:
    made = {"id": UUID(int=1), "version": 1, "deleted_at": None, "deleted_by": None}
    for event in ("created", "updated"):
        made |= {f"{event}_at": MOMENT, f"{event}_by": "key:1"}
    return ProjectRead(**made, **dict(zip(COLUMNS, values, strict=True)))
