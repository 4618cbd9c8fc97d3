"""Cards come and go: looks at the cards folder and reads what has not been read as it is now."""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_module import wire
from edge_module.breath import Breath
from edge_module.card import Mount
from edge_module.clock import Clock
from edge_module.domain import CardReceipt, Record
from edge_module.errors import CardError
from edge_module.ledger import Ledger, Reading
from edge_module.pipeline import Pipeline
from edge_module.settings import Settings

_log = logging.getLogger(__name__)
_FAILED_PAUSE_S: Final = 60.0
_FAILED_PAUSE_LONGEST_S: Final = 3600.0
_IDLE_SHARE: Final = 0.005
"""Of the time, at most this much goes into looking whether a card that has been read has grown."""


@dataclass(slots=True, kw_only=True)
class _Place:
    """What was met at one place, so that it is not looked at again too soon. Forgotten when the place is gone."""

    key: tuple[int, int, int]
    not_before_s: float = 0.0
    failures: int = 0


class Cards:
    """Reads the cards in a folder, one after another, for as long as it is told to."""

    def __init__(
        self,
        *,
        folder: Path,
        ledger: Ledger,
        pipeline: Callable[[Settings], Pipeline],
        settings: Callable[[], Settings],
        clock: Clock,
        wake_courier: Callable[[], None],
        stop: threading.Event,
        breath: Breath,
    ) -> None:
        self._folder = folder
        self._ledger = ledger
        self._pipeline = pipeline
        self._settings = settings
        self._clock = clock
        self._wake_courier = wake_courier
        self._stop = stop
        self._breath = breath
        self._places: dict[Path, _Place] = {}
        self.activity = "waiting for a card"
        self.reading = False

    def run(self) -> None:
        """Look, read, and look again until told to stop."""
        while not self._stop.is_set():
            roots = list(self._roots())
            self._breath.idle(s=self._settings().poll_s)
            self._places = {root: place for root, place in self._places.items() if root in roots}
            for root in roots:
                if self._stop.is_set():
                    return
                self._breath.idle(s=self._settings().poll_s)
                self._look_at(root)
            self._stop.wait(self._settings().poll_s)

    def _roots(self) -> Iterator[Path]:
        """What lies in the cards folder, one folder a card; a link stands for the folder that it leads to.

        Whoever may write here is trusted, unlike the cards: their own links are never followed.
        """
        try:
            entries = sorted(self._folder.iterdir())
        except OSError as exc:
            self.activity = f"cards folder {self._folder}: {exc.strerror}"
            return
        yield from (entry.resolve() for entry in entries if entry.is_dir())

    def _look_at(self, root: Path) -> None:
        try:
            status = root.stat()
        except OSError:
            return  # just taken out
        # Another card in its place has another key; not on FAT, hence `run` forgets a place where nothing is.
        key = (status.st_dev, status.st_ino, status.st_mtime_ns)
        place = self._places.get(root)
        if place is None or place.key != key:
            place = self._places[root] = _Place(key=key)
        try:
            began_s = self._clock.monotonic_s()
            if began_s < place.not_before_s:
                return
            mount = Mount(root, on_entry=self._breath.take)
            if self._ledger.last_complete(mount.identify().card_id) == mount.fingerprint():
                now_s = self._clock.monotonic_s()
                place.not_before_s = now_s + (now_s - began_s) / _IDLE_SHARE
                return
            receipt = self._read(mount)
        except CardError as exc:
            _log.warning("card %s: %s", root.name, exc)
            return
        if receipt.pending and not self._stop.is_set():
            # It failed: not again at once, the reason may be on the card for good; and people are told once.
            place.failures += 1
            pause_s = min(_FAILED_PAUSE_S * 2.0 ** min(place.failures - 1, 20), _FAILED_PAUSE_LONGEST_S)
            place.not_before_s = self._clock.monotonic_s() + pause_s
            if place.failures == 1:
                text = f"card {receipt.card_id}: {'; '.join(receipt.blockers)}"
                self._ledger.outbox.put(wire.Alert(code="card_interrupted", text=text, at=self._clock.now()))
        self._wake_courier()

    def _read(self, mount: Mount) -> CardReceipt:
        done, total = 0, 0

        def listed(reading: Reading) -> None:
            nonlocal total
            total = self._ledger.counts(reading)[0]

        def settled(records: list[Record]) -> None:
            nonlocal done
            done += len(records)
            self.activity = f"reading {mount.root.name}: {done} of {total} files"
            self._wake_courier()

        self.activity = f"listing {mount.root.name}"
        self.reading = True
        try:
            return self._pipeline(self._settings()).read(mount, settled, on_listed=listed)
        finally:
            self.reading = False
            self.activity = "waiting for a card"
