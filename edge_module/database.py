"""The ledger's file: SQLite in WAL mode with `synchronous=FULL`, one writer, and what happens when it is damaged.

A transaction that was committed survives a power cut; one that was not leaves no trace. Every step that a power cut
could hit is named (`on_step`), so that a test can cut there.
"""

import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from edge_module.errors import LedgerError, StorageError, Trouble

_log = logging.getLogger(__name__)

_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE reading (
  id INTEGER PRIMARY KEY,
  reading_id TEXT NOT NULL UNIQUE,
  card_id TEXT NOT NULL,
  state TEXT NOT NULL,
  listing INTEGER NOT NULL,          -- how often the card was listed in this reading
  why TEXT NOT NULL DEFAULT '',      -- why it was interrupted
  told BLOB NOT NULL DEFAULT x'',    -- fingerprint of the receipt that was owed last
  fingerprint BLOB NOT NULL DEFAULT x'',  -- of the listing: the same card need not be read twice
  told_safe INTEGER NOT NULL DEFAULT 0,   -- whether a receipt that says "safe to wipe" is owed or sent
  receipt TEXT                       -- the last receipt, once the rows below are compacted
);
CREATE INDEX reading_card ON reading (card_id);

-- One row a file of a reading. fate NULL: listed, not yet settled.
CREATE TABLE file (
  reading INTEGER NOT NULL,
  path BLOB NOT NULL,
  size_bytes INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  listing INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  fate TEXT,
  media_id BLOB NOT NULL DEFAULT x'',
  reason TEXT NOT NULL DEFAULT '',
  camera TEXT,
  captured_s INTEGER,                -- when the camera says it took it, UTC
  PRIMARY KEY (reading, path)
) WITHOUT ROWID;
CREATE INDEX file_pending ON file (reading, path) WHERE fate IS NULL;

-- Whose card it is, by headquarters' decision, and the cameras (a JSON list of serials) whose pictures lay on it then.
CREATE TABLE assignment (card_id TEXT PRIMARY KEY, deployment_key TEXT NOT NULL, serials TEXT NOT NULL) WITHOUT ROWID;

-- Kept for good: what bytes were judged to be, and where they were first met.
CREATE TABLE media (
  media_id BLOB PRIMARY KEY,
  fate TEXT NOT NULL,
  origin BLOB NOT NULL,              -- first 8 bytes of a hash of card and path
  original TEXT NOT NULL,            -- not_kept | owed | kept | gone
  stays_here INTEGER NOT NULL        -- no picture of it may leave the gateway
) WITHOUT ROWID;

-- The originals on this gateway's disk.
CREATE TABLE original (
  media_id BLOB PRIMARY KEY,
  name TEXT NOT NULL,                -- the file's name on its card: its suffix finds the original
  size_bytes INTEGER NOT NULL,
  released INTEGER NOT NULL DEFAULT 0,
  going INTEGER NOT NULL DEFAULT 0   -- about to be removed, or half removed
) WITHOUT ROWID;

-- What headquarters is owed of each file, until it has confirmed it. sequence NULL: not yet in a message.
CREATE TABLE record (
  id INTEGER PRIMARY KEY,
  card_id TEXT NOT NULL,
  path BLOB NOT NULL,
  media_id BLOB NOT NULL,
  model_id TEXT NOT NULL,
  reading_id TEXT NOT NULL,
  fate TEXT NOT NULL,
  body TEXT NOT NULL,
  sequence INTEGER,
  confirmed INTEGER NOT NULL DEFAULT 0,
  UNIQUE (card_id, path, media_id, model_id)
);
CREATE INDEX record_unpacked ON record (reading_id, model_id, id) WHERE sequence IS NULL;
CREATE INDEX record_unconfirmed ON record (media_id) WHERE confirmed = 0;
CREATE INDEX record_sequence ON record (sequence);

CREATE TABLE outbox (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,   -- never used twice
  kind TEXT NOT NULL,
  content_type TEXT NOT NULL,
  body BLOB NOT NULL,
  priority INTEGER NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  boot_id TEXT NOT NULL DEFAULT '',
  until_s REAL NOT NULL DEFAULT 0,              -- monotonic: end of the lease, or not to be tried before
  reason TEXT NOT NULL DEFAULT ''
);
CREATE INDEX outbox_state ON outbox (state, priority, sequence);

