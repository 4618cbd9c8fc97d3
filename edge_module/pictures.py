"""The courier of pictures: originals that were kept -> pictures in Blob Storage, and then the words about them.

Within the day's budget and the hours that are set, what is worth most first (ladder.py). A thread of its own: a storage
that hangs holds up no verdict.
"""

import base64
import hashlib
import logging
import mimetypes
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from edge_module import wire
from edge_module.breath import Beat
from edge_module.budget import PUT_HEADER_BYTES, Allowance
from edge_module.clock import Clock
from edge_module.courier import LEASE_S, Link, back_off_s
from edge_module.domain import Box, Variant
from edge_module.errors import (
    BlocksForgotten,
    CredentialRefused,
    MediaError,
    NotReadNow,
    NotSent,
    PermanentDelivery,
    TransientDelivery,
)
from edge_module.hours import may_upload
from edge_module.ledger import Ledger
from edge_module.originals import Originals
from edge_module.outbox import message_bytes
from edge_module.settings import Settings
from edge_module.uploads import Upload
from edge_module.variants import crop_jpeg, frame_jpeg

_log = logging.getLogger(__name__)
_IDLE_S: Final = 5.0

WHOLE_PUT_MAX_BYTES: Final = 8_000_000
"""What is larger goes in blocks: a link that breaks costs one of them."""
_BLOCK_BYTES: Final = 1_000_000
_BLOCK_LINE_BYTES: Final = 40
"""A block's line in the list that puts a blob together."""
_LEAST_BYTES: Final = PUT_HEADER_BYTES + 1_000
"""No picture takes less."""
_READS_MAX: Final = 10
"""So often an original that the disk does not give is tried; each new upload credential has it tried once more."""
_SUFFIX: Final = re.compile(r"\.[a-z0-9]{1,8}")


_SLOWEST_BYTES_PER_S: Final = 500.0
"""Over a slower link than this a picture counts as stuck, and the module is started anew."""


class Store(Protocol):
    """What the courier needs of Blob Storage; `blobs.Blobs` is one."""

    @property
    def has_credential(self) -> bool:
        """Whether there is a credential to try."""

    def put(self, name: str, content: bytes, *, content_type: str) -> None:
        """Store a blob; there already is success; raises `TransientDelivery` or `PermanentDelivery`."""

    def put_block(self, name: str, block_id: str, content: bytes) -> None:
        """Store a block of a large blob; raises as `put`."""

    def commit(self, name: str, block_ids: Sequence[str], *, content_type: str) -> None:
        """Put a blob together from its blocks; raises as `put`, and `BlocksForgotten`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture to be stored.

    Args:
        words: what is said of it when it is stored.
        pieces: its bytes, anew at each call, in pieces of at most so many bytes.
    """

    words: wire.MediaStored
    pieces: Callable[[int], Iterator[bytes]]

    @property
    def content_type(self) -> str:
        """For whoever opens it out of storage."""
        return mimetypes.guess_type(self.words.blob_name)[0] or "application/octet-stream"


def make_picture(upload: Upload, originals: Originals) -> Picture:
    """Make the picture that is owed, and the words about it for when it is stored.

    Raises:
        MediaError: the original is gone or cannot be decoded.
    """
    if upload.variant is Variant.ORIGINAL:
        suffix = Path(upload.name).suffix.lower()
        return Picture(
            words=_words(
                upload,
                suffix if _SUFFIX.fullmatch(suffix) else "",
                digest=upload.media_id,
                size_bytes=originals.length(upload.media_id, upload.name),
            ),
            pieces=lambda size_bytes: originals.pieces(upload.media_id, upload.name, size_bytes=size_bytes),
        )
    picture = upload.picture or _VARIANTS[upload.variant](originals.read(upload.media_id, upload.name), upload.box)
    words = _words(upload, ".jpg", digest=hashlib.sha256(picture).hexdigest(), size_bytes=len(picture))
    return Picture(
        words=words,
        pieces=lambda size_bytes: (picture[at : at + size_bytes] for at in range(0, len(picture), size_bytes)),
    )


