"""The gateway's threads: each beats while it works. One that fails, or does not beat any more, ends the process.

IoT Edge starts an exited module again and restarts nothing for a failed health check (design, guarantee 8), so that it
must be noticed here. What ended the process is written beside the ledger, and told to headquarters at the next start.
What a full or failing disk does to a thread is no failure: it waits (storage.py).
"""

import json
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge_module import wire
from edge_module.ending import STALLED, Ending
from edge_module.errors import LedgerError, ModelError, StorageError
from edge_module.files import write_durably
from edge_module.ledger import Ledger
from edge_module.redact import redact
from edge_module.storage import Storage

_log = logging.getLogger(__name__)

_LOOK_S: Final = 1.0
_FAILED: Final = 1
_CANNOT_GO_ON: Final = 2
_LAST_WORDS: Final = "last-words.json"


class Watch:
    """Notices a thread that has not beaten for too long, and ends the process.

    Args:
        ending: of the process.
        folder: where the last words are written.
        stall_s: how long a thread may take between two beats.
    """

    def __init__(self, *, ending: Ending, folder: Path, stall_s: Callable[[], float]) -> None:
        self._ending = ending
        self._folder = folder
        self._stall_s = stall_s
        self._due: dict[str, tuple[float, int]] = {}  # name -> beaten at (or to be expected from) and thread

    def beat(self, name: str, *, allow_s: float = 0.0) -> None:
        """It goes on; the next beat may take so much longer than others."""
        previous = self._due.get(name)
        # A thread that beats for another, as a reading's workers do, is not the one that is to be shown.
        thread = previous[1] if previous else threading.get_ident()
        self._due[name] = (time.monotonic() + allow_s, thread)

    def forget(self, name: str) -> None:
        """It has ended."""
        self._due.pop(name, None)

    def start(self) -> None:
        """Watch from now on."""
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def _run(self) -> None:
        while not self._ending.stop.wait(_LOOK_S):
            now = time.monotonic()
            for name, (since, thread) in list(self._due.items()):
                if now - since > self._stall_s():
                    self._stalled(name, thread, now - since)
                    return

    def _stalled(self, name: str, thread: int, silent_s: float) -> None:
        frame = sys._current_frames().get(thread)  # noqa: SLF001 - what the standard library has for this
        stack = traceback.extract_stack(frame) if frame else []
        where = f"{Path(stack[-1].filename).name}:{stack[-1].lineno} {stack[-1].name}" if stack else "nowhere"
        text = f"the worker {name!r} has not moved for {silent_s:.0f} s; it was at {where}; the module is restarted"
        self._ending.begin(STALLED)  # first: what follows may hang as well
        _log.critical("%s\n%s", text, "".join(traceback.format_list(stack)))
        write_last_words(self._folder, "worker_stalled", text)


class Worker(threading.Thread):
    """A thread that waits out a failing disk, and ends the process when anything else ends it too early.

    Args:
        name: for people.
        work: until told to stop; after a failing disk it is begun anew.
        reads: whether it reads cards: it waits until there is room again, not only until writing is possible.
    """

    def __init__(
        self, name: str, work: Callable[[], None], *, ending: Ending, watch: Watch, storage: Storage, folder: Path,
        reads: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(name=name, daemon=True)
        self._work = work
        self._ending = ending
        self._watch = watch
        self._storage = storage
        self._folder = folder
        self._reads = reads

    def run(self) -> None:
        """Work to the end."""
        self._watch.beat(self.name)
        try:
            while not self._ending.stop.is_set():
                try:
                    self._work()
                    break
                except (StorageError, OSError) as exc:
                    self._storage.failed(self._storage.explained(exc))
                    self._storage.wait(self._ending.stop, reads=self._reads, beat=lambda: self._watch.beat(self.name))
        except BaseException as exc:  # noqa: BLE001 - top of a thread
            self._ending.begin(_CANNOT_GO_ON if isinstance(exc, LedgerError | ModelError) else _FAILED)
            _log.critical("the worker %r failed", self.name, exc_info=exc)
            text = f"the worker {self.name!r} failed: {type(exc).__name__}: {exc}; the module is restarted"
            write_last_words(self._folder, "worker_failed", text)
        finally:
            self._watch.forget(self.name)


def write_last_words(folder: Path, code: str, text: str) -> None:
    """Say why the process ends, for its next start."""
    words = {"code": code, "text": redact(text), "at": datetime.now(UTC).isoformat()}
    try:
        write_durably(folder / _LAST_WORDS, json.dumps(words).encode())
    except OSError as exc:
        _log.error("why the module ended could not be written down: %s", exc)


def owe_last_words(ledger: Ledger, folder: Path) -> None:
    """Tell headquarters why the process ended the last time, unless it is being told so already.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    path = folder / _LAST_WORDS
    try:
        told = json.loads(path.read_bytes())
        alert = wire.Alert(code=str(told["code"]), text=str(told["text"]), at=datetime.fromisoformat(told["at"]))
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError) as exc:
        _log.warning("%s cannot be read: %s", path.name, exc)
    else:
        if not ledger.outbox.owes_alert(alert.code):  # a module that fails again and again fills no outbox
            ledger.outbox.put(alert)
    path.unlink(missing_ok=True)
