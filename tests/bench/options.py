"""What one bench is asked to do."""

from pathlib import Path

import msgspec


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The command line. `server` names the ASGI server of the product."""

    data: Path
    json: Path | None
    seconds: int
    rounds: int
    operations: tuple[str, ...]
    server: str
    product: bool
    lean: bool
    floor: bool
    tenants: int
    projects: int
