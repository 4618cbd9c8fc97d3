"""Days of a gateway in minutes: the real ledger and couriers, on a clock that tests move, before a simulated cloud.

The cloud confirms whatever has arrived. What was sent is counted here once more, by who received it, day by day.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Final

from edge_module import audit, settings, wire
from edge_module.breath import unwatched
from edge_module.budget import MESSAGE_HEADER_BYTES
from edge_module.courier import Courier
from edge_module.domain import Box, CaptureTime, Card, Exif, Fate, Media, OffsetSource, Record, Scores
from edge_module.errors import TransientDelivery
from edge_module.ladder import Policy, wanted
from edge_module.listing import Listed
from edge_module.originals import Originals
from edge_module.pictures import PictureCourier
from edge_module.readings import Reading
from edge_module.settling import Finding
from tests.ledgers import TestClock, media, open_ledger
from tests.storage import SimulatedStore

DAY_S: Final = 86_400
BANDS: Final = ((0.0, 0.72), (0.004, 0.2), (0.02, 0.06), (0.08, 0.02))
"""An assumption: which probabilities of a red panda discards get, one from each band of the audit, and how often."""

_BOX: Final = Box(left=0.3, top=0.35, right=0.6, bottom=0.65)

Made = Callable[[int, Fate], bytes]


@dataclass
class CountingLink:
    """A link to the edge hub that counts, and fails as it is told."""

    fails: Callable[[], bool] = lambda: False
    connected: bool = True
    sent_bytes: int = 0
    messages: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def send(self, encoded: wire.Encoded, *, message_id: str | None) -> None:
        del message_id
        self.sent_bytes += len(encoded.body) + MESSAGE_HEADER_BYTES
        self.messages += 1
        self.kinds[encoded.kind] += len(encoded.body) + MESSAGE_HEADER_BYTES
        if self.fails():
            raise TransientDelivery("the link broke off")


@dataclass(frozen=True, kw_only=True)
class Frames:
    """What cameras took in a day."""

    discards: int
    reviews: int
    pandas: int


class DayByDay:
    """A gateway that gets a card a day."""

    def __init__(
        self,
        folder: Path,
        *,
        original: Made,
        thumbnail: bytes,
        values: Mapping[str, object] | None = None,
        seed: int = 0,
        ready: Callable[[Record], bytes | None] = lambda _record: None,
        failing: float = 0.0,
    ) -> None:
        """Begin at midnight where the cameras are.

        Args:
            folder: for the ledger and the originals.
            original: the file of a picture by its number and fate.
            thumbnail: what is sent of each discard that is drawn.
            values: of settings.
            seed: of everything that is left to chance.
            ready: a crop or frame that need not be made of the original; of the same size is enough.
            failing: the share of sends that fail.
        """
        self._folder, self._original, self._thumbnail, self._ready = folder, original, thumbnail, ready
        self.settings = settings.combine(("test", values or {}))
        self.random = random.Random(seed)
        self.clock = TestClock(wall=datetime(2026, 3, 14, tzinfo=UTC) - timedelta(minutes=345))
        self.link = CountingLink(fails=lambda: self.random.random() < failing)
        self.store = SimulatedStore()
        self._failing = failing
        self._began_s = self.clock.monotonic_s()
        self._counted = 0
        self.by_day: list[int] = []
        self._number = 0
        self.open()

    def open(self) -> None:
        """Start the gateway, or start it again."""
        self.ledger = open_ledger(self._folder, self.clock)
        self.ledger.forget_leases()
        self.originals = Originals(self._folder / "originals")
        self.courier = Courier(
            ledger=self.ledger, link=self.link, clock=self.clock, settings=lambda: self.settings,
            reading=lambda: False, beat=lambda: None,
        )  # fmt: skip
        self.courier.connected()
        self.pictures = PictureCourier(
            ledger=self.ledger, originals=self.originals, link=self.link, store=self.store, clock=self.clock,
            settings=lambda: self.settings, on_stored=lambda: None, beat=unwatched,
        )  # fmt: skip

    def restart(self) -> None:
        """End the process, as a power cut does, and start it again."""
        self.ledger.close()
        self.open()

    @property
    def sent_bytes(self) -> int:
        """Everything that left so far, by who received it."""
        return self.link.sent_bytes + self.store.sent_bytes

    def pass_s(self, seconds: float) -> None:
        """Time passes; what was sent is put down to the day that it was sent on."""
        self._count()
        self.clock.pass_s(seconds)
        self.clock.wall += timedelta(seconds=seconds)

    def _count(self) -> None:
        day = int((self.clock.monotonic_s() - self._began_s) // DAY_S)
        self.by_day += [0] * (day + 1 - len(self.by_day))
        self.by_day[day] += self.sent_bytes - self._counted
        self._counted = self.sent_bytes

    def card(self, frames: Frames) -> None:
        """A card is read: every verdict settled, originals kept, and its receipt owed."""
        card = Card(card_id=f"card-{self._number:08x}", source="serial")
        reading = self.ledger.begin(card)
        fates = [Fate.PANDA] * frames.pandas + [Fate.REVIEW] * frames.reviews
        fates += [self.random.choice((Fate.BLANK, Fate.BLANK, Fate.OTHER)) for _ in range(frames.discards)]
        self.random.shuffle(fates)
        files = list(self._files(fates))
        self.ledger.list_files(reading, (Listed(media=media(name, size_bytes=size)) for name, _, size, _, _ in files))
        found: list[Finding] = []
        for name, fate, size_bytes, number, content in files:
            media_file = media(name, size_bytes=size_bytes)
            found.append(self._finding(reading, media_file, fate, number, content))
            if len(found) == 100:
                self.ledger.settle(reading, found)
                found = []
        self.ledger.settle(reading, found)
        self.ledger.end(reading)

    def _files(self, fates: list[Fate]) -> Iterator[tuple[str, Fate, int, int, bytes]]:
        for i, fate in enumerate(fates):
            self._number += 1
            content = self._original(self._number, fate) if fate in (Fate.PANDA, Fate.REVIEW) else b""
            size_bytes = len(content) or 2_000_000 + self.random.randrange(3_000_000)
            yield f"DCIM/{100 + i // 999}RECNX/RCNX{i % 999:04}.JPG", fate, size_bytes, self._number, content

    def _finding(self, reading: Reading, file: Media, fate: Fate, number: int, content: bytes) -> Finding:
        kept = bool(content)
        digest = hashlib.sha256(content or b"%d" % number).hexdigest()
        local = (self.clock.wall + timedelta(minutes=345)).replace(microsecond=0, tzinfo=None) + timedelta(
            seconds=number % DAY_S
        )
        panda = self.random.uniform(0.3, 0.99) if kept else self._discards_panda()
        rest = 1 - panda
        record = Record(
            card_id=reading.card_id, reading_id=reading.reading_id, path=file.name, media_id=digest,
            model_id="5b1e04d9c3aa", event_id=f"{number // 3:012x}", fate=fate,
            scores=Scores(
                probabilities={
                    "red_panda": round(panda, 3), "other": round(rest * 0.3, 3), "blank": round(rest * 0.69, 3),
                    "human": round(rest * 0.01, 3),
                },
                night=number % 2 == 0, view="motion", box=_BOX if kept else None,
            ),
            exif=Exif(
                captured=CaptureTime(
                    exif_time=f"{local:%Y:%m:%d %H:%M:%S}", local=local, utc_offset_min=345,
                    offset_source=OffsetSource.SETTING,
                ),
                camera_make="RECONYX", camera_model="HYPERFIRE 2 COVERT", camera_serial="H2UH10156789",
            ),
            size_bytes=file.size_bytes,
        )  # fmt: skip
        record = replace(record, audit_probability=audit.drawn(record, self.settings.audit_per_mille))
        wants = wanted(record, Policy.of(self.settings), self._thumbnail)
        if kept and self._ready(record) is None:
            self.originals.keep(record, file.path, BytesIO(content))
        elif kept:
            made = self._ready(record) or b""
            wants = tuple(
                replace(want, picture=made[: 400_000 if want.variant == "frame" else 20_000]) for want in wants
            )
        return Finding(media=file, record=record, original_kept=kept, wants=wants)

    def _discards_panda(self) -> float:
        (panda,) = self.random.choices([p for p, _ in BANDS], [share for _, share in BANDS])
        return panda

    def carry(self) -> None:
        """Both couriers carry as much as they will, and headquarters confirms what it got."""
        self.store.fault = None
        while True:
            moved = self.courier.step().moved
            if self._failing and self.random.random() < self._failing:
                self.store.fault = TransientDelivery("the link broke off")
            more = self.pictures.step()
            self.store.fault = None
            if not moved and not more:
                break
        self.ledger.confirm(self._confirmation(), resend_older_than_s=0)
        self.ledger.compact()
        self._count()

    def _confirmation(self) -> wire.Confirmed:
        """Everything up to the first message that has not been sent yet."""
        waiting = [row[0] for row in self.ledger.outbox.rows() if row[2] != "sent"]
        through = min(waiting, default=self.ledger.outbox.highest() + 1) - 1
        return wire.Confirmed(ledger_id=self.ledger.ledger_id, through=through, highest=through)

    def status(self, measures: Mapping[str, float | str]) -> None:
        """The gateway says how it is."""
        if not self.ledger.outbox.holds("status"):
            self.ledger.outbox.put(wire.Status(at=self.clock.now(), measures=dict(measures)))
