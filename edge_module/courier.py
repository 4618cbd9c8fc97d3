"""The courier: carries what the ledger owes to the cloud, and believes only what headquarters confirms.

Pictures go before words about them. A message stays in the ledger until headquarters' database has it; the edge hub's
PUBACK means no more than that the edge hub has it. The only place that retries, with back-off and jitter.
"""

import hashlib
import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from edge_module import wire
from edge_module.clock import Clock
from edge_module.errors import CredentialRefused, MediaError, PermanentDelivery, TransientDelivery
from edge_module.ledger import Ledger
from edge_module.originals import Originals
from edge_module.outbox import Owed
from edge_module.settings import Settings
from edge_module.uploads import Upload
from edge_module.variants import frame_jpeg

_log = logging.getLogger(__name__)

LEASE_S: Final = 120.0
_MESSAGES_A_STEP: Final = 20
_BACK_OFF_FIRST_S: Final = 2.0
_IDLE_S: Final = 5.0


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


class Link(Protocol):
    """What the courier needs of the link to the edge hub; `hub.Hub` is one."""

    @property
    def connected(self) -> bool:
        """Whether sending is worth a try."""

    def send(self, encoded: wire.Encoded, *, message_id: str | None) -> None:
        """Send and wait for the edge hub; raises `TransientDelivery` or `PermanentDelivery`."""


class Store(Protocol):
    """What the courier needs of Blob Storage; `blobs.Blobs` is one."""

    @property
    def has_credential(self) -> bool:
        """Whether there is a credential to try."""

    def put(self, name: str, content: bytes, *, content_type: str) -> None:
        """Store a blob; there already is success; raises `TransientDelivery` or `PermanentDelivery`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step of the courier moved, and whether something stands in the way."""

    moved: int
    hindered: bool


