"""What of a CSV file becomes which row, whatever the file is like and wherever its pieces begin."""

import csv
import io
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saas.db.bulk_results import RowError
from saas.db.bulk_target import bulk_target
from saas.db.imports import csv_reader
from saas.db.imports.csv_reader import CsvReader
from saas.db.imports.source import HeaderFault, Position, ReadRow, SourceOptions
from saas.db.imports.text import encoding_of
from saas.features.projects import projects
from saas.features.tasks import tasks

HEADER = "name,description\n"
PLAIN = SourceOptions(format="csv")
# What matters to the csv module, and little else.
TEXTS = st.text(st.sampled_from('a,;"\n\r é€'), max_size=40)


def read(data: bytes, *cuts: int, target: Any = projects, **options: Any) -> list[ReadRow]:
    """The rows of `data`, cut into pieces, each read by a reader of its own."""
    position, rows = Position(), []
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for begin, end in pairwise(edges if len(edges) > 1 else [0, 0]):
        reader = CsvReader(bulk_target(target), SourceOptions(format="csv", **options), position)
        rows += reader.read(data[begin:end], is_last=end == len(data))
        position = reader.position
    return rows


def errors(rows: list[ReadRow]) -> list[tuple[int, str | None, str]]:
    return [
        (row.line, row.values.column, row.values.code)
        for row in rows
        if isinstance(row.values, RowError)
    ]


def expected(text: str) -> tuple[list[list[str]], bool]:
    """What the csv module makes of `text` up to its first error, and whether there is one."""
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), strict=True):
            rows.append(row)
    except csv.Error:
        return rows, True
    return rows, False


@given(TEXTS)
def test_rows_are_those_of_the_csv_module(text: str) -> None:
    rows = read((HEADER + text).encode())

    (_, *wanted), is_broken = expected(HEADER + text)
    wanted = [cells for cells in wanted if cells]
    assert [row.source for row in rows][: len(wanted)] == wanted
    assert ("malformed" in [code for _, _, code in errors(rows)]) == is_broken
    if not is_broken:
        assert len(rows) == len(wanted)


@given(TEXTS, st.lists(st.integers(0, 200), max_size=8), st.sampled_from(["utf-8", "utf-16-le"]))
def test_it_does_not_matter_where_pieces_begin(text: str, cuts: list[int], encoding: str) -> None:
    data = (HEADER + text).encode(encoding)

    assert read(data, *cuts, encoding=encoding) == read(data, encoding=encoding)


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2)), st.sampled_from(",;\t|"))
def test_what_the_csv_module_writes_is_read_back(rows: list[list[str]], delimiter: str) -> None:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerows([["name", "description"], *rows])

    found = read(file.getvalue().encode(), delimiter=delimiter)

    assert [row.source for row in found] == rows


def test_a_line_is_where_its_row_begins() -> None:
    rows = read(b'name\r\nOne\r\n\r\n"Two\r\nlines"\r\nThree')

    assert [(row.line, row.values) for row in rows] == [
        (2, {"name": "One"}),
        (4, {"name": "Two\r\nlines"}),
        (6, {"name": "Three"}),
    ]


def test_a_line_that_is_no_csv_costs_no_other() -> None:
    rows = read(
        b'name,description\n"Open,1\nGood,2\n"Shut" late,3\nFine,"4"\n"Never shut,5\nLast,6\n'
    )

    assert errors(rows) == [(2, None, "malformed"), (4, None, "malformed"), (6, None, "malformed")]
    assert [row.source for row in rows if not isinstance(row.values, RowError)] == [
        ["Good", "2"],
        ["Fine", "4"],
        ["Last", "6"],
    ]
    assert rows[0].source == ['"Open,1']


def test_lines_that_each_open_a_quote_are_read_once() -> None:
    """To look for the end of each one's quote through all that follow would take minutes."""
    lines = 150_000

    rows = read(b"name\n" + b'x","\n' * lines + b'"Shut" late\nGood\n', target=projects)

    assert len(errors(rows)) == lines + 1
    assert rows[-1].values == {"name": "Good"}


def test_a_row_of_another_width_is_told() -> None:
    rows = read(b"name,description\nOne\nOne,two\nOne,two,three\n")

    assert errors(rows) == [(2, None, "wrong_cell_count"), (4, None, "wrong_cell_count")]


