"""Values as cells of CSV: how a text is written so that no spreadsheet takes it for a formula, and
how it is read back as the same text.

An empty cell is null. A text that is empty, or begins with one of `= + - @ ' tab CR LF` or with one
of the first four in full width, stands behind an apostrophe. Reading takes that one away again; any
other apostrophe is the text's own.
"""

_MARK = "'"
# What a spreadsheet takes for a formula (OWASP, CSV injection), which in a Japanese one begins with
# full-width signs too, and the mark itself.
_WIDE = ("\uff1d", "\uff0b", "\uff0d", "\uff20")
_MARKED = ("=", "+", "-", "@", *_WIDE, "\t", "\r", "\n", _MARK)


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
