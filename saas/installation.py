"""One installation's settings, complete: its database addresses and its secrets.

Where no database URL is set, the addresses are those of the embedded server in the data folder.
Secrets that are not set are made once and kept there, but never in production.
"""

import os
import secrets
from pathlib import Path

import msgspec

from saas.db.roles import APP, MIGRATOR, PLATFORM
from saas.dev.postgres import EmbeddedPostgres
from saas.errors import ConfigurationError
from saas.settings import PREFIX, Settings, load_settings


def resolved(settings: Settings) -> Settings:
    """`settings` with addresses and secrets filled in. Raises ConfigurationError where production
    lacks one."""
    return _with_secrets(_with_addresses(settings))


def migrator_url() -> str:
    """The address for `alembic`, from the environment or the embedded installation."""
    settings = _with_addresses(load_settings())
    if settings.migration_database_url is None:
        raise ConfigurationError("SAAS_MIGRATION_DATABASE_URL is needed")
    return settings.migration_database_url


def as_environment(settings: Settings) -> dict[str, str]:
    """The variables that give another process these very settings."""
    values = msgspec.structs.asdict(settings)
    return {
        f"{PREFIX}{name.upper()}": str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
        if value is not None
    }


def _with_addresses(settings: Settings) -> Settings:
    if not settings.is_embedded:
        return settings
    server = EmbeddedPostgres(settings.data_path)
    return msgspec.structs.replace(
        settings,
        database_url=server.dsn(APP),
        platform_database_url=server.dsn(PLATFORM),
        migration_database_url=server.dsn(MIGRATOR),
    )


def _with_secrets(settings: Settings) -> Settings:
    made: dict[str, str] = {}
    if settings.platform_key is None:
        made["platform_key"] = f"pk_{_kept(settings, 'platform_key')}"
    if settings.jwt_secret is None and settings.jwt_key is None:
        made["jwt_secret"] = _kept(settings, "jwt_secret")
    return msgspec.structs.replace(settings, **made)


def _kept(settings: Settings, name: str) -> str:
    if settings.environment == "prod":
        raise ConfigurationError(f"{PREFIX}{name.upper()} is needed in production")
    path = settings.data_path / name
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_private(path, secrets.token_urlsafe(32))
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigurationError(f"cannot keep {name} in {settings.data_path}: {error}") from None


def _write_private(path: Path, text: str) -> None:
    # Made elsewhere and moved into place, so that a kill leaves no half secret behind.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_text(text, encoding="ascii")
    temporary.replace(path)
