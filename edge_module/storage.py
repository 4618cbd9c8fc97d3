"""The gateway's own disk when it is full, read-only or worn out: told once, waited out, told again when it is over.

====== ================================== ===========================================================================
state  event                              what follows
====== ================================== ===========================================================================
ok     a write fails                      full | read-only | failing: an alert is owed, cards are not read any more
full                                      the ballast is thrown off: what is owed can still be sent and confirmed
any    room again, a test write succeeds  ok: an alert is owed, reading goes on by itself
====== ================================== ===========================================================================

The ballast is a file of `_BALLAST_BYTES` that holds room for the ledger on a full disk. It is taken on again before
cards are.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge_module import wire
from edge_module.errors import StorageError, Trouble
from edge_module.files import write_durably

_log = logging.getLogger(__name__)

_BALLAST_BYTES: Final = 16 * 2**20
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_RELAPSE_S: Final = 3600.0
"""What fails again within this time of a recovery has not recovered: a folder, or the ledger itself, that no test write
meets. It is not told again, and waited for longer and longer."""
_LOOK_S: Final = 0.5
_RECOVERED: Final = "storage_recovered"
_WORDS: Final = {
    Trouble.FULL: "the gateway's disk is full; nothing is read from cards until there is room; what is owed is kept",
    Trouble.READ_ONLY: "the gateway's disk is read-only; nothing is read from cards until it can be written again",
    Trouble.FAILING: "the gateway's disk fails; nothing is read from cards while it does; it should be exchanged",
}


class Storage:
    """What is known of the disk that a folder lies on. Every method may be called from any thread.

    Args:
        folder: the gateway's.
        owe: owes headquarters an alert; raises `StorageError` where that cannot be written.
    """

    def __init__(self, folder: Path, *, owe: Callable[[wire.Alert], object]) -> None:
        self._folder = folder
        self._owe = owe
        self._lock = threading.Lock()
        self._untold: list[wire.Alert] = []
        self._relapses = 0
        self._recovered_at_s = -_RELAPSE_S
        self.trouble: Trouble | None = None

    @property
    def words(self) -> str:
        """What is wrong, for people; empty when nothing is."""
        return _WORDS[self.trouble] if self.trouble else ""

    def prepare(self) -> None:
        """Take the ballast on at a start, if there is room for it."""
        with contextlib.suppress(OSError):
            self._take_ballast()

    def check(self) -> None:
        """Refuse to go on reading.

        Raises:
            StorageError: while there is trouble.
        """
        if self.trouble:
            raise StorageError(self.words, self.trouble)

    def explained(self, exc: StorageError | OSError) -> StorageError:
        """The trouble behind an error, which is raised again if there is none."""
        if isinstance(exc, StorageError):
            return exc
        said = StorageError.of(str(exc.filename or "a file"), exc)
        if said.trouble is not Trouble.FULL and self._writable():
            raise exc
        return said

    def failed(self, exc: StorageError) -> None:
        """Something could not be written."""
        with self._lock:
            if self.trouble is None:
                found = self._tried()
                trouble = found or exc.trouble  # SQLite calls a read-only file system a failing one
                self.trouble = trouble
                _log.error("%s (%s)", self.words, exc)
                recently = time.monotonic() - self._recovered_at_s < _RELAPSE_S
                self._relapses = self._relapses + 1 if recently and found is None else 0
                if not self._relapses:
                    self._untold.append(_alert(f"storage_{trouble}", f"{self.words} ({exc})"))
            if self.trouble is Trouble.FULL:
                throw_off_ballast(self._folder)
            self._tell()

    def look(self) -> None:
        """See whether it is over."""
        with self._lock:
            if self.trouble is None or not self._writable():
                return
            self._tell()
            try:
                self._take_ballast()
            except OSError:
                return  # no room yet
            _log.warning("the gateway's disk can be written again")
            self.trouble = None
            self._recovered_at_s = time.monotonic()
            if not self._relapses:
                self._untold.append(_alert(_RECOVERED, "the gateway's disk can be written again; reading goes on"))
            self._tell()

    def wait(self, stop: threading.Event, *, reads: bool, beat: Callable[[], None]) -> None:
        """Wait until it is worth trying again.

        Args:
            stop: ends the waiting.
            reads: until cards may be read again, not only until something can be written.
            beat: called now and then.
        """
        pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(self._relapses, 10), _LONGEST_PAUSE_S)
        while not stop.is_set():
            again_at = time.monotonic() + pause_s
            while time.monotonic() < again_at and not stop.wait(_LOOK_S):
                beat()
            self.look()
            if self.trouble is None or (not reads and self._writable()):
                return
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _tell(self) -> None:
        with contextlib.suppress(StorageError):  # told when it can be
            while self._untold:
                self._owe(self._untold[0])
                self._untold.pop(0)

    def _writable(self) -> bool:
        return self._tried() is None

    def _tried(self) -> Trouble | None:
        """What comes of writing something; None if all is well."""
        probe = self._folder / "probe"
        try:
            write_durably(probe, b"\0" * 4096)
            probe.unlink()
        except OSError as exc:
            return StorageError.of(str(probe), exc).trouble
        return None

    def _take_ballast(self) -> None:
        ballast = _ballast(self._folder)
        if ballast.exists() and ballast.stat().st_size == _BALLAST_BYTES:
            return
        disk = os.statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize < 2 * _BALLAST_BYTES:  # else reading would fill the disk again at once
            raise OSError(f"{ballast}: less than {2 * _BALLAST_BYTES} bytes are free")
        self._folder.mkdir(parents=True, exist_ok=True)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _BALLAST_BYTES)
            os.fsync(file.fileno())


def throw_off_ballast(folder: Path) -> None:
    """Make room on a full disk."""
    with contextlib.suppress(OSError):
        _ballast(folder).unlink(missing_ok=True)


def _ballast(folder: Path) -> Path:
    return folder / "ballast"


def _alert(code: str, text: str) -> wire.Alert:
    return wire.Alert(code=code.replace("-", "_"), text=text, at=datetime.now(UTC))
