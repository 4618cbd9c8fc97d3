"""A card to a receipt: list, read, score, settle.

One thread, the caller's, lists the card, groups events and writes the ledger; workers examine events. Results are
settled in the order of the card, in transactions bounded in rows and time: the ledger has one writer, and a record does
not depend on which worker was faster.
"""

import errno
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Final

from edge_module.breath import Breath
from edge_module.burst import Shot, events
from edge_module.card import Mount
from edge_module.domain import CardReceipt, Exif, Fate, ReadingState, Record
from edge_module.errors import CardError
from edge_module.examine import Examiner, NotRead
from edge_module.exif import EXIF_HEAD_BYTES, read_exif
from edge_module.ladder import Policy
from edge_module.ledger import Ledger
from edge_module.listing import ATTEMPTS_MAX, Listed
from edge_module.originals import Originals
from edge_module.readings import Reading
from edge_module.scorer import Model
from edge_module.settings import Settings
from edge_module.settling import Finding

_log = logging.getLogger(__name__)

COMMIT_ROWS: Final = 64
_COMMIT_S: Final = 1.0
"""A transaction waits for this many rows or seconds, whichever comes first: fsync is dear, and so is work in flight."""

_REPORT_RECORDS: Final = 500
_AHEAD_PER_WORKER: Final = 2
_LOOK_AGAIN_S: Final = 0.25

_FAILURES_MAX: Final = 100
"""So many files of one card that cannot be read are no bad sectors: the card or its reader is failing."""

Report = Callable[[list[Record]], None]


