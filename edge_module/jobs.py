"""Long work that headquarters asks for by a direct method: done one after another, and reported when it is over.

The list is kept on the disk: what was asked for before a power cut is begun again, at most `_BEGINS_MAX` times.
"""

import json
import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from edge_module.breath import Beat
from edge_module.errors import BusyError, PonyaError, StorageError
from edge_module.files import write_durably

_log = logging.getLogger(__name__)

WAITING_MAX: Final = 8
_BEGINS_MAX: Final = 3
_POLL_S: Final = 0.5
_PIECE_LONGEST_S: Final = 600.0
"""A self-test on a Pi; what takes longer beats between its pieces."""

Work = Callable[[Mapping[str, Any], threading.Event], str | None]
"""Does a job with its parameters; returns what came of it in a sentence, or None where it was told to stop before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something to be done."""

    job_id: str
    kind: str
    parameters: Mapping[str, Any]
    begins: int = 0


class Jobs:
    """The jobs of a gateway. `ask` may be called from any thread; one thread calls `run`.

    Args:
        path: where the list is kept.
        does: what does a job, by its kind.
        report: gets an alert's code and text when a job is over.
    """

    def __init__(self, *, path: Path, does: Mapping[str, Work], report: Callable[[str, str], None]) -> None:
        self._path = path
        self._does = does
        self._report = report
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._waiting = self._read()

    def ask(self, kind: str, parameters: Mapping[str, Any]) -> str:
        """Have something done. The same that waits already is not done twice.

        Returns:
            The job's id, by which it is reported.

        Raises:
            BusyError: too much waits already.
            OSError: the list cannot be kept.
        """
        with self._lock:
            for job in self._waiting:
                if (job.kind, job.parameters) == (kind, parameters) and not job.begins:
                    return job.job_id
            if len(self._waiting) >= WAITING_MAX:
                raise BusyError(f"{WAITING_MAX} jobs wait already; ask again later")
            job = Job(job_id=secrets.token_hex(4), kind=kind, parameters=dict(parameters))
            self._keep([*self._waiting, job])
        self._asked.set()
        return job.job_id

    def waiting(self) -> int:
        """How many jobs are not over yet."""
        return len(self._waiting)

    def run(self, stop: threading.Event, *, beat: Beat) -> None:
        """Do what is asked for, until told to stop. Beats, to show that it goes on.

        Raises:
            StorageError: the disk cannot take what would come; call again when it can.
        """
        while not stop.is_set():
            beat()
            self._asked.clear()
            if self._waiting:
                beat(allow_s=_PIECE_LONGEST_S)
                self._do(self._waiting[0], stop)
            else:
                self._asked.wait(_POLL_S)

    def _do(self, job: Job, stop: threading.Event) -> None:
        code, said = "job_failed", f"it was begun {_BEGINS_MAX} times and never came to its end"
        if job.begins < _BEGINS_MAX:
            self._replace(job, replace(job, begins=job.begins + 1))
            try:
                done = self._does[job.kind](job.parameters, stop)
            except StorageError:  # not its fault
                self._replace(job, job)
                raise
            except (PonyaError, OSError) as exc:
                if stop.is_set():
                    self._replace(job, job)
                    return
                _log.exception("job %s failed", job.job_id)
                said = str(exc)
            else:
                if done is None:  # told to stop: begun again at the next start
                    self._replace(job, job)
                    return
                code, said = "job_done", done
        self._report(code, f"{job.kind} {job.job_id}: {said}"[:2000])
        self._replace(job, None)

    def _replace(self, job: Job, by: Job | None) -> None:
        with self._lock:
            rest = [other for other in self._waiting if other.job_id != job.job_id]
            try:
                self._keep([*([by] if by else []), *rest])
            except OSError as exc:  # then it may be begun once more after a power cut
                _log.warning("%s is not kept: %s", self._path.name, exc.strerror)
                self._waiting = [*([by] if by else []), *rest]

    def _keep(self, jobs: list[Job]) -> None:
        write_durably(self._path, json.dumps([asdict(job) for job in jobs]).encode())
        self._waiting = jobs

    def _read(self) -> list[Job]:
        try:
            found = [Job(**job) for job in json.loads(self._path.read_bytes())]
            return [job for job in found if job.kind in self._does and type(job.begins) is int][:WAITING_MAX]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as exc:
            _log.error("%s cannot be used (%s): what was asked for is forgotten", self._path.name, exc)
            return []
