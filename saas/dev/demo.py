"""The demo tenants of an installation, and the file that keeps their keys."""

from pathlib import Path

import msgspec


class DemoTenant(msgspec.Struct, frozen=True):
    slug: str
    id: str
    key: str


def kept_tenants(file: Path) -> list[DemoTenant] | None:
    """None where none were ever made."""
    return msgspec.json.decode(file.read_bytes(), type=list[DemoTenant]) if file.exists() else None


def keep_tenants(file: Path, tenants: list[DemoTenant]) -> None:
    """Readable by the owner of the file alone."""
    # Moved into place, so that a kill leaves no half file, which no start could read.
    fresh = file.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(msgspec.json.encode(tenants))
    fresh.replace(file)
