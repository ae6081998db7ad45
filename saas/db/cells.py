"""Values as cells of CSV: how a text is written so that no spreadsheet takes it for a formula, and
how it is read back as the same text.

An empty cell is null. A text that is empty, or begins with one of `= + - @ ' tab CR`, stands behind
an apostrophe, which reading takes away again; any other apostrophe is the text's own.
"""

_MARK = "'"
# What a spreadsheet takes for a formula (OWASP, CSV injection), and the mark itself.
_MARKED = ("=", "+", "-", "@", "\t", "\r", _MARK)


def text_cell(text: str) -> str:
    """The cell of a text."""
    return f"{_MARK}{text}" if not text or text.startswith(_MARKED) else text


def cell_text(cell: str) -> str:
    """The text of a cell that is not empty: what `text_cell` was given, and any other cell as it
    is."""
    if cell[0] != _MARK:
        return cell
    rest = cell[1:]
    return rest if not rest or rest.startswith(_MARKED) else cell