class Pipeline:
    """Reads one card after another with one model and one set of settings."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        model: Model,
        settings: Settings,
        originals: Originals | None = None,
        stop: threading.Event | None = None,
        on_complete: Callable[[], None] = lambda: None,
        breath: Breath | None = None,
        turns: AbstractContextManager[None] | None = None,
    ) -> None:
        self._on_complete = on_complete
        self._turns = turns or nullcontext()
        self._ledger = ledger
        self._model = model
        self._settings = settings
        self._originals = originals
        self._stop = stop or threading.Event()
        self._breath = breath or Breath(self._stop)

    def read(self, mount: Mount, report: Report, *, on_listed: Callable[[Reading], None]) -> CardReceipt:
        """Read a card to its end, or as far as it goes.

        Args:
            mount: the card.
            report: gets the records of each transaction once it is committed; first those that an earlier, interrupted
                run of the same reading settled, so that every file of the card is reported once a run.
            on_listed: called when all files of the card are known.

        Returns:
            The receipt: complete, or interrupted with the reason among its blockers.

        Raises:
            LedgerError: the ledger cannot be written; what was reported stays, the reading goes on at the next run.
        """
        reading = self._ledger.begin(mount.identify())
        try:
            self._ledger.list_files(reading, self._breathing(mount.files()))
            on_listed(reading)
            settled = self._ledger.settled(reading)
            while records := list(islice(settled, _REPORT_RECORDS)):
                report(records)
            why = self._settle_all(mount, reading, report)
        except CardError as exc:
            _log.warning("reading %s interrupted: %s", reading.reading_id, exc)
            why = str(exc)
        receipt = self._ledger.end(reading, why=why)
        if receipt.state is ReadingState.COMPLETE:
            self._on_complete()
        return receipt

    def _breathing(self, files: Iterator[Listed]) -> Iterator[Listed]:
        for listed in files:
            self._breath.take()
            yield listed

    def _settle_all(self, mount: Mount, reading: Reading, report: Report) -> str:
        """Go over the pending files until none is left. Returns why some are, if so."""
        examiner = Examiner(
            mount=mount,
            reading=reading,
            model=self._model,
            thresholds=self._settings.thresholds(self._model.head.thresholds),
            known=self._ledger.known,
            originals=self._originals,
            breath=self._breath,
            turns=self._turns,
            policy=Policy.of(self._settings),
        )
        failed: dict[bytes, str] = {}
        give_up_at = time.monotonic() + self._settings.settle_timeout_s
        pool = ThreadPoolExecutor(self._settings.workers, thread_name_prefix="examine")
        try:
            while True:
                a_pass = _Pass(
                    ledger=self._ledger,
                    settings=self._settings,
                    mount=mount,
                    reading=reading,
                    report=report,
                    stop=self._stop,
                    failed=failed,
                    breath=self._breath,
                )
                a_pass.run(pool, examiner)
                if self._stop.is_set():
                    return "stopped"
                if not a_pass.growing:
                    return next(iter(failed.values()), "")
                if a_pass.settled:  # something moves: the time runs from the last progress
                    give_up_at = time.monotonic() + self._settings.settle_timeout_s
                elif time.monotonic() > give_up_at:
                    return f"{a_pass.growing} files are still being written to"
                self._stop.wait(_LOOK_AGAIN_S)
        finally:
            pool.shutdown(cancel_futures=True)


class _Pass:
    """One pass over the pending files of a reading. Files that grow are left for the next."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        settings: Settings,
        mount: Mount,
        reading: Reading,
        report: Report,
        stop: threading.Event,
        failed: dict[bytes, str],
        breath: Breath,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._mount = mount
        self._reading = reading
        self._report = report
        self._stop = stop
        self._breath = breath
        self._failed = failed  # tried once a run, however often its passes come by
        self._batch: list[Finding] = []
        self._batch_began = 0.0
        self.settled = 0
        self.growing = 0

    def run(self, pool: ThreadPoolExecutor, examiner: Examiner) -> None:
        """Examine every pending file, events in parallel, and settle them in order.

        Raises:
            CardError: the card was taken out; what came before is settled.
        """
        ahead: deque[Future[list[Finding | NotRead]]] = deque()
        try:
            for event in events(self._shots(), gap_s=self._settings.event_gap_s):
                ahead.append(pool.submit(examiner.event, event))
                if len(ahead) > _AHEAD_PER_WORKER * self._settings.workers:
                    self._take(ahead.popleft().result())
            while ahead and not self._stop.is_set():
                self._take(ahead.popleft().result())
        finally:
            for future in ahead:
                future.cancel()
            self._commit()

    def _shots(self) -> Iterator[Shot]:
        """The pending files that nobody is writing to, with their EXIF."""
        for media in self._ledger.pending(self._reading):
            if self._stop.is_set():
                return
            self._breath.take()
            if media.path in self._failed:
                continue
            try:
                head, now = self._mount.head(media, EXIF_HEAD_BYTES)
            except OSError as exc:
                self._mount.check()
                if exc.errno == errno.EACCES:
                    yield Shot(media=media, exif=Exif())  # the worker meets the same error, and says so
                else:  # may pass: a record without its EXIF would not
                    self._not_read(NotRead(media=media, reason=f"read error: {exc.strerror}", growing=False))
                continue
            if now != media:
                self._ledger.relist(self._reading, now)
                self.growing += 1
            elif 0 <= time.time_ns() - now.mtime_ns < self._settings.settle_s * 1e9:
                self.growing += 1
            else:
                offset = self._settings.camera_utc_offset_min
                yield Shot(media=media, exif=read_exif(head, utc_offset_min=offset))

    def _take(self, found: list[Finding | NotRead]) -> None:
        """Queue what was found of one event; commit when enough has come together."""
        if not self._batch:
            self._batch_began = time.monotonic()
        for finding in found:
            if isinstance(finding, Finding):
                self._batch.append(finding)
            elif finding.growing:
                self.growing += 1
            else:
                self._not_read(finding)
        if len(self._batch) >= COMMIT_ROWS or time.monotonic() - self._batch_began >= _COMMIT_S:
            self._commit()

    def _not_read(self, found: NotRead) -> None:
        attempts = self._ledger.failed(self._reading, found.media)
        _log.warning("%r: %s (attempt %d of %d)", found.media.name, found.reason, attempts, ATTEMPTS_MAX)
        if attempts < ATTEMPTS_MAX:
            self._failed[found.media.path] = f"{found.media.name}: {found.reason}"
            if len(self._failed) > _FAILURES_MAX:
                raise CardError(f"more than {_FAILURES_MAX} files cannot be read, the last {found.media.name}")
            return
        record = Record(
            card_id=self._reading.card_id,
            reading_id=self._reading.reading_id,
            path=found.media.name,
            media_id="",
            model_id="",
            fate=Fate.UNREADABLE,
            reason=f"{found.reason}, {attempts} times",
            size_bytes=found.media.size_bytes,
        )
        self._batch.append(Finding(media=found.media, record=record))

    def _commit(self) -> None:
        if self._batch:
            records = self._ledger.settle(self._reading, self._batch)
            self._batch = []
            self.settled += len(records)
            self._report(records)
