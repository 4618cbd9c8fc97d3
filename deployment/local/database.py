"""SQLite as every process of the local Azure uses it: nothing acknowledged is lost by a power cut."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployment.local.errors import LocalError


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Open or make a database: WAL, and each commit reaches the disk before it returns.

    Raises:
        LocalError: the file is damaged or cannot be opened.
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        path.chmod(0o600)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        if connection.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise LocalError(f"{path} is damaged: put it aside or bring back a copy")
        connection.executescript(schema)
    except sqlite3.Error as exc:
        raise LocalError(f"{path}: {exc}: put it aside or bring back a copy") from exc
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and on disk when it ends."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