def test_cells_become_values_of_their_columns() -> None:
    (row,) = read(
        b"title,project_id,priority,due_on,status,id,assignee_id\n"
        b"'=1+1,6f1c8e1a-0000-7000-8000-000000000000,4,2026-01-31,,ignored,\n",
        target=tasks,
    )

    assert row.values == {
        "title": "=1+1",
        "project_id": "6f1c8e1a-0000-7000-8000-000000000000",
        "priority": 4,
        "due_on": "2026-01-31",
        "assignee_id": None,
    }


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("1", True),
        ("no", False),
        ("f", False),
        ("maybe", "maybe"),
    ],
)
def test_a_truth_has_several_spellings(cell: str, value: Any) -> None:
    (row,) = read(f"name,is_active\nOne,{cell}\n".encode())

    assert row.values == {"name": "One", "is_active": value}


@pytest.mark.parametrize("cell", ["1.5", "1_000", " 12", "0x1", "\u0663", "12a", "+5", "1e3"])
def test_what_is_no_integer_is_left_for_the_type_to_refuse(cell: str) -> None:
    (row,) = read(f"name,budget_cents\nOne,{cell}\n".encode())

    assert row.values == {"name": "One", "budget_cents": cell}


@pytest.mark.parametrize(
    ("header", "faults"),
    [
        ("nmae,description", {"nmae": "unknown_field", "name": "missing_field"}),
        ("name,name", {"name": "duplicate"}),
        ("description", {"name": "missing_field"}),
        ("name,tenant_id", {"tenant_id": "unknown_field"}),
        ("name,", {"": "unknown_field"}),
    ],
)
def test_a_header_names_each_column_once(header: str, faults: dict[str, str]) -> None:
    with pytest.raises(HeaderFault) as refused:
        read(f"{header}\nOne,two\n".encode())

    assert {name: code for name, (code, _) in refused.value.faults.items()} == faults


def test_columns_may_be_called_otherwise_and_left_out() -> None:
    columns = {"Title": "name", "Notes": None}

    (row,) = read(b"Title,Notes,reason\nOne,two,three\n", columns=columns)

    assert row.values == {"name": "One"}
    with pytest.raises(HeaderFault) as refused:
        read(b"Title\nOne\n", columns={**columns, "Title": "nmae"})
    assert set(refused.value.faults) == {"Title", "name", "Notes"}


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp1252", "iso-8859-1"]
)
def test_encodings_are_known_by_mark_or_name(encoding: str) -> None:
    text = "name\nGrün\n"
    data = b"\xfe\xff" + text.encode("utf-16-be") if "be" in encoding else text.encode(encoding)
    charset = encoding if encoding in {"cp1252", "iso-8859-1"} else None

    found = encoding_of(data, charset)

    assert found is not None
    (row,) = read(data, encoding=found)
    assert row.values == {"name": "Grün"}
    assert encoding_of(b"name", "ebcdic") is None


def test_bad_bytes_cost_their_row_alone() -> None:
    rows = read(b"name,description\nGood,1\nB\xffd,2\nFine,\xc3\n")

    assert errors(rows) == [(3, "name", "invalid_encoding"), (4, "description", "invalid_encoding")]
    assert rows[0].values == {"name": "Good", "description": "1"}


def test_a_row_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_reader, "MAX_ROW_BYTES", 64)
    long = b"x" * 200
    data = b"name\nOne\n" + long + b"\nTwo\n" + b'"never shut\n' + b"a\n" * 60

    rows = read(data, 30, 120, 160, 240, 300)

    assert errors(rows) == [(3, None, "too_long"), (5, None, "malformed")]
    assert len(rows) == 4 + 60


def test_a_file_may_have_no_rows_or_nothing_at_all() -> None:
    assert read(b"name\n") == []
    assert read(b"") == []
    assert read(b"\xef\xbb\xbf") == []


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_lines_end_in_three_ways(line_end: str) -> None:
    data = line_end.join(["name", "One", "Two", ""]).encode()

    for cut in range(len(data)):
        assert [row.source for row in read(data, cut)] == [["One"], ["Two"]]
