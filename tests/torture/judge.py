"""What must hold after a round, and what must never happen in one. Reads the databases and the storage themselves."""

import contextlib
import hashlib
import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from azure.storage.blob import BlobServiceClient

from edge_module.domain import Fate
from edge_module.receipts import receipt, within

_NOT_COMPARED: Final = ("gateway_id", "ledger_id", "sequence")
"""Columns of a record that say how it came, not what it says."""

_SAMPLE_S: Final = 0.1
_GATEWAY_ALERTS_ALLOWED: Final = {"card_interrupted"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What an undisturbed run came to for one card.

    Args:
        rows: headquarters' records by their key, without `_NOT_COMPARED`.
        pictures: SHA-256 and size in bytes of each picture that headquarters is owed, by (media_id, variant).
        receipt: the last receipt.
    """

    rows: dict[bytes, dict[str, Any]]
    pictures: dict[tuple[str, str], tuple[str, int]]
    receipt: dict[str, Any]


def recorded(database: Path, card_id: str) -> Expected:
    """What headquarters' database holds of a card now."""
    with _reading(database) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT * FROM records WHERE card_id = ?", (card_id,))]
        media = connection.execute(
            """SELECT DISTINCT m.* FROM media m JOIN records r ON r.media_id = m.media_id WHERE r.card_id = ?""",
            (card_id,),
        ).fetchall()
        receipts = connection.execute("SELECT receipt FROM receipts WHERE card_id = ?", (card_id,)).fetchall()
    return Expected(
        rows={
            row["record_key"]: {name: value for name, value in row.items() if name not in _NOT_COMPARED} for row in rows
        },
        pictures={(m["media_id"], m["variant"]): (m["blob_sha256"], m["size_bytes"]) for m in media},
        receipt=json.loads(receipts[0]["receipt"]) if len(receipts) == 1 else {},
    )


def settled(database: Path, data: Path, cards: dict[str, Expected]) -> bool:
    """Whether headquarters holds everything that is expected and the gateway owes nothing but word of its health."""
    for card_id, expected in cards.items():
        now = recorded(database, card_id)
        if now.rows.keys() < expected.rows.keys() or now.pictures.keys() < expected.pictures.keys():
            return False
        if now.receipt.get("safe_to_wipe") is not True:
            return False
    return at_rest(data)


def owed(data: Path) -> str:
    """What a gateway still owes, for people."""
    try:
        with _reading(data / "ledger.sqlite") as ledger:
            outbox = ledger.execute("SELECT sequence, kind, state, attempts, reason FROM outbox LIMIT 10").fetchall()
            upload = ledger.execute("SELECT hex(media_id), state, attempts, reason FROM upload WHERE state <> 'done'")
            reading = ledger.execute("SELECT reading_id, state, told_safe, why FROM reading ORDER BY id DESC LIMIT 1")
            said = {"outbox": outbox, "upload": upload.fetchall(), "reading": reading.fetchall()}
            return str({name: [tuple(row) for row in rows] for name, rows in said.items()})
    except sqlite3.Error as exc:
        return f"ledger: {exc}"


def at_rest(data: Path) -> bool:
    """Whether a gateway has read what it has, and owes nothing but word of its health."""
    try:
        with _reading(data / "ledger.sqlite") as ledger:
            owed = ledger.execute(
                """SELECT (SELECT count(*) FROM outbox WHERE kind <> 'status')
                   + (SELECT count(*) FROM upload WHERE state <> 'done')
                   + (SELECT count(*) FROM record WHERE confirmed = 0)
                   + (SELECT count(*) FROM reading WHERE state <> 'complete' OR told_safe = 0)"""
            ).fetchone()[0]
    except sqlite3.Error:
        return False
    return bool(owed == 0)


class Witness:
    """Looks, many times a second, whether anybody says *safe to wipe* while headquarters lacks a row.

    Attributes:
        faults: what it saw that must not be.
        safe_after_s: when *safe* was first seen, after the card was put in; None if never.
        held_after_s: when headquarters' database was first seen to hold every row.
    """

    def __init__(self, database: Path, data: Path, card_id: str, expected: Expected) -> None:
        self.faults: list[str] = []
        self.safe_after_s: float | None = None
        self.held_after_s: float | None = None
        self.samples = 0
        self._database = database
        self._data = data
        self._card_id = card_id
        self._expected = expected
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witness", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            try:
                self._sample()
            except sqlite3.OperationalError:
                continue  # a database that is just being made, or busy: the next look will do
            except Exception as exc:
                self.faults.append(f"the witness failed: {exc!r}")
                return

    def _sample(self) -> None:
        # First what is said, then what is held: rows are never removed, so a row that lacks now lacked then.
        said = self._who_says_safe()
        with _reading(self._database) as hq:
            held = {row[0] for row in hq.execute("SELECT record_key FROM records WHERE card_id = ?", (self._card_id,))}
        now = time.monotonic() - self._began
        missing = len(self._expected.rows.keys() - held)
        self.samples += 1
        if not missing and self.held_after_s is None:
            self.held_after_s = now
        if said and self.safe_after_s is None:
            self.safe_after_s = now
            self.faults += [f"safe to wipe, and the gateway lacks the original {n}" for n in self._originals_missing()]
        if said and missing:
            self.faults.append(f"{said} said safe to wipe at {now:.2f} s, headquarters lacked {missing} rows")

    def _who_says_safe(self) -> str:
        with _reading(self._database) as hq:
            if hq.execute("SELECT 1 FROM receipts WHERE card_id = ? AND safe_to_wipe", (self._card_id,)).fetchone():
                return "headquarters"
        if not (self._data / "ledger.sqlite").exists():
            return ""
        with _reading(self._data / "ledger.sqlite") as ledger:
            query = "SELECT reading_id FROM reading WHERE card_id = ?"
            for (reading_id,) in ledger.execute(query, (self._card_id,)).fetchall():
                if receipt(within(ledger), reading_id).safe_to_wipe:
                    return "the gateway"
        return ""

    def _originals_missing(self) -> list[str]:
        return originals_missing(self._data, self._expected)


def originals_missing(data: Path, expected: Expected) -> list[str]:
    """Originals of `panda` and `review` that are not on the gateway's disk as they were on the card."""
    wanted = {row["media_id"] for row in expected.rows.values() if row["fate"] in ("panda", "review")}
    missing = []
    for media_id in sorted(wanted):
        kept = [p for p in (data / "originals" / media_id[:2]).glob(f"{media_id}.*") if p.suffix != ".json"]
        if len(kept) != 1 or hashlib.sha256(kept[0].read_bytes()).hexdigest() != media_id:
            missing.append(media_id)
    return missing


def differences(expected: Expected, found: Expected) -> list[str]:
    """What in headquarters' database is not as in the undisturbed run."""
    wanted_keys, found_keys = expected.rows.keys(), found.rows.keys()
    faults = [f"row lost: {expected.rows[key]['path']}" for key in wanted_keys - found_keys]
    faults += [f"row too many: {found.rows[key]}" for key in found_keys - wanted_keys]
    for key in wanted_keys & found_keys:
        wanted, got = expected.rows[key], found.rows[key]
        if wanted != got:
            other = {name: (wanted[name], got[name]) for name in wanted if wanted[name] != got[name]}
            faults.append(f"row differs: {wanted['path']}: {other}")
    held_back = {row["media_id"] for row in found.rows.values() if row["fate"] == "human" or row["withheld"]}
    faults += [
        f"{variant} of {media_id} left the gateway, and there may be a person in it"
        for media_id, variant in found.pictures
        if media_id in held_back and variant != "withheld"
    ]
    if expected.pictures != found.pictures:
        faults.append(f"pictures differ: {expected.pictures.items() ^ found.pictures.items()}")
    if expected.receipt != found.receipt:
        faults.append(f"receipt differs: {found.receipt}, undisturbed {expected.receipt}")
    fates = Counter(row["fate"] for row in found.rows.values())
    said = {fate: found.receipt.get(fate) for fate in Fate}
    if said != {fate: fates[fate] for fate in Fate} or found.receipt.get("seen") != len(found.rows):
        faults.append(f"the receipt does not balance: {found.receipt}, rows {dict(fates)}")
    return faults


class Storage:
    """The gateway's container."""

    def __init__(self, connection_string: str, container: str) -> None:
        self._container = BlobServiceClient.from_connection_string(connection_string).get_container_client(container)
        self._known: set[str] = set()

    def faults(self, expected: Expected) -> list[str]:
        """What is wrong among the blobs that have come since the last call."""
        names = {blob.name for blob in self._container.list_blobs()} - self._known
        self._known |= names
        faults = []
        for (media_id, variant), (sha256, size_bytes) in expected.pictures.items():
            its = [name for name in names if name.startswith(f"{variant}/{media_id}")]
            names -= set(its)
            if len(its) != 1:
                faults.append(f"{variant} of {media_id} is in storage {len(its)} times")
                continue
            content = self._container.download_blob(its[0]).readall()
            if hashlib.sha256(content).hexdigest() != sha256 or len(content) != size_bytes:
                faults.append(f"blob {its[0]} has other bytes than in the undisturbed run")
        return [*faults, *(f"blob too many: {name}" for name in names)]


class Complaints:
    """What headquarters' database says went wrong, beyond what is ordinary in a storm."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._known: set[tuple[Any, ...]] = set()

    def new(self) -> list[str]:
        """What is new since the last call."""
        with _reading(self._database) as hq:
            said = {
                *map(tuple, hq.execute("SELECT 'alert', source, code, text FROM alerts")),
                *map(tuple, hq.execute("SELECT 'held', code, reason, '' FROM held_bodies")),
                *map(tuple, hq.execute("SELECT 'message', kind, state, sequence FROM messages WHERE state = 'parked'")),
                *map(tuple, hq.execute("SELECT 'tombstone', buried_kind, reason, '' FROM tombstones")),
            }
        new, self._known = said - self._known, said
        return [
            "headquarters: " + " ".join(map(str, one))
            for one in sorted(new, key=str)
            if not (one[:2] == ("alert", "gateway") and one[2] in _GATEWAY_ALERTS_ALLOWED)
        ]


@contextlib.contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)
    try:
        yield connection
    finally:
        connection.close()
