"""Which of several media types a request would rather have (RFC 9110, 12.5.1)."""

from collections.abc import Sequence

from saas.web.routed import AnyRequest
from saas.web.row_request import header

VARY_ACCEPT = (b"vary", b"Accept")


def preferred(request: AnyRequest, offered: Sequence[str]) -> str:
    """The one of `offered` with the highest quality, the first of equals; the first also where the
    request accepts none: an answer in the usual form helps more than a refusal."""
    ranges = [_range(part) for part in (header(request, b"accept") or "*/*").split(",")]
    return max(offered, key=lambda media_type: _quality(media_type, ranges))


def _range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            return name, _number(value.strip())
    return name, 1.0


def _number(text: str) -> float:
    """What is no quality counts for nothing."""
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """By the most specific range that matches it."""
    kind = media_type.partition("/")[0]
    for name in (media_type, f"{kind}/*", "*/*"):
        found = [quality for range_, quality in ranges if range_ == name]
        if found:
            return max(found)
    return 0.0
