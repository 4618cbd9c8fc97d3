"""Messages as they come -> the record, whichever way they came: the event stream, or a bundle.

What cannot be understood is parked with its reason and an alert, and the rest goes on. A `media_stored` message counts
only once headquarters has looked at the blob.
"""

import asyncio
import hashlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from cloud_sync.database import StoreRefusedError
from cloud_sync.gaps import FIRST_SEQUENCE
from cloud_sync.media import Blobs, Finding
from cloud_sync.recording import Arrival
from cloud_sync.records import Origin, container_of, rows_of
from cloud_sync.schema import ID_MAX, MessageState
from cloud_sync.store import Position, Store
from edge_module import wire
from edge_module.errors import WireError

log = logging.getLogger(__name__)

_SEQUENCE_DIGITS_MAX: Final = 15
_UNKNOWN_KIND: Final = "unknown"
_KINDS: Final[dict[type, str]] = {
    wire.Records: "records",
    wire.MediaStored: "media_stored",
    wire.Receipt: "receipt",
    wire.Alert: "alert",
    wire.Status: "status",
    wire.Tombstone: "tombstone",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message as it came.

    Args:
        gateway_id: who sent it, authenticated by IoT Hub or by a bundle's signature; empty if nobody vouches.
        message_id: as given beside the body; tells the number of a body that cannot be read.
        asks_for_upload_sas: it is no message for the record, and has no number.
    """

    gateway_id: str
    message_id: str
    body: bytes
    received_at: datetime
    asks_for_upload_sas: bool = False


class Intake:
    """Takes deliveries into the record. Belongs to one event loop; the database is used in threads.

    `registered` are the gateways it knows of since it last met a sender that it did not know.
    """

    def __init__(self, store: Store, blobs: Blobs, *, blob_patience: timedelta = timedelta(hours=1)) -> None:
        """People are told of a message that has waited for its blob longer than `blob_patience`."""
        self._store = store
        self._blobs = blobs
        self._blob_patience = blob_patience
        self.registered: frozenset[str] = frozenset()

    async def take(self, deliveries: Sequence[Delivery], position: Position | None = None) -> set[str]:
        """Record deliveries, and how far the stream has been read. Again changes nothing.

        Returns:
            The gateways whose confirmation may have changed.

        Raises:
            StoreUnavailableError: the database is away; nothing was recorded, and nothing parked.
        """
        if not {d.gateway_id for d in deliveries} <= self.registered:
            gateways = await asyncio.to_thread(self._store.gateways)
            self.registered = frozenset(g.gateway_id for g in gateways)
        understood = [
            understand(d, self.registered)
            for d in deliveries
            if not (d.asks_for_upload_sas and d.gateway_id in self.registered)
        ]
        arrivals = await asyncio.gather(*(self._with_blob(a, payload) for a, payload in understood))
        return await self._record(arrivals, position)

    async def look_again(self) -> set[str]:
        """Look once more for the blobs that messages wait for; tells people of those that are overdue."""
        waiting = await asyncio.to_thread(self._store.held, MessageState.WAITING)
        touched: set[str] = set()
        for row in waiting:
            number = wire.message_id(row.ledger_id, row.sequence)
            delivery = Delivery(
                gateway_id=row.gateway_id, message_id=number, body=bytes(row.body), received_at=row.received_at
            )
            arrival = await self._with_blob(*understand(delivery, {row.gateway_id}))
            if arrival.state != MessageState.WAITING:
                touched |= await self._record([arrival], None)
            elif arrival.held and datetime.now(UTC) - row.received_at > self._blob_patience:
                text = f"message {number} speaks of a picture since {row.received_at.isoformat()}: {arrival.held[1]}"
                now = datetime.now(UTC)
                await asyncio.to_thread(
                    self._store.alert, row.gateway_id, arrival.held[0], text, at=now, subject=number
                )
        return touched

    async def _with_blob(self, arrival: Arrival, payload: wire.Payload | None) -> Arrival:
        if not isinstance(payload, wire.MediaStored):
            return arrival
        finding, why = await self._blobs.look(
            container_of(arrival.gateway_id),
            payload.blob_name,
            size_bytes=payload.size_bytes,
            sha256=payload.blob_sha256,
        )
        match finding:
            case Finding.THERE:
                return arrival
            case Finding.DIFFERS:
                return _parked(arrival, "blob_differs", why)
            case Finding.ABSENT | Finding.UNKNOWN:
                return replace(arrival, state=MessageState.WAITING, rows=[], held=(f"blob_{finding}", why))

    async def _record(self, arrivals: Sequence[Arrival], position: Position | None) -> set[str]:
        try:
            touched = await asyncio.to_thread(self._store.take, arrivals, position)
        except StoreRefusedError as exc:
            if len(arrivals) == 1:
                log.warning("parked a message of %s: %s", arrivals[0].gateway_id, exc)
                return await self._record([_parked(arrivals[0], "refused", str(exc))], position)
            touched_ids: set[str] = set()
            for arrival in arrivals:
                touched_ids |= await self._record([arrival], None)
            if position:
                await asyncio.to_thread(self._store.take, (), position)
            return touched_ids
        return {gateway_id for gateway_id, _ in touched}


def understand(delivery: Delivery, registered: Collection[str]) -> tuple[Arrival, wire.Payload | None]:
    """Decode a delivery, or say why it is to be parked. Pure."""
    arrival = Arrival(
        gateway_id=delivery.gateway_id[:ID_MAX],
        received_at=delivery.received_at,
        body=delivery.body,
        body_sha256=hashlib.sha256(delivery.body).digest(),
        kind=_UNKNOWN_KIND,
        state=MessageState.PARKED,
        origin=None,
        rows=[],
    )
    if delivery.gateway_id not in registered:
        reason = f"{delivery.gateway_id or 'nobody'} is not a registered gateway: `python -m cloud_sync gateway add`"
        return replace(arrival, held=("unregistered_sender", reason), subject="sender"), None
    arrival = replace(arrival, origin=_number_beside(delivery))
    if len(delivery.body) > wire.MESSAGE_MAX_BYTES:
        reason = f"{len(delivery.body)} bytes, {wire.MESSAGE_MAX_BYTES} allowed"
        return replace(arrival, body=delivery.body[:1024], held=("oversize", reason)), None
    try:
        message = wire.decode(delivery.body)
        origin = _number_within(delivery, message)
        arrival = replace(arrival, origin=origin)
        rows = rows_of(origin, message.payload)
    except WireError as exc:
        reason = str(exc)[:1000].encode("utf-8", "backslashreplace").decode().replace("\0", "?")
        return replace(arrival, held=("malformed", reason)), None
    kind = _KINDS[type(message.payload)]
    return replace(arrival, kind=kind, state=MessageState.RECORDED, rows=rows), message.payload


def _parked(arrival: Arrival, code: str, reason: str) -> Arrival:
    return replace(arrival, state=MessageState.PARKED, rows=[], held=(code, reason))


def _number_within(delivery: Delivery, message: wire.Message) -> Origin:
    if len(message.ledger_id) > ID_MAX or message.sequence < FIRST_SEQUENCE:
        raise WireError(f"message: numbers begin at {FIRST_SEQUENCE}, a ledger_id has up to {ID_MAX} characters")
    return Origin(
        gateway_id=delivery.gateway_id,
        ledger_id=message.ledger_id,
        sequence=message.sequence,
        received_at=delivery.received_at,
    )


def _number_beside(delivery: Delivery) -> Origin | None:
    ledger_id, _, digits = delivery.message_id.rpartition(":")
    known = ledger_id and len(ledger_id) <= ID_MAX and ledger_id.isprintable() and ledger_id.isascii()
    if not (known and digits.isascii() and digits.isdigit() and len(digits) <= _SEQUENCE_DIGITS_MAX):
        return None
    if int(digits) < FIRST_SEQUENCE:
        return None
    return Origin(
        gateway_id=delivery.gateway_id, ledger_id=ledger_id, sequence=int(digits), received_at=delivery.received_at
    )
