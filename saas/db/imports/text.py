"""Bytes of a file as text, piece by piece. What is wrong in its encoding becomes a mark in the
text, so that one bad byte costs one row."""

import codecs

BAD_BYTES = "\udcff"
"""Stands for bytes that are no character. No text of a good encoding holds it."""

_BYTE_ORDER_MARKS = (
    # UTF-32's begins like UTF-16's.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# By the names that WHATWG and IANA know them by. What a browser calls latin1 is windows-1252.
_ENCODINGS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "utf-16": "utf-16-le",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "utf-32": "utf-32-le",
    "utf-32le": "utf-32-le",
    "utf-32be": "utf-32-be",
    "windows-1252": "cp1252",
    "cp1252": "cp1252",
    "iso-8859-1": "iso-8859-1",
    "latin1": "iso-8859-1",
    "iso-8859-15": "iso-8859-15",
}
KNOWN_ENCODINGS = tuple(_ENCODINGS)


def encoding_of(beginning: bytes, charset: str | None) -> str | None:
    """The encoding of a file: its byte order mark says it, else `charset`, else it is UTF-8. None
    for a charset that is not known here."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if beginning.startswith(mark):
            return encoding
    return _ENCODINGS.get(charset.lower()) if charset else "utf-8"


def decode(undecoded: bytes, piece: bytes, encoding: str, *, is_last: bool) -> tuple[str, bytes]:
    """The text of both, and what of it is not a whole character yet."""
    decoder = codecs.getincrementaldecoder(encoding)(errors=_MARKED)
    text = decoder.decode(undecoded + piece, is_last)
    left, _ = decoder.getstate()
    return text, left


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return BAD_BYTES, error.end


_MARKED = "saas.marked"
codecs.register_error(_MARKED, _mark)
