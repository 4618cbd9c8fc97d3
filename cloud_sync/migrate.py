"""Bringing the database to the form that this version of headquarters needs (Alembic)."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from cloud_sync.database import transaction
from edge_module.errors import ConfigError

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


def migrate(engine: Engine) -> str:
    """Apply what is missing; again changes nothing. Returns the revision.

    Raises:
        StoreUnavailableError: the database is away.
    """
    with transaction(engine) as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return _revision(connection) or ""


def require_current(engine: Engine) -> None:
    """Refuse to work on a database of another form.

    Raises:
        ConfigError: it has to be migrated first, or is newer than this program.
        StoreUnavailableError: the database is away.
    """
    wanted = ScriptDirectory.from_config(_config()).get_current_head()
    with transaction(engine, writing=False) as connection:
        found = _revision(connection)
    if found != wanted:
        raise ConfigError(
            [f"the database is at revision {found or 'none'}, not {wanted}: run `python -m cloud_sync migrate`"]
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
