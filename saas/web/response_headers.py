"""Headers that every answer carries, whatever made it. A header that the app set itself wins."""

from collections.abc import Iterable, Sequence

Headers = Sequence[tuple[bytes, bytes]]

# HSTS is left to whoever ends TLS: only they know that every name below the host speaks it.
_SECURITY: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
# Tenant data must not be stored by a shared cache or served to another credential (RFC 9111).
_CACHE_CONTROL = (b"cache-control", b"private, no-store")
_VARY = (b"vary", b"Authorization, X-API-Key, X-Tenant-ID")
_API: Headers = (*_SECURITY, _CACHE_CONTROL, _VARY)

_SECURITY_NAMES = frozenset(name for name, _ in _SECURITY)
_API_NAMES = frozenset(name for name, _ in _API)


def completed(
    headers: Iterable[tuple[bytes, bytes]],
    *,
    request_id: bytes,
    traceparent: bytes | None,
    is_api: bool,
) -> list[tuple[bytes, bytes]]:
    """The app's headers, then ours that are missing, then exactly one X-Request-ID."""
    result = [*headers]
    names = {header[0] for header in result}
    if is_api:
        result += _API if names.isdisjoint(_API_NAMES) else _missing(result, names)
    else:
        result += (
            _SECURITY
            if names.isdisjoint(_SECURITY_NAMES)
            else [header for header in _SECURITY if header[0] not in names]
        )
    if b"x-request-id" in names:
        result = [header for header in result if header[0] != b"x-request-id"]
    result.append((b"x-request-id", request_id))
    if traceparent is not None:
        result.append((b"traceparent", traceparent))
    return result


def _missing(headers: Headers, names: set[bytes]) -> list[tuple[bytes, bytes]]:
    missing = [header for header in _API if header[0] not in names]
    # A Vary of the app (compression, CORS) knows nothing of credentials: ours joins it.
    own = b",".join(value.lower() for name, value in headers if name == b"vary")
    if b"vary" in names and b"authorization" not in own:
        missing.append(_VARY)
    return missing
