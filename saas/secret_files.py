"""The secrets of an installation beside its own PostgreSQL, as files for SAAS_*_FILE settings."""

import secrets
from pathlib import Path
from urllib.parse import quote

from saas.db.roles import APP, MIGRATOR, PLATFORM
from saas.private_files import keep

SUPERUSER = "postgres"
_ADDRESSES = {
    "database_url": APP,
    "platform_database_url": PLATFORM,
    "migration_database_url": MIGRATOR,
}


def make_secrets(folder: Path, *, host: str, port: int = 5432, database: str = "saas") -> None:
    """Make what is missing in `folder` and leave what is there: passwords of the roles, the
    addresses that hold them, platform key, signing secret, metrics token."""
    for name in ("platform_key", "jwt_secret", "metrics_token"):
        keep(folder / name, _secret)
    for name, role in _ADDRESSES.items():
        keep(folder / name, lambda role=role: _url(folder, role, host, port, database))  # type: ignore[misc]
    keep(folder / "admin_url", lambda: _url(folder, SUPERUSER, host, port, "postgres"))


def passwords_in(folder: Path) -> dict[str, str]:
    """The passwords of the login roles, by role."""
    return {role: _password(folder, role) for role in _ADDRESSES.values()}


def _url(folder: Path, role: str, host: str, port: int, database: str) -> str:
    return f"postgresql://{role}:{quote(_password(folder, role))}@{host}:{port}/{database}"


def _password(folder: Path, role: str) -> str:
    return keep(folder / f"{role}_password", _secret)


def _secret() -> str:
    return secrets.token_urlsafe(32)