-- Pictures that headquarters is owed.
CREATE TABLE upload (
  media_id BLOB NOT NULL,
  variant TEXT NOT NULL,
  name TEXT NOT NULL,                           -- the file's name on its card: its suffix finds the original
  state TEXT NOT NULL,                          -- ready | bundled | done | failed
  rung INTEGER NOT NULL,                        -- ladder.Rung
  worth REAL NOT NULL,
  box TEXT NOT NULL DEFAULT '',                 -- what of the frame a crop shows, as JSON; empty: all of it
  picture BLOB,                                 -- where no original is kept to make it of; until it is stored
  sequence INTEGER,                             -- of its `media_stored` message
  confirmed INTEGER NOT NULL DEFAULT 0,         -- headquarters has seen it
  attempts INTEGER NOT NULL DEFAULT 0,
  boot_id TEXT NOT NULL DEFAULT '',
  until_s REAL NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (media_id, variant)
);
CREATE INDEX upload_due ON upload (rung, attempts, worth) WHERE state IN ('ready', 'bundled');
CREATE INDEX upload_sequence ON upload (sequence) WHERE confirmed = 0;

-- Of originals too large for one request: the blocks that storage has.
CREATE TABLE upload_block (
  media_id BLOB NOT NULL,
  block_id TEXT NOT NULL,
  PRIMARY KEY (media_id, block_id)
) WITHOUT ROWID;

-- One row: the day as budget.py last looked at it.
CREATE TABLE budget (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  number INTEGER NOT NULL,
  boot_id TEXT NOT NULL,
  monotonic_s REAL NOT NULL,
  time_s REAL NOT NULL,
  ends_s REAL NOT NULL,
  used_bytes INTEGER NOT NULL,
  review_crops INTEGER NOT NULL
);

