"""What a reading of a card came to: the balance, and whether the card may be wiped (design, guarantee 1)."""

import json
import sqlite3
from collections.abc import Callable
from typing import Any, Final

from edge_module import as_json, whose
from edge_module.domain import Belonging, CardReceipt, Fate, NamedFile, ReadingState
from edge_module.errors import LedgerError

NAMED_FILES_MAX: Final = 100
"""A receipt travels in one message of at most 256 KB; the ledger names every file."""
_NAMED_MAX_BYTES: Final = 128 * 1024
"""A control character in a name takes six bytes of JSON."""
_NAMED_PATH_MAX: Final = 500

_LOST_BY_WIPING: Final = (Fate.OTHER, Fate.BLANK, Fate.HUMAN, Fate.UNREADABLE)

Read = Callable[[str, tuple[object, ...]], list[tuple[Any, ...]]]


def within(connection: sqlite3.Connection) -> Read:
    """Read as an open transaction sees it; `Database.read` sees what is committed."""
    return lambda sql, parameters: connection.execute(sql, parameters).fetchall()


def receipt(read: Read, reading_id: str) -> CardReceipt:
    """Count a reading from the ledger's rows, or give the receipt that was kept when they were compacted.

    Raises:
        LedgerError: there is no such reading.
    """
    rows = read("SELECT id, card_id, state, why, receipt FROM reading WHERE reading_id = ?", (reading_id,))
    if not rows:
        raise LedgerError(f"there is no reading {reading_id}")
    row_id, card_id, state, why, kept = rows[0]
    if kept is not None:
        return as_json.receipt_from_json(json.loads(kept))
    counts, pending = _counts(read, row_id)
    unconfirmed = _one(read, _UNCONFIRMED, row_id)
    originals_owed = _one(read, _ORIGINALS_OWED, row_id)
    folders = _one(read, "SELECT count(*) FROM file WHERE reading = ? AND substr(path, -1) = x'2f'", row_id)
    named = _named(read, row_id)
    named_count = _one(read, "SELECT count(*) FROM file WHERE reading = ? AND reason <> ''", row_id)
    blockers = [
        (state != ReadingState.COMPLETE, f"the reading is not complete{': ' if why else ''}{why}"),
        (pending, f"{pending} files have not been read"),
        (folders, f"{folders} folders could not be read: nobody knows what is in them"),
        (originals_owed, f"{originals_owed} originals are to be kept and are not on this gateway yet"),
        (unconfirmed, f"headquarters has not confirmed {unconfirmed} verdicts"),
    ]
    return CardReceipt(
        card_id=card_id,
        reading_id=reading_id,
        state=ReadingState(state),
        counts=counts,
        pending=pending,
        unconfirmed=unconfirmed,
        originals_owed=originals_owed,
        destroyed_by_wiping=sum(counts[fate] for fate in _LOST_BY_WIPING),
        blockers=tuple(text for holds, text in blockers if holds),
        named=named,
        named_omitted=named_count - len(named),
        cameras=dict(
            read(
                "SELECT camera, count(*) FROM file WHERE reading = ? AND camera IS NOT NULL GROUP BY camera LIMIT 20",
                (row_id,),
            )
        ),
        belonging=_belonging(read, card_id, row_id),
    )


def recent(read: Read, count: int) -> list[CardReceipt]:
    """What the last readings came to, the latest first."""
    rows = read("SELECT reading_id FROM reading ORDER BY id DESC LIMIT ?", (count,))
    return [receipt(read, str(reading_id)) for (reading_id,) in rows]


def cameras(read: Read, row_id: int) -> list[whose.Camera]:
    """When each camera whose pictures lie on the card took them."""
    return [
        whose.Camera(serial=serial, first_s=first_s, last_s=last_s)
        for serial, first_s, last_s in read(
            """SELECT camera, min(captured_s), max(captured_s) FROM file
               WHERE reading = ? AND captured_s IS NOT NULL GROUP BY camera LIMIT 100""",
            (row_id,),
        )
    ]


def _belonging(read: Read, card_id: str, row_id: int) -> Belonging:
    told = read("SELECT value FROM meta WHERE key = 'deployments'", ())
    deployments = whose.deployments_from_twin(json.loads(told[0][0])) if told else ()
    decided = read("SELECT deployment_key, serials FROM assignment WHERE card_id = ?", (card_id,))
    assigned = (
        whose.Assignment(deployment_key=decided[0][0], serials=frozenset(json.loads(decided[0][1])))
        if decided
        else None
    )
    return whose.decide(card_id, cameras(read, row_id), deployments, assigned)


# A file waits for the confirmation of every record of its bytes: a duplicate shares its twin's, and a file read again
# that of its first reading.
_UNCONFIRMED: Final = """
SELECT count(*) FROM file f JOIN reading g ON g.id = f.reading WHERE f.reading = ? AND (
  (f.media_id <> x'' AND EXISTS (SELECT 1 FROM record r WHERE r.media_id = f.media_id AND r.confirmed = 0))
  OR (f.media_id = x'' AND EXISTS (SELECT 1 FROM record r WHERE r.media_id = x'' AND r.confirmed = 0
      AND r.card_id = g.card_id AND r.path = f.path)))
"""

_ORIGINALS_OWED: Final = """
SELECT count(DISTINCT m.media_id) FROM file f JOIN media m ON m.media_id = f.media_id
WHERE f.reading = ? AND m.original = 'owed'
"""


def _named(read: Read, row_id: int) -> tuple[NamedFile, ...]:
    named: list[NamedFile] = []
    room_bytes = _NAMED_MAX_BYTES
    for path, fate, reason in read(
        f"SELECT path, fate, reason FROM file WHERE reading = ? AND reason <> '' ORDER BY path LIMIT {NAMED_FILES_MAX}",  # noqa: S608
        (row_id,),
    ):
        shown = path.decode("utf-8", "backslashreplace")[:_NAMED_PATH_MAX]
        room_bytes -= len(json.dumps([shown, reason]))
        if room_bytes < 0:
            break
        named.append(NamedFile(path=shown, fate=Fate(fate) if fate else None, reason=reason))
    return tuple(named)


def _counts(read: Read, row_id: int) -> tuple[dict[Fate, int], int]:
    found: dict[Any, int] = dict(read("SELECT fate, count(*) FROM file WHERE reading = ? GROUP BY fate", (row_id,)))
    return {fate: found.get(fate, 0) for fate in Fate}, found.get(None, 0)


def _one(read: Read, sql: str, row_id: int) -> int:
    return int(read(sql, (row_id,))[0][0])
