"""The end of the process: asked for by a signal or by what went wrong, in order if it can be, by force if not.

A read from a card can block in the kernel, where nothing breaks it off, and so can a disk. The ledger is in order at
every instant (guarantee 4), so that an end by force costs the work in flight and no more.
"""

import logging
import os
import signal
import threading
import time
from typing import Final

_log = logging.getLogger(__name__)

_LIMIT_S: Final = 8.0
"""IoT Edge kills a module ten seconds after it asked it to end."""

_SAY_S: Final = 0.2

STALLED: Final = 70
"""Exit status after a stall: `EX_SOFTWARE` of sysexits.h."""


class Ending:
    """Ends the process: `stop` asks everybody, and what has not ended within seconds after that is cut off.

    Args:
        asked: exit status of an end that somebody asked for.
    """

    def __init__(self, *, asked: int) -> None:
        self.stop = threading.Event()
        self.status = asked
        self.failed = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        threading.Thread(target=self._end, name="ending", daemon=True).start()

    def on_signals(self) -> None:
        """Begin on SIGINT and SIGTERM. To be called in the main thread."""
        # The byte is written in C, whatever the main thread is at: an event that is set in a Python handler waits for
        # itself when the signal comes while the main thread waits for it.
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)

    def begin(self, status: int) -> None:
        """Begin, because something went wrong."""
        if not self.stop.is_set():
            self.status, self.failed = status, True
            os.write(self._writer, b"\0")

    def force(self) -> None:
        """End now: somebody cannot be waited for."""
        os._exit(self.status)

    def _end(self) -> None:
        os.read(self._reader, 1)
        self.stop.set()
        time.sleep(_LIMIT_S)
        alive = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
        # Aside: a log on a disk that hangs would be waited for.
        threading.Thread(
            target=lambda: _log.error("ended by force: %s still there after %.0f s", ", ".join(alive), _LIMIT_S),
            daemon=True,
        ).start()
        time.sleep(_SAY_S)
        self.force()
