"""A ledger for tests: a real one, on a disk, with a clock that tests move."""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_module import settings
from edge_module.database import Step, no_step
from edge_module.domain import Card, Fate, Media, Record, Scores
from edge_module.ladder import Policy, wanted
from edge_module.ledger import Ledger
from edge_module.listing import Listed
from edge_module.readings import Reading
from edge_module.settling import Finding

POLICY = Policy.of(settings.combine())
"""What travels unless something is set."""

CARD = Card(card_id="folder-0123456789ab", source="folder")


@dataclass
class TestClock:
    """A `clock.Clock` whose host can be waited on, set wrong and rebooted."""

    __test__ = False

    boot_id: str = "boot-1"
    uptime_s: float = 1000.0
    wall: datetime = field(default_factory=lambda: datetime(2026, 3, 14, tzinfo=UTC))

    def monotonic_s(self) -> float:
        return self.uptime_s

    def now(self) -> datetime:
        return self.wall

    def pass_s(self, seconds: float) -> None:
        self.uptime_s += seconds

    def reboot(self) -> None:
        """The monotonic clock starts anew: at less than before, or at more."""
        self.boot_id, self.uptime_s = f"{self.boot_id}+", 1.0


def open_ledger(folder: Path, clock: TestClock, *, on_step: Step = no_step) -> Ledger:
    ledger, aside = Ledger.open(folder / "ledger.sqlite", clock, on_step=on_step)
    assert aside is None
    return ledger


def media(path: str | bytes, *, size_bytes: int = 100, mtime_ns: int = 1) -> Media:
    return Media(path=path if isinstance(path, bytes) else path.encode(), size_bytes=size_bytes, mtime_ns=mtime_ns)


def sha256(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def finding(
    reading: Reading,
    file: Media,
    content: str,
    fate: Fate = Fate.OTHER,
    *,
    kept: bool = False,
    model_id: str = "model-1",
) -> Finding:
    """What a worker would find of a file with this content."""
    panda = {Fate.PANDA: 0.9, Fate.REVIEW: 0.3}.get(fate, 0.01)
    record = Record(
        card_id=reading.card_id,
        reading_id=reading.reading_id,
        path=file.name,
        media_id=sha256(content),
        model_id=model_id,
        event_id="event",
        fate=fate,
        scores=Scores(probabilities={"red_panda": panda, "blank": round(1 - panda, 3)}, night=False, view="full"),
        size_bytes=file.size_bytes,
    )
    if fate is Fate.UNREADABLE:
        record = replace(record, scores=None, model_id="", reason="damaged")
    return Finding(media=file, record=record, original_kept=kept, wants=wanted(record, POLICY))


def read_card(ledger: Ledger, files: dict[str, tuple[str, Fate]], *, kept: bool = True, card: Card = CARD) -> Reading:
    """List and settle a whole card: path to content and what the model says of it. The reading is not ended."""
    reading = ledger.begin(card)
    listed = [media(path, size_bytes=len(content) or 0) for path, (content, _) in sorted(files.items())]
    ledger.list_files(reading, (Listed(media=file) for file in listed))
    settle(ledger, reading, listed, files, kept=kept)
    return reading


def settle(
    ledger: Ledger, reading: Reading, listed: Iterable[Media], files: dict[str, tuple[str, Fate]], *, kept: bool = True
) -> list[Record]:
    return ledger.settle(
        reading,
        [
            finding(reading, file, *files[file.name], kept=kept and files[file.name][1] in ("panda", "review"))
            for file in listed
        ],
    )


def asked(data: Path, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """What the ledger of a gateway that runs says; nothing while there is none."""
    path = data / "ledger.sqlite"
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as connection:
        try:
            return connection.execute(sql, parameters).fetchall()
        except sqlite3.OperationalError:
            return []  # being made
