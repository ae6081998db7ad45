"""ETag, If-Match and If-None-Match for rows with a version (RFC 9110, 13.1)."""

import re

from saas.errors import BadRequest

_ENTITY_TAG = re.compile(r'(W/)?"([!#-~]*)"')
_VERSION = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
# Elements may be empty (RFC 9110, 5.6.1.2).
_LIST = re.compile(rf"[ \t,]*{_ENTITY_TAG.pattern}(?:[ \t]*,[ \t,]*{_ENTITY_TAG.pattern})*[ \t,]*")

ENTITY_TAGS = rf"^(\*|{_LIST.pattern})$"
"""What If-Match and If-None-Match take, as a pattern for the OpenAPI document."""


def etag(version: int) -> bytes:
    """A strong tag: the version names one exact state of the row."""
    return b'"%d"' % version


def etag_header(version: int) -> tuple[bytes, bytes]:
    return (b"etag", etag(version))


def versions_wanted(if_match: str | None) -> frozenset[int] | None:
    """The versions that If-Match accepts; None where any will do. Weak tags never match, and a
    tag that is no version matches nothing. Raises BadRequest for a malformed header."""
    if if_match is None or if_match.strip() == "*":
        return None
    tags = _tags("If-Match", if_match)
    return frozenset(int(tag) for weak, tag in tags if not weak and _is_version(tag))


def is_unmodified(if_none_match: str | None, version: int) -> bool:
    """Whether the caller holds this version already, so that 304 is the answer."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return any(tag == str(version) for _, tag in _tags("If-None-Match", if_none_match))


def _tags(header: str, text: str) -> list[tuple[str, str]]:
    if not _LIST.fullmatch(text.strip()):
        raise BadRequest(f'{header} is malformed. Give it as in the ETag: "3".')
    return _ENTITY_TAG.findall(text)


def _is_version(tag: str) -> bool:
    # As etag() writes it: strong comparison is by character, and the column is an int4.
    return _VERSION.fullmatch(tag) is not None and int(tag) < 2**31
