"""One event of a card, from its files to findings: read, hash, decode, score, judge. Runs in worker threads.

Only one file's bytes and one burst's frames are held at a time, whatever the length of the event.
"""

import errno
import hashlib
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from edge_module import people
from edge_module.audit import drawn
from edge_module.breath import Breath
from edge_module.burst import Shot, bursts
from edge_module.card import PICTURE_MAX_BYTES, Content, Mount
from edge_module.domain import KEPT_FATES, Fate, Media, Record, Scores
from edge_module.errors import MediaError
from edge_module.frame import Frame, decode
from edge_module.kinds import why_unscored
from edge_module.ladder import Policy, wanted
from edge_module.originals import Originals
from edge_module.readings import Reading
from edge_module.scorer import Model, Scorer
from edge_module.settling import Finding, Known
from edge_module.variants import AUDIT_LONG_EDGE_PX, WITHHELD_LONG_EDGE_PX, thumbnail_jpeg
from edge_module.verdict import DayNight, judge, withhold


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRead:
    """A file that could not be read this time. `growing`: somebody is writing to it, look again soon."""

    media: Media
    reason: str
    growing: bool


def leaves(record: Record) -> bool:
    """Whether a picture of a scored file may leave: then the detector of people is asked about it first."""
    return record.fate in KEPT_FATES or record.audit_probability is not None


