"""Texts as cells of CSV, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saas.db.cells import cell_text, text_cell


@given(st.text())
def test_a_text_comes_back_from_its_cell(text: str) -> None:
    assert cell_text(text_cell(text)) == text


# As a spreadsheet set to Japanese takes them, too.
WIDE = "\uff1d\uff0b\uff0d\uff20"


@given(st.text(st.sampled_from(f"=+-@{WIDE}'\t\r\na1 "), max_size=4))
def test_no_cell_of_a_text_begins_like_a_formula_or_is_empty(text: str) -> None:
    assert text_cell(text)[:1] not in {"", *f"=+-@{WIDE}\t\r\n"}


@pytest.mark.parametrize("cell", ["'tis", "=1+1", "-5", "a'", "0", " '=x"])
def test_a_cell_that_somebody_else_wrote_is_its_own_text(cell: str) -> None:
    assert cell_text(cell) == cell
