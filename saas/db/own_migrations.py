"""Migrations of another project that keeps its tables in the same database: its own folder of
revisions and its own count, made and run as the product's are."""

from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from alembic.script import Script
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from saas.db.migrate import VERSION_TABLE, migration_config, reason_of
from saas.db.models import Base
from saas.errors import ConfigurationError


class OwnMigrations(NamedTuple):
    """The revisions in `folder` of the project `name`. Import the project's models before `revise`;
    the product's tables are known by themselves, and only the product's own migrations change
    them. Tables that neither knows are left alone. `url` is a libpq address of saas_migrator, of a
    database where the product's migrations have run."""

    name: str
    folder: Path

    def revise(self, url: str, message: str) -> Path | None:
        """Compare the models with the database and write what is missing: tables, keys, row-level
        security, grants and audit triggers. The new file, to be read and kept; None where nothing
        has changed. Raises ConfigurationError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self._config(url)
        # Where nothing has changed, none is written.
        config.attributes["autogenerate"] = True
        try:
            script = command.revision(config, message, autogenerate=True)
        except (DBAPIError, CommandError) as error:
            raise ConfigurationError(f"no migration written: {reason_of(error)}") from error
        return Path(script.path) if isinstance(script, Script) else None

    def upgrade(self, url: str, revision: str = "head") -> None:
        """Bring the database to `revision`, one migrator at a time. Raises ConfigurationError."""
        try:
            command.upgrade(self._config(url), revision)
        except (DBAPIError, CommandError) as error:
            raise ConfigurationError(f"migration failed: {reason_of(error)}") from error

    def downgrade(self, url: str, revision: str = "-1") -> None:
        """Take the last revision back, or go back to `revision`. Raises ConfigurationError."""
        try:
            command.downgrade(self._config(url), revision)
        except (DBAPIError, CommandError) as error:
            raise ConfigurationError(f"migration failed: {reason_of(error)}") from error

    def _config(self, url: str) -> Config:
        # What the project's tables refer to.
        import_module("saas.schema")
        config = migration_config(url)
        config.set_main_option("version_locations", str(self.folder).replace("%", "%%"))
        config.attributes["metadata"] = Base.metadata
        config.attributes["version_table"] = f"{self.name}_{VERSION_TABLE}"
        return config
