"""What of a file of JSON lines becomes which row."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saas.db.bulk_results import RowError
from saas.db.bulk_target import bulk_target
from saas.db.imports import jsonl_reader
from saas.db.imports.jsonl_reader import JsonLinesReader
from saas.db.imports.source import Position, ReadRow, SourceOptions
from saas.features.projects import projects


def read(data: bytes, *cuts: int, **options: Any) -> list[ReadRow]:
    position, rows = Position(), []
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for begin, end in pairwise(edges if len(edges) > 1 else [0, 0]):
        settings = SourceOptions(format="jsonl", **options)
        reader = JsonLinesReader(bulk_target(projects), settings, position)
        rows += reader.read(data[begin:end], is_last=end == len(data))
        position = reader.position
    return rows


def test_each_line_is_a_row_or_an_error() -> None:
    rows = read(
        b'\xef\xbb\xbf{"name": "One", "reason": "of a list of bad rows"}\r\n'
        b"\n"
        b'{"name": "Two", "budget_cents": 2}\n'
        b'{"name": "Thr\n'
        b'["name"]\n'
        b'{"name": "\xff"}\n'
        b'{"name": "Last"}'
    )

    found = [(r.line, r.values.code if isinstance(r.values, RowError) else r.values) for r in rows]
    assert found == [
        (1, {"name": "One"}),
        (3, {"name": "Two", "budget_cents": 2}),
        (4, "malformed"),
        (5, "wrong_type"),
        (6, "malformed"),
        (7, {"name": "Last"}),
    ]
    assert rows[2].source == b'{"name": "Thr'


@given(
    st.text(st.sampled_from('{}[]":,a1 \n\r\u20ac'), max_size=60),
    st.lists(st.integers(0, 100), max_size=8),
)
def test_it_does_not_matter_where_pieces_begin(text: str, cuts: list[int]) -> None:
    data = b"\xef\xbb\xbf" + text.encode()

    assert read(data, *cuts) == read(data)


def test_members_may_be_called_otherwise_and_left_out() -> None:
    (row,) = read(b'{"Title": "One", "Notes": 2}', columns={"Title": "name", "Notes": None})

    assert row.values == {"name": "One"}


def test_a_line_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl_reader, "MAX_ROW_BYTES", 64)
    long = b'{"name": "' + b"x" * 100 + b'"}'
    data = b'{"name": "One"}\n' + long + b'\n{"name": "Two"}\n' + long

    for cuts in ((), (40, 90, 120), (30,), (20, 100)):
        rows = read(data, *cuts)
        codes = [r.values.code if isinstance(r.values, RowError) else "" for r in rows]
        assert [(row.line, code) for row, code in zip(rows, codes, strict=True)] == [
            (1, ""),
            (2, "too_long"),
            (3, ""),
            (4, "too_long"),
        ]