class Courier:
    """Carries messages and pictures, a few at a time. One thread calls `run`; the rest may be called from any."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        originals: Originals,
        link: Link,
        store: Store,
        clock: Clock,
        settings: Callable[[], Settings],
        reading: Callable[[], bool],
    ) -> None:
        """Put the courier together.

        Args:
            ledger: what is owed.
            originals: from which pictures are made.
            link: to the edge hub.
            store: Blob Storage.
            clock: for delays.
            settings: the settings in force now.
            reading: whether a card is being read now: batches wait to be full until it ends.
        """
        self._ledger = ledger
        self._originals = originals
        self._link = link
        self._store = store
        self._clock = clock
        self._settings = settings
        self._reading = reading
        self._wake = threading.Event()
        self._heard = False
        self._asked_sas_at: float | None = None
        self._store_failures = 0
        self._store_not_before_s = 0.0
        self._random = random.Random()

    def wake(self) -> None:
        """Something is owed, or the link is back: do not wait."""
        self._wake.set()

    def credential_changed(self) -> None:
        """A new upload credential has come: pictures may go."""
        self._store_not_before_s = 0.0
        self._ledger.uploads.retry()
        self.wake()

    def connected(self) -> None:
        """The link is back and what headquarters had to say has been heard: send at once what waited for it."""
        self._heard = True
        self._asked_sas_at = None
        self._store_not_before_s = 0.0
        self._ledger.outbox.retry()
        self.wake()

    def confirm(self, confirmed: wire.Confirmed) -> None:
        """Act on what headquarters says it holds."""
        self._ledger.confirm(confirmed, resend_older_than_s=self._settings().confirm_interval_s)
        self.wake()

    def run(self, stop: threading.Event) -> None:
        """Carry until told to stop."""
        while not stop.is_set():
            self._wake.clear()
            step = self.step()
            if not step.moved or step.hindered:
                self._wake.wait(_IDLE_S)

    def step(self) -> Step:
        """Carry a little of everything. Safe to be killed at any point."""
        while self._ledger.outbox.pack(flush=not self._reading()):
            pass
        # Not before headquarters was heard once: what it has confirmed may say that this ledger is an old copy.
        if not (self._link.connected and self._heard):
            return Step(moved=0, hindered=True)
        self._ledger.outbox.resend([(0, self._ledger.outbox.highest())], older_than_s=self._settings().resend_after_s)
        messages = self._carry_messages()  # first: a storage that hangs may keep the picture for a minute
        pictures = self._carry_pictures()
        return Step(moved=pictures.moved + messages.moved, hindered=pictures.hindered or messages.hindered)

    # --- pictures -------------------------------------------------------------------------------------------------

    def _carry_pictures(self) -> Step:
        if self._clock.monotonic_s() < self._store_not_before_s:
            return Step(moved=0, hindered=False)
        upload = self._ledger.uploads.next(lease_s=LEASE_S)
        if upload is None:
            return Step(moved=0, hindered=False)
        try:
            if not self._store.has_credential:
                raise CredentialRefused("no upload credential yet")
            message = self._store_picture(upload)
        except (MediaError, PermanentDelivery) as exc:
            _log.error("picture %s cannot be delivered: %s", upload.media_id, exc)
            self._ledger.uploads.fail(upload, reason=str(exc))
        except TransientDelivery as exc:
            if isinstance(exc, CredentialRefused):
                self._ask_for_credential()
            # What fails one picture would fail the others: all wait.
            self._store_failures += 1
            delay_s = self._back_off_s(self._store_failures)
            self._store_not_before_s = self._clock.monotonic_s() + delay_s
            _log.info("picture %s later, in %.0f s: %s", upload.media_id, delay_s, exc)
            self._ledger.uploads.later(upload, delay_s=delay_s, reason=str(exc))
            return Step(moved=0, hindered=True)
        else:
            self._store_failures = 0
            self._ledger.uploads.stored(upload, message)
        return Step(moved=1, hindered=False)

    def _store_picture(self, upload: Upload) -> wire.MediaStored:
        picture, message = make_picture(upload, self._originals)
        self._store.put(message.blob_name, picture, content_type="image/jpeg")
        return message

    def _ask_for_credential(self) -> None:
        now = self._clock.monotonic_s()
        if self._asked_sas_at is not None and now - self._asked_sas_at < self._settings().confirm_interval_s:
            return
        try:
            self._link.send(wire.SAS_REQUEST, message_id=None)
        except (TransientDelivery, PermanentDelivery) as exc:
            _log.info("upload credential not asked for: %s", exc)
        else:
            self._asked_sas_at = now

    # --- messages -------------------------------------------------------------------------------------------------

    def _carry_messages(self) -> Step:
        leased = self._ledger.outbox.lease(
            limit=_MESSAGES_A_STEP, lease_s=LEASE_S, bytes_max=self._settings().unconfirmed_max_bytes
        )
        moved = 0
        for i, owed in enumerate(leased):
            try:
                self._send(owed)
            except PermanentDelivery as exc:
                _log.error("message %d buried: %s", owed.sequence, exc)
                self._ledger.outbox.bury(owed.sequence, reason=str(exc))
            except TransientDelivery as exc:
                _log.info("message %d later: %s", owed.sequence, exc)
                for waiting in leased[i:]:
                    delay_s = self._back_off_s(waiting.attempts)
                    self._ledger.outbox.release(waiting.sequence, delay_s=delay_s, reason=str(exc))
                return Step(moved=moved, hindered=True)
            else:
                self._ledger.outbox.sent(owed.sequence)
            moved += 1
        return Step(moved=moved, hindered=False)

    def _send(self, owed: Owed) -> None:
        encoded = wire.Encoded(kind=owed.kind, content_type=owed.content_type, body=owed.body)
        self._link.send(encoded, message_id=owed.message_id)

    def _back_off_s(self, attempts: int) -> float:
        """Twice as long each time, with jitter so that gateways do not come back in step."""
        longest = min(_BACK_OFF_FIRST_S * 2.0 ** min(attempts - 1, 20), self._settings().retry_longest_s)
        return longest * self._random.uniform(0.5, 1.0)
