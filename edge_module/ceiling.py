"""How much of the disk kept originals may take, and what goes when it is reached.

First the originals that headquarters holds, then those that were released; what is owed never. If that is not enough,
reading pauses: whoever wants to keep another original waits here, headquarters is told once, and reading goes on by
itself when there is room. Together the workers may pass the ceiling by one original each.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

from edge_module import wire
from edge_module.breath import Beat, unwatched
from edge_module.clock import Clock
from edge_module.errors import BusyError, CardError
from edge_module.ledger import Ledger
from edge_module.originals import Originals, always
from edge_module.settings import Settings

_log = logging.getLogger(__name__)
_LOOK_AGAIN_S: Final = 5.0


class Ceiling:
    """The ceiling of one folder of originals. `make_room` may be called from any thread."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        originals: Originals,
        settings: Callable[[], Settings],
        clock: Clock,
        stop: threading.Event,
        wait: bool,
        beat: Beat = unwatched,
    ) -> None:
        """Put it together.

        Args:
            ledger: knows what may go.
            originals: what is kept.
            settings: those in force now.
            clock: for what headquarters is told.
            stop: set when the process ends.
            wait: for room, as a gateway does; otherwise the reading is interrupted.
            beat: called while it waits: nothing is stuck.
        """
        self._ledger = ledger
        self._originals = originals
        self._settings = settings
        self._clock = clock
        self._stop = stop
        self._wait = wait
        self._beat = beat
        self._one_at_a_time = threading.Lock()
        self._told = False
        self.paused = False

    def limit_bytes(self) -> int:
        """What originals may take."""
        settings = self._settings()
        share_bytes = int(settings.originals_max_share * self._originals.disk_bytes())
        return min(share_bytes, settings.originals_max_bytes or share_bytes)

    def finish(self) -> None:
        """Remove what was about to be removed when the power was cut."""
        for original in self._ledger.may_go():
            if original.going:
                self._remove(original.media_id, original.name)

    def make_room(self, size_bytes: int, *, patient: bool = True, still: Callable[[], None] = always) -> None:
        """Return when there is room for another original.

        Args:
            size_bytes: of the original.
            patient: whether whoever wants it can wait, as a reading can and an answer cannot.
            still: asked now and then while it waits; raises `CardError` where there is nothing to wait for any more.

        Raises:
            CardError: there is none, and nobody waits for it (any more).
            BusyError: there is none now, and whoever wants it is not patient.
        """
        if not patient:
            self._make_room_now(size_bytes)
            return
        with self._one_at_a_time:
            try:
                while not self._has_room(size_bytes):
                    still()
                    self._tell()
                    self._beat(allow_s=_LOOK_AGAIN_S)
                    if not self._wait or self._stop.wait(_LOOK_AGAIN_S):
                        raise CardError("no room for its originals: " + self._why())
            finally:
                self.paused = False
            if self._told:
                _log.warning("reading goes on: there is room for originals again")
            self._told = False

    def _make_room_now(self, size_bytes: int) -> None:
        if not self._one_at_a_time.acquire(blocking=False):  # a reading waits, or is being made room for
            raise BusyError("no room for its original now: " + self._why())
        try:
            if not self._has_room(size_bytes):
                raise BusyError("no room for its original now: " + self._why())
        finally:
            self._one_at_a_time.release()

    def _has_room(self, size_bytes: int) -> bool:
        limit_bytes = self.limit_bytes()
        if self._originals.taken_bytes + size_bytes <= limit_bytes:
            return True
        for original in self._ledger.may_go():
            self._remove(original.media_id, original.name)
            if self._originals.taken_bytes + size_bytes <= limit_bytes:
                return True
        return False

    def _remove(self, media_id: str, name: str) -> None:
        if not self._ledger.going(media_id):
            return
        self._originals.remove(media_id, name)
        self._ledger.gone(media_id)
        _log.info("original %s removed: headquarters holds it, or it was released", media_id)

    def _tell(self) -> None:
        self.paused = True
        if not self._told:
            self._told = True
            _log.error("reading pauses: %s", self._why())
            text = f"reading pauses: {self._why()}"
            self._ledger.outbox.put(wire.Alert(code="originals_ceiling", text=text, at=self._clock.now()))

    def _why(self) -> str:
        taken, limit = (f"{n / 1e6:,.0f} MB" for n in (self._originals.taken_bytes, self.limit_bytes()))
        return (
            f"kept originals take {taken} of the {limit} that they may; release some (releaseMedia), ask for some"
            " (uploadMedia), or raise originals_max_share or originals_max_bytes"
        )
