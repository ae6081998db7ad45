"""Settings from the environment and `.env`, read once. `.env.example` documents each of them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from dotenv import dotenv_values

from saas.errors import ConfigurationError

PREFIX = "SAAS_"
# Read by `saas bootstrap` and `saas migrate-from`, so that one file can serve all commands.
_OF_COMMANDS = {
    "SAAS_APP_PASSWORD",
    "SAAS_PLATFORM_PASSWORD",
    "SAAS_MIGRATOR_PASSWORD",
    "SAAS_SOURCE_URL",
}

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
PositiveInt = Annotated[int, msgspec.Meta(ge=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Each field is the variable SAAS_<NAME>; SAAS_<NAME>_FILE reads it from a file instead."""

    host: str = "127.0.0.1"
    port: Port = 8000
    workers: PositiveInt = 1
    server: Literal["granian", "uvicorn"] = "granian"
    environment: Literal["dev", "prod"] = "dev"
    data_dir: str = ".saas"
    database_url: str | None = None
    platform_database_url: str | None = None
    migration_database_url: str | None = None
    models: str = ""
    pool_size: PositiveInt = 10
    tenant_connections: PositiveInt | None = None
    pool_timeout_seconds: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    statement_timeout_ms: PositiveInt = 30_000
    redis_url: str | None = None
    principal_cache_seconds: Annotated[float, msgspec.Meta(ge=0, le=5)] = 5.0
    key_use_seconds: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    usage_seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 2.0
    offboarding_grace_days: Annotated[int, msgspec.Meta(ge=0, le=365)] = 30
    purge_interval_seconds: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 60
    platform_key: str | None = None
    jwt_secret: str | None = None
    jwt_key: str | None = None
    jwt_verification_keys: str | None = None
    sealing_secret: str | None = None
    jwt_issuer: str = "https://saas.example"
    jwt_audience: str = "saas-api"
    platform_audience: str = "saas-platform"
    issuers: str | None = None
    metrics_token: str | None = None
    max_body_bytes: PositiveInt = 10_000_000
    max_import_bytes: PositiveInt = 1_000_000_000
    max_archive_bytes: PositiveInt = 5_000_000_000
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    access_log: bool = True

    @property
    def is_embedded(self) -> bool:
        """Whether the project's own PostgreSQL serves; a database URL switches it off."""
        return self.database_url is None

    @property
    def connections_of_one_tenant(self) -> int:
        """While others are at work. Where nothing is set a quarter of the pool, but two: an export
        may hold one of them for long."""
        share = max(2, self.pool_size // 4)
        return self.tenant_connections or max(1, min(share, self.pool_size - 1))

    @property
    def most_exports(self) -> int:
        """How many archives a process writes at once: each holds a connection for as long as its
        reader takes."""
        return max(1, min(self.pool_size // 4, self.connections_of_one_tenant))

    @property
    def data_path(self) -> Path:
        return Path(self.data_dir).expanduser().absolute()


def load_settings(environ: Mapping[str, str] | None = None, env_file: str = ".env") -> Settings:
    """Read the environment over `.env`. Raises ConfigurationError naming the variable."""
    if environ is None:
        # Each source by itself: a value in the environment takes the place of a _FILE in `.env`.
        values = {**_values(dotenv_values(env_file)), **_values(os.environ)}
    else:
        values = _values(environ)
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigurationError(_for_operator(str(error))) from None
    if settings.platform_database_url is not None and settings.database_url is None:
        raise ConfigurationError("SAAS_DATABASE_URL is missing beside SAAS_PLATFORM_DATABASE_URL")
    return settings


def _values(source: Mapping[str, str | None]) -> dict[str, str]:
    values: dict[str, str] = {}
    for variable, value in source.items():
        if variable.startswith(PREFIX) and value and variable not in _OF_COMMANDS:
            _put(values, variable, value)
    return values


def _put(values: dict[str, str], variable: str, value: str) -> None:
    name = variable.removeprefix(PREFIX).lower()
    if name.endswith("_file"):
        name = name.removesuffix("_file")
        try:
            value = Path(value).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{variable}: cannot read {value}: {error}") from None
    if name not in Settings.__struct_fields__:
        known = ", ".join(PREFIX + field.upper() for field in Settings.__struct_fields__)
        raise ConfigurationError(f"{variable} is no setting. The settings are: {known}")
    if name in values:
        raise ConfigurationError(f"{PREFIX}{name.upper()} is set twice, by value and by _FILE")
    values[name] = value


def _for_operator(message: str) -> str:
    reason, _, path = message.partition(" - at `$.")
    return f"{PREFIX}{path.rstrip('`').upper()}: {reason}" if path else reason
