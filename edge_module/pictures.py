"""The courier of pictures: originals that were kept -> pictures in Blob Storage, and then the words about them.

A thread of its own: a storage that hangs holds up no verdict.
"""

import hashlib
import logging
import threading
from collections.abc import Callable
from typing import Final, Protocol

from edge_module import wire
from edge_module.breath import Beat
from edge_module.clock import Clock
from edge_module.courier import LEASE_S, Link, back_off_s
from edge_module.errors import CredentialRefused, MediaError, PermanentDelivery, TransientDelivery
from edge_module.ledger import Ledger
from edge_module.originals import Originals
from edge_module.settings import Settings
from edge_module.uploads import Upload
from edge_module.variants import frame_jpeg

_log = logging.getLogger(__name__)
_IDLE_S: Final = 5.0


_SLOWEST_BYTES_PER_S: Final = 500.0
"""Over a slower link than this a picture counts as stuck, and the module is started anew."""


class Store(Protocol):
    """What the courier needs of Blob Storage; `blobs.Blobs` is one."""

    @property
    def has_credential(self) -> bool:
        """Whether there is a credential to try."""

    def put(self, name: str, content: bytes, *, content_type: str) -> None:
        """Store a blob; there already is success; raises `TransientDelivery` or `PermanentDelivery`."""


def make_picture(upload: Upload, originals: Originals) -> tuple[bytes, wire.MediaStored]:
    """Make the picture that is owed, and the words about it for when it is stored.

    Raises:
        MediaError: the original is gone or cannot be decoded.
    """
    picture = frame_jpeg(originals.read(upload.media_id, upload.name))
    digest = hashlib.sha256(picture).hexdigest()
    return picture, wire.MediaStored(
        media_id=upload.media_id,
        variant=upload.variant,
        # The name says what is in it: "there already" can only mean the same bytes.
        blob_name=f"{upload.variant}/{upload.media_id}-{digest[:16]}.jpg",
        blob_sha256=digest,
        size_bytes=len(picture),
    )


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

    def wake(self) -> None:
        """A picture may be owed: do not wait."""
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
        if self._clock.monotonic_s() < self._not_before_s:
            return False
        upload = self._ledger.uploads.next(lease_s=LEASE_S)
        if upload is None:
            return False
        try:
            message = self._put(upload)
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

    def _put(self, upload: Upload) -> wire.MediaStored:
        if not self._store.has_credential:
            raise CredentialRefused("no upload credential yet")
        picture, message = make_picture(upload, self._originals)
        self._beat(allow_s=len(picture) / _SLOWEST_BYTES_PER_S)
        self._store.put(message.blob_name, picture, content_type="image/jpeg")
        return message

    def _later(self, upload: Upload, exc: TransientDelivery) -> None:
        if isinstance(exc, CredentialRefused):
            self._ask_for_credential()
        # What fails one picture would fail the others: all wait.
        self._failures += 1
        delay_s = back_off_s(self._failures, longest_s=self._settings().retry_longest_s)
        self._not_before_s = self._clock.monotonic_s() + delay_s
        _log.info("picture %s later, in %.0f s: %s", upload.media_id, delay_s, exc)
        self._ledger.uploads.later(upload, delay_s=delay_s, reason=str(exc))

    def _ask_for_credential(self) -> None:
        """Ask headquarters, unless it may still be about to answer."""
        now_s = self._clock.monotonic_s()
        if self._asked_at_s is not None and now_s - self._asked_at_s < self._settings().confirm_interval_s:
            return
        try:
            self._link.send(wire.SAS_REQUEST, message_id=None)
        except (TransientDelivery, PermanentDelivery) as exc:
            _log.info("upload credential not asked for: %s", exc)
        else:
            self._asked_at_s = now_s
