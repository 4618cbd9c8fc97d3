"""Cards come and go: looks at the cards folder and reads what has not been read as it is now."""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from edge_module import wire
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
    ) -> None:
        self._folder = folder
        self._ledger = ledger
        self._pipeline = pipeline
        self._settings = settings
        self._clock = clock
        self._wake_courier = wake_courier
        self._stop = stop
        self._not_before_s: dict[tuple[int, int, int], float] = {}
        self._failures: dict[tuple[int, int, int], int] = {}
        self.activity = "waiting for a card"
        self.reading = False

    def run(self) -> None:
        """Look, read, and look again until told to stop."""
        while not self._stop.is_set():
            for root in self._roots():
                if self._stop.is_set():
                    return
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
        key = (status.st_dev, status.st_ino, status.st_mtime_ns)  # another card in its place has another
        try:
            began_s = self._clock.monotonic_s()
            if began_s < self._not_before_s.get(key, 0):
                return
            mount = Mount(root)
            if self._ledger.last_complete(mount.identify().card_id) == mount.fingerprint():
                now_s = self._clock.monotonic_s()
                self._not_before_s[key] = now_s + (now_s - began_s) / _IDLE_SHARE
                return
            receipt = self._read(mount)
        except CardError as exc:
            _log.warning("card %s: %s", root.name, exc)
            return
        if receipt.pending and not self._stop.is_set():
            # It failed: not again at once, the reason may be on the card for good; and people are told once.
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            pause_s = min(_FAILED_PAUSE_S * 2.0 ** min(failures - 1, 20), _FAILED_PAUSE_LONGEST_S)
            self._not_before_s[key] = self._clock.monotonic_s() + pause_s
            if failures == 1:
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
