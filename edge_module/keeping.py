"""The rows of the originals on this gateway's disk (originals.py has the files), and which of them may go."""

import sqlite3
from dataclasses import dataclass
from typing import Final

from edge_module.domain import Record, Variant
from edge_module.receipts import Read


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A kept original."""

    media_id: str
    name: str
    size_bytes: int
    going: bool


_MAY_GO: Final = """
    SELECT o.media_id, o.name, o.size_bytes, o.going, held.media_id IS NOT NULL AS is_held FROM original o
    LEFT JOIN upload held ON held.media_id = o.media_id AND held.variant = ? AND held.confirmed
    WHERE (o.released OR is_held OR o.going)
      AND NOT EXISTS (SELECT 1 FROM upload u WHERE u.media_id = o.media_id
                      AND (u.state IN ('ready', 'bundled') OR (u.state = 'done' AND u.confirmed = 0)))
      AND NOT EXISTS (SELECT 1 FROM record r WHERE r.media_id = o.media_id AND r.confirmed = 0)"""


def keep(connection: sqlite3.Connection, record: Record) -> None:
    """The original of a record is on the disk."""
    media_id = bytes.fromhex(record.media_id)
    connection.execute("UPDATE media SET original = 'kept' WHERE media_id = ?", (media_id,))
    connection.execute(
        """INSERT INTO original (media_id, name, size_bytes) VALUES (?, ?, ?)
           ON CONFLICT (media_id) DO UPDATE SET going = 0""",
        (media_id, record.path, record.size_bytes),
    )


def release(connection: sqlite3.Connection, media_id: str) -> bool:
    """A person says that an original need not be kept: at the ceiling of the disk it may go.

    Returns:
        Whether there is one.
    """
    return bool(
        connection.execute("UPDATE original SET released = 1 WHERE media_id = ?", (bytes.fromhex(media_id),)).rowcount
    )


def may_go(read: Read) -> list[Original]:
    """The originals that may be removed from the disk, those first that should go first.

    First those of which headquarters holds the original, then those that a person released; never one of which
    anything is owed: a verdict, or a picture that is made of it.
    """
    rows = read(f"{_MAY_GO} ORDER BY o.going DESC, is_held DESC, o.media_id", (Variant.ORIGINAL,))
    return [Original(media_id=row[0].hex(), name=row[1], size_bytes=row[2], going=bool(row[3])) for row in rows]


def going(connection: sqlite3.Connection, media_id: str) -> bool:
    """An original is about to be removed: nothing may be made of it any more.

    Returns:
        Whether it may go. Since `may_go` said so, somebody may have asked for a picture of it.
    """
    key = bytes.fromhex(media_id)
    if not connection.execute(f"{_MAY_GO} AND o.media_id = ?", (Variant.ORIGINAL, key)).fetchone():
        return False
    connection.execute("UPDATE original SET going = 1 WHERE media_id = ?", (key,))
    connection.execute("UPDATE media SET original = 'gone' WHERE media_id = ?", (key,))
    return True


def gone(connection: sqlite3.Connection, media_id: str) -> None:
    """It has been removed."""
    connection.execute("DELETE FROM original WHERE media_id = ? AND going", (bytes.fromhex(media_id),))
