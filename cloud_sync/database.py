"""Connecting to the database, transactions, and its exceptions in the project's own words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NoSuchModuleError, StatementError

from edge_module.errors import ConfigError, PonyaError

_BUSY_TIMEOUT_S: Final = 30
_WRITES: Final = "ponya_writes"


class StoreUnavailableError(PonyaError):
    """The database is away, or too busy: wait and try the same again. Nothing of it was recorded."""


class StoreRefusedError(PonyaError):
    """The database refuses these values, and will again: set the message aside."""


def connect(database_url: str) -> Engine:
    """Make an engine; connects at the first transaction.

    Args:
        database_url: SQLAlchemy's form, ``sqlite:///ponya.db`` or ``postgresql+psycopg://...``.

    Raises:
        ConfigError: not such a URL.
    """
    try:
        url = make_url(database_url)
        name = url.get_backend_name()
        if name not in {"sqlite", "postgresql"}:
            raise ConfigError([f"PONYA_DATABASE_URL: {name} is not supported, sqlite and postgresql+psycopg are"])
        arguments = {"timeout": _BUSY_TIMEOUT_S} if name == "sqlite" else {"connect_timeout": 10}
        engine = create_engine(url, connect_args=arguments, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as exc:
        # Not its text: a URL may hold a password.
        raise ConfigError(["PONYA_DATABASE_URL: not a database URL such as sqlite:////var/lib/ponya/hq.db"]) from exc
    if name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's recipe: transactions begin where _begin_sqlite says
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turns writer cannot wait for another writer; one that begins as a writer can.
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def transaction(engine: Engine, *, writing: bool = True) -> Iterator[Connection]:
    """All or nothing.

    Raises:
        StoreUnavailableError: try again.
        StoreRefusedError: a value cannot be stored.
    """
    try:
        with engine.execution_options(**{_WRITES: writing}).begin() as connection:
            yield connection
    except (DataError, IntegrityError) as exc:
        raise StoreRefusedError(f"the database refuses it: {type(exc.orig).__name__}") from exc
    except DBAPIError as exc:
        raise StoreUnavailableError(f"the database is away: {str(exc.orig).splitlines()[0]}") from exc
    except StatementError as exc:
        raise StoreRefusedError(f"a value cannot be written: {type(exc.orig).__name__}") from exc
