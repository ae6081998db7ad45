"""One installation's settings, complete: its database addresses and its secrets.

Where no database URL is set, the addresses are those of the embedded server in the data folder.
Secrets that are not set are made once and kept there, but never in production.
"""

import atexit
import os
import secrets
from importlib import import_module

import msgspec

from saas.db.roles import APP, MIGRATOR, PLATFORM, bootstrap
from saas.dev.postgres import EmbeddedPostgres
from saas.errors import ConfigurationError
from saas.private_files import keep
from saas.settings import PREFIX, Settings, load_settings

_SHORTEST_SECRET = 32


def resolved(settings: Settings) -> Settings:
    """`settings` with addresses and secrets filled in. Raises ConfigurationError where one is
    missing that cannot be made."""
    _import_models(settings)
    addressed = _with_addresses(settings)
    if addressed.platform_database_url is None:
        raise ConfigurationError(
            f"{PREFIX}PLATFORM_DATABASE_URL is needed beside {PREFIX}DATABASE_URL"
        )
    return _with_secrets(addressed)


def migrator_url() -> str:
    """The address for `alembic`, from the environment or the embedded installation, whose server
    runs from now on, if only until the end of this process, and has the roles and the database."""
    settings = load_settings()
    _import_models(settings)
    if settings.migration_database_url is not None:
        return settings.migration_database_url
    if not settings.is_embedded:
        raise ConfigurationError("SAAS_MIGRATION_DATABASE_URL is needed")
    server = EmbeddedPostgres(settings.data_path)
    server.start()
    atexit.register(server.stop)
    bootstrap(server.dsn(server.superuser, "postgres"))
    return server.dsn(MIGRATOR)


def as_environment(settings: Settings) -> dict[str, str]:
    """This process' environment with these very settings, for another process. Its own settings
    are left out: a SAAS_…_FILE would contradict the value that it stands for."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    values = msgspec.structs.asdict(settings)
    return inherited | {
        f"{PREFIX}{name.upper()}": str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
        if value is not None
    }


def _import_models(settings: Settings) -> None:
    for module in filter(None, map(str.strip, settings.models.split(","))):
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"{PREFIX}MODELS: {error}") from error


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
    if settings.environment == "prod":
        _refuse_weak(settings)
    made: dict[str, str] = {}
    if settings.platform_key is None:
        made["platform_key"] = f"pk_{_kept(settings, 'platform_key')}"
    if settings.jwt_secret is None and settings.jwt_key is None:
        made["jwt_secret"] = _kept(settings, "jwt_secret")
    return msgspec.structs.replace(settings, **made)


def _refuse_weak(settings: Settings) -> None:
    for name in ("platform_key", "metrics_token", "sealing_secret"):
        value = getattr(settings, name)
        if value is not None and len(value) < _SHORTEST_SECRET:
            raise ConfigurationError(
                f"{PREFIX}{name.upper()} has fewer than {_SHORTEST_SECRET} characters"
            )


def _kept(settings: Settings, name: str) -> str:
    if settings.environment == "prod":
        raise ConfigurationError(f"{PREFIX}{name.upper()} is needed in production")
    return keep(settings.data_path / name, lambda: secrets.token_urlsafe(32))