class Examiner:
    """Examines the events of one reading, any number of them at once."""

    def __init__(
        self,
        *,
        mount: Mount,
        reading: Reading,
        model: Model,
        thresholds: DayNight,
        known: Callable[[str], Known | None],
        originals: Originals | None,
        breath: Breath,
        turns: AbstractContextManager[None],
        policy: Policy,
    ) -> None:
        self._breath = breath
        self._turns = turns  # at the processor, among the cards that are being read
        self._mount = mount
        self._reading = reading
        self._model = model
        self._thresholds = thresholds
        self._known = known
        self._originals = originals
        self._policy = policy
        self._thread = threading.local()

    def event(self, shots: Sequence[Shot]) -> list[Finding | NotRead]:
        """Examine the files of one event, in their order.

        Raises:
            CardError: the card was taken out, or the reading is to stop; nothing of the event counts.
        """
        event_id = self._event_id(shots[0].media)
        found: list[Finding | NotRead] = []
        for burst in bursts(shots):
            self._breath.rest()
            found += self._burst(burst, event_id)
        return found

    def _event_id(self, first: Media) -> str:
        key = self._reading.card_id.encode() + b"\0" + first.path + b"\0%d" % first.mtime_ns
        return hashlib.blake2b(key, digest_size=6).hexdigest()

    def _burst(self, shots: Sequence[Shot], event_id: str) -> list[Finding | NotRead]:
        records: list[Record | NotRead] = []
        frames: dict[int, Frame] = {}
        thumbnails: dict[int, bytes] = {}
        again: set[int] = set()  # known, and to be scored all the same
        known: list[int] = []  # decoded only if a frame beside them is new and wants them for comparison
        for i, shot in enumerate(shots):
            record, content = self._read(shot, event_id)
            if content is not None and isinstance(record, Record):
                before = self._known(content.media_id)
                if before and self._reading.rescore:
                    again.add(i)
                    record = self._decoded(replace(record, withheld=before.stays_here), content, frames, i)
                elif before:
                    known.append(i)
                    record = replace(record, fate=before.fate, withheld=before.stays_here)
                else:
                    record = self._decoded(record, content, frames, i)
            records.append(record)
            del content  # or it would stay until the next has been read
        for i in known if frames else ():
            record, content = self._read(shots[i], event_id)
            if content is not None and isinstance(record, Record):
                records[i] = self._decoded(record, content, frames, i)
            del content
        order = sorted(frames)
        for i, scores in zip(order, self._scores([frames[i] for i in order]), strict=True):
            record = records[i]
            assert isinstance(record, Record)
            fate = judge(scores, self._thresholds)
            record = replace(record, fate=fate, scores=scores, model_id=self._model.model_id)
            record = replace(record, audit_probability=drawn(record, self._policy.audit_per_mille))
            records[i] = record = self._withheld(record, frames[i])
            if px := self._thumbnail_px(record):
                thumbnails[i] = thumbnail_jpeg(frames[i].image, long_edge_px=px)
        frames.clear()
        return [
            self._finding(shot, record, thumbnails.get(i), again=i in again) if isinstance(record, Record) else record
            for i, (shot, record) in enumerate(zip(shots, records, strict=True))
        ]

    def _withheld(self, record: Record, frame: Frame) -> Record:
        """Rule 6 of `verdict`, for what is about to leave: what is passed on, and what is drawn for the audit."""
        fate, withheld = withhold(record.fate, person=leaves(record) and people.shipped().perhaps(frame.image))
        return replace(record, fate=fate, withheld=withheld)

    def _thumbnail_px(self, record: Record) -> int:
        """How large a picture of a file travels of which no original is kept for it; 0 for none."""
        if record.stays_here:
            return WITHHELD_LONG_EDGE_PX if self._policy.withheld else 0
        return AUDIT_LONG_EDGE_PX if record.audit_probability is not None else 0

    def _read(self, shot: Shot, event_id: str) -> tuple[Record | NotRead, Content | None]:
        """Read a file. With content, the record's fate is still open."""
        media = shot.media
        try:
            content = self._mount.read(media)
        except (MediaError, OSError) as exc:
            return self._not_read(shot, exc), None
        record = self._record(shot, content.media_id, Fate.UNREADABLE, "", event_id)
        if kind := why_unscored(media):
            return replace(record, fate=Fate.REVIEW, reason=f"{kind}: not scored, a person should look"), None
        if media.size_bytes > PICTURE_MAX_BYTES:
            reason = f"too large: {media.size_bytes / 2**20:.0f} MB, at most {PICTURE_MAX_BYTES / 2**20:.0f} are read"
            return replace(record, reason=reason), None
        if not media.size_bytes:
            return replace(record, reason="empty file"), None
        return record, content

    def _not_read(self, shot: Shot, exc: MediaError | OSError) -> Record | NotRead:
        if isinstance(exc, MediaError):
            return NotRead(media=shot.media, reason=str(exc), growing=True)
        self._mount.check()
        if exc.errno == errno.EACCES:
            return self._record(shot, "", Fate.UNREADABLE, "permission denied", "")
        return NotRead(media=shot.media, reason=f"read error: {exc.strerror}", growing=False)

    def _scores(self, frames: list[Frame]) -> list[Scores]:
        if not frames:
            return []
        with self._turns:
            return self._scorer().score(frames)

    def _decoded(self, record: Record, content: Content, frames: dict[int, Frame], i: int) -> Record:
        try:
            with self._turns:
                frames[i] = decode(content.data)
        except MediaError as exc:
            return replace(record, reason=str(exc))
        return record

    def _record(self, shot: Shot, media_id: str, fate: Fate, reason: str, event_id: str) -> Record:
        return Record(
            card_id=self._reading.card_id,
            reading_id=self._reading.reading_id,
            path=shot.media.name,
            media_id=media_id,
            model_id="",
            event_id=event_id,
            fate=fate,
            reason=reason,
            exif=shot.exif,
            size_bytes=shot.media.size_bytes,
        )

    def _finding(self, shot: Shot, record: Record, thumbnail: bytes | None, *, again: bool) -> Finding | NotRead:
        wants, rescored = wanted(record, self._policy, thumbnail), again and record.scores is not None
        if self._originals is None or record.fate not in KEPT_FATES:
            return Finding(media=shot.media, record=record, wants=wants, rescored=rescored)
        try:
            with self._mount.open(shot.media) as source:
                self._originals.keep(record, shot.media.path, source, still=self._mount.check)
        except (MediaError, OSError) as exc:
            not_read = self._not_read(shot, exc)
            return not_read if isinstance(not_read, NotRead) else Finding(media=shot.media, record=not_read)
        return Finding(media=shot.media, record=record, original_kept=True, wants=wants, rescored=rescored)

    def _scorer(self) -> Scorer:
        """This thread's own interpreter."""
        scorer: Scorer | None = getattr(self._thread, "scorer", None)
        if scorer is None:
            scorer = self._thread.scorer = Scorer(self._model)
        return scorer
