"""A stick: what is owed leaves as an encrypted bundle, and its confirmation comes back, where there is no link.

A volume labelled PONYA-OUT is mounted, writable, at `bundles_dir` by the host. Whether one is in, the mount table says:
a folder of the gateway's own disk that is bound there is none.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edge_module import bundles
from edge_module.bundle_format import CONFIRMATION_SUFFIX, BundleError
from edge_module.errors import PonyaError
from edge_module.ledger import Ledger
from edge_module.mounts import MOUNTINFO, MountTable
from edge_module.originals import Originals

_log = logging.getLogger(__name__)


class StickState(StrEnum):
    """Whether a stick can be used."""

    ABSENT = "absent"
    READ_ONLY = "read_only"
    NO_KEYS = "no_keys"
    READY = "ready"


class JobState(StrEnum):
    """What came of the last thing that was asked of a stick."""

    IDLE = "idle"
    WORKING = "working"
    WRITTEN = "written"
    CONFIRMED = "confirmed"
    NO_CONFIRMATION = "no_confirmation"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """How it stands.

    Args:
        done: items written of `total`.
        messages: written, or owed still after a confirmation.
        pictures: written.
        why: it failed, in English.
    """

    state: JobState = JobState.IDLE
    done: int = 0
    total: int = 0
    messages: int = 0
    pictures: int = 0
    why: str = ""


class Stick:
    """The one stick there may be; one job at a time, in a thread of its own. Any thread may ask.

    Args:
        folder: where it is mounted.
        keys: the file that headquarters made for this gateway.
        ledger: what is owed.
        originals: the kept pictures.
        on_confirmed: called when a confirmation was taken.
        mountinfo: the kernel's mount table.
    """

    def __init__(
        self, *, folder: Path, keys: Path, ledger: Ledger, originals: Originals,
        on_confirmed: Callable[[], None] = lambda: None, mountinfo: Path = MOUNTINFO,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._keys = keys
        self._ledger = ledger
        self._originals = originals
        self._on_confirmed = on_confirmed
        self._mounts = MountTable(mountinfo)
        self._lock = threading.Lock()
        self.job = Job()

    @property
    def state(self) -> StickState:
        """Whether one is in and can be used."""
        mounted = self._mounts.at(self._folder)
        if mounted is None or mounted.root != "/":
            return StickState.ABSENT
        if mounted.read_only:
            return StickState.READ_ONLY
        return StickState.READY if self._keys.exists() else StickState.NO_KEYS

    def write(self) -> bool:
        """Begin to write what is owed onto the stick; False if it cannot begin."""
        return self._begin(self._write)

    def confirm(self) -> bool:
        """Begin to take the confirmations that lie on the stick; False if it cannot begin."""
        return self._begin(self._confirm)

    def _begin(self, work: Callable[[], Job]) -> bool:
        with self._lock:
            if self.job.state is JobState.WORKING or self.state is not StickState.READY:
                return False
            self.job = Job(state=JobState.WORKING)
        threading.Thread(target=self._run, args=(work,), name="stick", daemon=True).start()
        return True

    def _run(self, work: Callable[[], Job]) -> None:
        try:
            self.job = work()
        except (PonyaError, BundleError, OSError) as exc:
            _log.warning("stick: %s", exc)
            self.job = Job(state=JobState.FAILED, why=str(exc))
        except BaseException:
            self.job = Job(state=JobState.FAILED, why="a fault of the software; its log says more")
            raise

    def _write(self) -> Job:
        def progress(done: int, total: int) -> None:
            self.job = Job(state=JobState.WORKING, done=done, total=total)

        keys = bundles.read_keys(self._keys)
        _, messages, pictures = bundles.write(self._ledger, self._originals, keys, self._folder, on_progress=progress)
        return Job(state=JobState.WRITTEN, messages=messages, pictures=pictures)

    def _confirm(self) -> Job:
        keys, faults, taken, owed = bundles.read_keys(self._keys), [], 0, 0
        for path in sorted(self._folder.glob(f"*{CONFIRMATION_SUFFIX}")):
            try:
                owed = bundles.confirm(self._ledger, keys, path)
                taken += 1
            except BundleError as exc:  # another gateway's, or a damaged one
                faults.append(str(exc))
        if taken:
            self._on_confirmed()
            return Job(state=JobState.CONFIRMED, messages=owed)
        if faults:
            raise BundleError("; ".join(faults))
        return Job(state=JobState.NO_CONFIRMATION)