-- What could not be delivered as it was; a tombstone went in its place.
CREATE TABLE buried (
  id INTEGER PRIMARY KEY,
  sequence INTEGER NOT NULL,
  kind TEXT NOT NULL,
  body BLOB NOT NULL,
  reason TEXT NOT NULL
);
"""

_LOG_LEFT_BYTES: Final = 4 * 2**20
"""What SQLite lets the log come to before it empties it anyway: 1,000 pages."""

Step = Callable[[str], None]


def no_step(_name: str) -> None:
    """Do nothing: what happens between the steps outside of a crash test."""


class Database:
    """An open, locked, checked ledger file. Writes go through one connection, one at a time."""

    def __init__(self, path: Path, *, exclusive: bool = True, on_step: Step = no_step) -> None:
        self._path = path
        self._step = on_step
        self._write_lock = threading.RLock()
        self._reader = threading.local()
        self._readers: dict[threading.Thread, sqlite3.Connection] = {}
        self._readers_lock = threading.Lock()
        self._lock_file = _lock(path) if exclusive else None
        try:
            self._connection = self._connect()
            self._check_and_create()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every connection and give up the lock. No thread may be using them any more."""
        for reader in self._readers.values():
            reader.close()
        if hasattr(self, "_connection"):
            self._connection.close()
        if self._lock_file is not None:
            self._lock_file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(self, name: str) -> Iterator[sqlite3.Connection]:
        """Write all or nothing.

        Raises:
            StorageError: the disk is full, read-only or failing; nothing of the transaction is kept.
            LedgerError: the file is damaged.
        """
        with self._write_lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._step(f"{name}:begun")
                yield self._connection
                self._step(f"{name}:written")
                self._connection.execute("COMMIT")
                self._step(f"{name}:committed")
            except sqlite3.Error as exc:
                self._roll_back()
                raise _error(f"ledger {self._path}: {exc}; nothing of this step was kept", exc) from exc
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # the first error is the one to report
                self._connection.execute("ROLLBACK")

    def read(self, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Run a query on this thread's own connection: sees what is committed.

        Raises:
            LedgerError: the file cannot be read.
        """
        return list(self.stream(sql, parameters))

    def stream(self, sql: str, parameters: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """As `read`, a row at a time. Nothing else may be read by this thread until the end.

        Raises:
            LedgerError: the file cannot be read.
        """
        connection = getattr(self._reader, "connection", None)
        try:
            if connection is None:
                connection = self._reader.connection = self._new_reader()
            yield from connection.execute(sql, parameters)
        except sqlite3.Error as exc:
            raise _error(f"ledger {self._path}: {exc}", exc) from exc

    def _new_reader(self) -> sqlite3.Connection:
        """Open a connection for this thread, and close those of threads that have ended: every card has new workers."""
        connection = self._connect()
        with self._readers_lock:
            for thread in [thread for thread in self._readers if not thread.is_alive()]:
                self._readers.pop(thread).close()
            self._readers[threading.current_thread()] = connection
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=30)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        # Of the log once it has been emptied: while somebody reads for long, as a slow stick does, it grows.
        connection.execute(f"PRAGMA journal_size_limit={_LOG_LEFT_BYTES}")
        # KiB, of each thread's connection: what a large card adds to the memory of a small one (python -m tests.bench).
        connection.execute("PRAGMA cache_size=-1000")
        return connection

    def _check_and_create(self) -> None:
        """Check the whole file before anything is believed; create it where there is none.

        Raises:
            sqlite3.DatabaseError: the file is damaged, or not a ledger.
            LedgerError: it was written by a newer version.
        """
        problems = [row[0] for row in self._connection.execute("PRAGMA quick_check(3)")]
        if problems != ["ok"]:
            raise sqlite3.DatabaseError("; ".join(problems))
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={_SCHEMA_VERSION};COMMIT;")
        elif version != _SCHEMA_VERSION:
            raise LedgerError(
                f"ledger {self._path}: has schema {version}, this software knows {_SCHEMA_VERSION}; update the software"
            )


_TROUBLES: Final = {
    sqlite3.SQLITE_FULL: Trouble.FULL,
    sqlite3.SQLITE_READONLY: Trouble.READ_ONLY,
    sqlite3.SQLITE_PERM: Trouble.READ_ONLY,
    sqlite3.SQLITE_IOERR: Trouble.FAILING,
    sqlite3.SQLITE_CANTOPEN: Trouble.FAILING,
    sqlite3.SQLITE_PROTOCOL: Trouble.FAILING,
}


def _error(text: str, exc: sqlite3.Error) -> LedgerError:
    trouble = _TROUBLES.get(getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF)
    return StorageError(text, trouble) if trouble else LedgerError(text)


def _lock(path: Path) -> "_File":
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _File(path.with_suffix(".lock"))
    except OSError as exc:
        raise LedgerError(f"ledger {path}: {exc.strerror}; set data_dir to a folder that can be written") from exc
    if not lock.acquire():
        lock.close()
        raise LedgerError(f"ledger {path}: in use by another process; end it, or set another data_dir")
    return lock


class _File:
    """A lock that the kernel gives up when the process dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acquire(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        os.close(self._fd)


_PARTS: Final = ("-wal", "-shm", "")
"""Of a ledger; the main file last: a power cut while it is set aside leaves that damaged, and noticed again."""

_ASIDE_MAX: Final = 2


def open_or_set_aside(path: Path, *, on_step: Step = no_step) -> tuple[Database, Path | None]:
    """Open the ledger; a damaged one is moved aside first and an empty one made in its place.

    Returns:
        The database, and where the damaged file now lies, if there was one.

    Raises:
        LedgerError: the folder cannot be written, or another process has the ledger.
    """
    try:
        return Database(path, on_step=on_step), None
    except sqlite3.OperationalError as exc:  # the environment's fault, not the file's
        raise LedgerError(f"ledger {path}: {exc}; free some space or set another data_dir") from exc
    except sqlite3.DatabaseError as exc:
        aside = path.with_name(f"{path.stem}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}{path.suffix}")
        _log.error("ledger %s is damaged (%s): set aside as %s, starting anew", path, exc, aside.name)
        for suffix in _PARTS:
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        _forget_older(aside, path.stem)
        return Database(path, on_step=on_step), aside


def _forget_older(aside: Path, stem: str) -> None:
    """Keep this damaged ledger and the one before it: storage that wears out damages one after another."""
    older = sorted(set(aside.parent.glob(f"{stem}.damaged-*{aside.suffix}")) - {aside})
    for damaged in older[: 1 - _ASIDE_MAX]:
        for suffix in _PARTS:
            with contextlib.suppress(OSError):
                damaged.with_name(damaged.name + suffix).unlink(missing_ok=True)
