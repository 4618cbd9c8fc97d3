"""Which pictures headquarters is owed, and what became of them.

====== =========================================== ======================================================
state  event                                       next state
====== =========================================== ======================================================
       an original is kept                         ready
ready  next: somebody tries                        ready, not to be tried again before its lease ends
ready  stored: the blob is there                   done, and `media_stored` is owed in the same transaction
ready  later: it did not go through                ready, not before a delay
ready  fail: it can never be made or stored        failed, and an alert is owed in the same transaction
====== =========================================== ======================================================

A variant is a picture made of the original: until the bandwidth ladder chooses, one ``frame`` of each kept original.
"""

import sqlite3
from dataclasses import dataclass
from typing import Final

from edge_module import wire
from edge_module.clock import Clock
from edge_module.database import Database
from edge_module.domain import Record
from edge_module.outbox import Outbox

FRAME: Final = "frame"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A picture to be made and stored."""

    media_id: str
    variant: str
    name: str
    attempts: int


def owe_upload(connection: sqlite3.Connection, record: Record) -> None:
    """Owe headquarters a frame of a kept original; of what could not be scored there is none to make."""
    if record.scores is not None:
        connection.execute(
            "INSERT OR IGNORE INTO upload (media_id, variant, name, state) VALUES (?, ?, ?, 'ready')",
            (bytes.fromhex(record.media_id), FRAME, record.path),
        )


class Uploads:
    """The pictures of one ledger that are on their way."""

    def __init__(self, database: Database, outbox: Outbox, clock: Clock) -> None:
        self._database = database
        self._outbox = outbox
        self._clock = clock

    def next(self, *, lease_s: float) -> Upload | None:
        """Take the next picture, the least tried first; None when none is due."""
        now, boot = self._clock.monotonic_s(), self._clock.boot_id
        with self._database.transaction("upload") as connection:
            row = connection.execute(
                """SELECT media_id, variant, name, attempts FROM upload
                   WHERE state = 'ready' AND (boot_id <> ? OR until_s <= ?)
                   ORDER BY attempts, media_id LIMIT 1""",
                (boot, now),
            ).fetchone()
            if row is None:
                return None
            media_id, variant, name, attempts = row
            connection.execute(
                "UPDATE upload SET attempts = ?, boot_id = ?, until_s = ? WHERE media_id = ? AND variant = ?",
                (attempts + 1, boot, now + lease_s, media_id, variant),
            )
        return Upload(media_id=media_id.hex(), variant=variant, name=name, attempts=attempts + 1)

    def stored(self, upload: Upload, message: wire.MediaStored) -> None:
        """The blob is there: say so to headquarters."""
        with self._database.transaction("stored") as connection:
            self._set(connection, upload, state="done")
            self._outbox.insert(connection, message)

    def later(self, upload: Upload, *, delay_s: float, reason: str) -> None:
        """It did not go through: try again after a delay."""
        with self._database.transaction("later") as connection:
            self._set(connection, upload, until_s=self._clock.monotonic_s() + delay_s, reason=reason)

    def fail(self, upload: Upload, *, reason: str) -> None:
        """It can never be stored: give up and tell headquarters."""
        text = f"picture {upload.media_id}: {upload.variant} cannot be delivered: {reason}"
        with self._database.transaction("fail") as connection:
            self._set(connection, upload, state="failed", reason=reason)
            alert = wire.Alert(code="picture_undeliverable", text=text, at=self._clock.now())
            self._outbox.insert(connection, alert)

    def _set(
        self,
        connection: sqlite3.Connection,
        upload: Upload,
        *,
        state: str = "ready",
        until_s: float = 0,
        reason: str = "",
    ) -> None:
        connection.execute(
            """UPDATE upload SET state = ?, boot_id = ?, until_s = ?, reason = ?
               WHERE media_id = ? AND variant = ?""",
            (state, self._clock.boot_id, until_s, reason, bytes.fromhex(upload.media_id), upload.variant),
        )

    def retry(self) -> int:
        """Try everything again at once, what was given up too. Returns how many were waiting."""
        with self._database.transaction("retry") as connection:
            return connection.execute(
                """UPDATE upload SET state = 'ready', until_s = 0
                   WHERE state = 'failed' OR (state = 'ready' AND until_s > 0)"""
            ).rowcount

    def waiting(self) -> int:
        """How many pictures are still owed."""
        return int(self._database.read("SELECT count(*) FROM upload WHERE state = 'ready'")[0][0])