_VARIANTS: Final[dict[Variant, Callable[[bytes, Box | None], bytes]]] = {
    Variant.CROP: crop_jpeg,
    Variant.FRAME: lambda original, _box: frame_jpeg(original),
}


def _words(upload: Upload, suffix: str, *, digest: str, size_bytes: int) -> wire.MediaStored:
    return wire.MediaStored(
        media_id=upload.media_id,
        variant=upload.variant,
        # The name says what is in it: "there already" can only mean the same bytes.
        blob_name=f"{upload.variant}/{upload.media_id}-{digest[:16]}{suffix}",
        blob_sha256=digest,
        size_bytes=size_bytes,
    )


class _OverBudgetError(Exception):
    """The day's budget has no room for it."""


class PictureCourier:
    """Carries pictures, one at a time. One thread calls `run`; the rest may be called from any."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        originals: Originals,
        link: Link,
        store: Store,
        clock: Clock,
        settings: Callable[[], Settings],
        on_stored: Callable[[], None],
        beat: Beat,
    ) -> None:
        """Put the courier together.

        Args:
            ledger: which pictures are owed.
            originals: from which they are made.
            link: to the edge hub, by which a credential is asked for.
            store: Blob Storage.
            clock: for delays.
            settings: the settings in force now.
            on_stored: called when there are words to be sent about a picture.
            beat: called between pictures, to show that it goes on.
        """
        self._ledger = ledger
        self._originals = originals
        self._link = link
        self._store = store
        self._clock = clock
        self._settings = settings
        self._on_stored = on_stored
        self._beat = beat
        self._wake = threading.Event()
        self._asked_at_s: float | None = None
        self._failures = 0
        self._not_before_s = 0.0
        self._no_room_for_bytes = 0

    def wake(self) -> None:
        """A picture may be owed: do not wait."""
        self._no_room_for_bytes = 0
        self._wake.set()

    def credential_changed(self) -> None:
        """A new upload credential has come: pictures may go, those that were given up too."""
        self._not_before_s = 0.0
        self._ledger.uploads.retry()
        self.wake()

    def connected(self) -> None:
        """The link is back: a credential may be asked for, and storage may be there too."""
        self._asked_at_s = None
        self._not_before_s = 0.0
        self.wake()

    def run(self, stop: threading.Event) -> None:
        """Carry until told to stop."""
        while not stop.is_set():
            self._beat()
            self._wake.clear()
            if not self.step():
                self._wake.wait(min(_IDLE_S, max(0.1, self._not_before_s - self._clock.monotonic_s())))

    def step(self) -> bool:
        """Carry one picture. Safe to be killed at any point. Returns whether it is worth going on at once."""
        settings = self._settings()
        if not settings.withheld_pictures:  # first: a bundle may be written while nothing goes by the link
            self._ledger.uploads.keep_withheld_here()
        if self._clock.monotonic_s() < self._not_before_s:
            return False
        allowance = Allowance.of(settings)
        today = self._ledger.budget.today(allowance)
        # What is ready to be said of verdicts goes before pictures.
        left_bytes = allowance.limit_bytes(urgent=False) - today.used_bytes - self._ledger.outbox.ready_bytes()
        if left_bytes < max(_LEAST_BYTES, self._no_room_for_bytes) or not may_upload(self._clock.now(), settings):
            return False
        upload = self._ledger.uploads.next(
            lease_s=LEASE_S, review_crops=today.review_crops < settings.review_crops_per_day
        )
        if upload is None:
            return False
        try:
            message = self._put(upload, allowance)
        except _OverBudgetError:
            self._ledger.uploads.put_back(upload)
            return False
        except NotReadNow as exc:
            return self._another_first(upload, exc)
        except (MediaError, PermanentDelivery) as exc:
            _log.error("picture %s cannot be delivered: %s", upload.media_id, exc)
            self._ledger.uploads.fail(upload, reason=str(exc))
        except TransientDelivery as exc:
            self._later(upload, exc)
            return False
        else:
            self._failures = 0
            self._ledger.uploads.stored(upload, message)
        self._on_stored()
        return True

    def _put(self, upload: Upload, allowance: Allowance) -> wire.MediaStored:
        if not self._store.has_credential:
            raise CredentialRefused("no upload credential yet")
        picture = make_picture(upload, self._originals)
        name, size_bytes = picture.words.blob_name, picture.words.size_bytes
        if size_bytes <= min(WHOLE_PUT_MAX_BYTES, allowance.limit_bytes(urgent=False) // 2):
            content = b"".join(picture.pieces(_BLOCK_BYTES))
            self._count(
                len(content), allowance, lambda: self._store.put(name, content, content_type=picture.content_type)
            )
        else:
            self._put_blocks(upload, picture, allowance)
        return picture.words

    def _put_blocks(self, upload: Upload, picture: Picture, allowance: Allowance) -> None:
        """Store a large original block by block, over several days if need be."""
        name, there, block_ids = picture.words.blob_name, self._ledger.uploads.blocks(upload), []
        for number, block in enumerate(picture.pieces(_BLOCK_BYTES)):
            block_id = base64.b64encode(b"%06d" % number).decode()
            block_ids.append(block_id)
            if block_id not in there:
                self._count(len(block), allowance, lambda: self._store.put_block(name, block_id, block))  # noqa: B023
                self._ledger.uploads.block_stored(upload, block_id)
        try:
            self._count(
                _BLOCK_LINE_BYTES * len(block_ids),
                allowance,
                lambda: self._store.commit(name, block_ids, content_type=picture.content_type),
            )
        except BlocksForgotten:
            self._ledger.uploads.forget_blocks(upload)
            raise

    def _count(self, size_bytes: int, allowance: Allowance, send: Callable[[], None]) -> None:
        """Take a request from the day's budget, then send it.

        Raises:
            _OverBudgetError: there is no room for it today; nothing was sent.
        """
        cost_bytes = size_bytes + PUT_HEADER_BYTES
        day = self._ledger.budget.reserve(cost_bytes, allowance)
        if day is None:
            self._no_room_for_bytes = cost_bytes
            raise _OverBudgetError
        self._beat(allow_s=size_bytes / _SLOWEST_BYTES_PER_S)
        try:
            send()
        except NotSent:
            self._ledger.budget.give_back(day, cost_bytes)
            raise

    def _later(self, upload: Upload, exc: TransientDelivery) -> None:
        if isinstance(exc, CredentialRefused):
            self._ask_for_credential()
        # What fails one picture would fail the others: all wait.
        self._failures += 1
        delay_s = back_off_s(self._failures, longest_s=self._settings().retry_longest_s)
        self._not_before_s = self._clock.monotonic_s() + delay_s
        _log.info("picture %s later, in %.0f s: %s", upload.media_id, delay_s, exc)
        self._ledger.uploads.later(upload, delay_s=delay_s, reason=str(exc))

    def _another_first(self, upload: Upload, exc: NotReadNow) -> bool:
        """Its original is not to be had now: try it again some times, further and further apart, then give up."""
        if upload.attempts >= _READS_MAX:
            _log.error("picture %s cannot be delivered: %s", upload.media_id, exc)
            self._ledger.uploads.fail(upload, reason=str(exc))
        else:
            delay_s = back_off_s(upload.attempts, longest_s=self._settings().retry_longest_s)
            _log.warning("picture %s later, in %.0f s: %s", upload.media_id, delay_s, exc)
            self._ledger.uploads.later(upload, delay_s=delay_s, reason=str(exc))
        return True

    def _ask_for_credential(self) -> None:
        """Ask headquarters, unless it may still be about to answer."""
        now_s = self._clock.monotonic_s()
        if self._asked_at_s is not None and now_s - self._asked_at_s < self._settings().confirm_interval_s:
            return
        cost_bytes = message_bytes(wire.SAS_REQUEST.body)
        day = self._ledger.budget.reserve(cost_bytes, Allowance.of(self._settings()))
        if day is None:
            return
        try:
            self._link.send(wire.SAS_REQUEST, message_id=None)
        except (TransientDelivery, PermanentDelivery) as exc:
            if isinstance(exc, NotSent):
                self._ledger.budget.give_back(day, cost_bytes)
            _log.info("upload credential not asked for: %s", exc)
        else:
            self._asked_at_s = now_s
