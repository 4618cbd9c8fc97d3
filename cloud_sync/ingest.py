"""The event stream -> intake: an Event Hubs consumer that shares the partitions with others like it.

A checkpoint is written only after the commit. An exception that left `on_event` would restart its partition from there
for ever, so whatever is wrong with a message ends in the intake; what is wrong with the database is waited for here.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from cloud_sync import azure
from cloud_sync.confirming import Confirming
from cloud_sync.database import StoreUnavailableError
from cloud_sync.fleet import MODULE_ID, Fleet
from cloud_sync.intake import Delivery, Intake
from cloud_sync.media import Blobs
from cloud_sync.migrate import require_current
from cloud_sync.settings import IngestSettings
from cloud_sync.store import Position, Store
from cloud_sync.upload_sas import UploadSasAnswers
from edge_module import wire

log = logging.getLogger(__name__)

_EVENTS_AT_ONCE: Final = 100
_WAIT_S: Final = 1.0
_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
_SILENT_INTERVALS: Final = 6


class RecordedPositions(BlobCheckpointStore):
    """Checkpoints in Blob Storage, never ahead of the database.

    After a database has been restored from a backup, what the stream still keeps is read again.
    """

    def __init__(self, container: ContainerClient, store: Store) -> None:
        super().__init__("", "", container_client=container)
        self._store = store

    async def list_checkpoints(
        self, fully_qualified_namespace: str, eventhub_name: str, consumer_group: str, **kwargs: Any
    ) -> Iterable[dict[str, Any]]:
        """The checkpoints to go on from; a partition without one is read from its beginning."""
        written = await super().list_checkpoints(fully_qualified_namespace, eventhub_name, consumer_group, **kwargs)
        recorded = await asyncio.to_thread(self._store.positions, consumer_group)
        checkpoints = []
        for checkpoint in written:
            held = recorded.get(checkpoint["partition_id"])
            if held is None:
                continue
            if held.sequence_number < int(checkpoint["sequence_number"]):
                log.warning("partition %s: the database is behind the checkpoint, reading again", held.partition_id)
                checkpoint |= {"sequence_number": held.sequence_number, "offset": held.offset}
            checkpoints.append(checkpoint)
        return checkpoints


class Ingest:
    """Takes events. Belongs to one event loop."""

    def __init__(self, intake: Intake, confirming: Confirming, answers: UploadSasAnswers, consumer_group: str) -> None:
        self._intake = intake
        self._confirming = confirming
        self._answers = answers
        self._consumer_group = consumer_group

    async def on_events(self, partition: PartitionContext, events: list[EventData]) -> None:
        """Record a batch of events, then write the checkpoint."""
        if not events:
            return
        deliveries = [delivery_of(event) for event in events]
        last = events[-1]
        position = Position(
            consumer_group=self._consumer_group,
            partition_id=partition.partition_id,
            offset=str(last.offset),
            sequence_number=int(last.sequence_number or 0),
        )
        self._confirming.touch(await self._take(deliveries, position))
        for gateway_id in {d.gateway_id for d in deliveries if d.asks_for_upload_sas} & self._intake.registered:
            self._answers.request(gateway_id)
        try:
            await partition.update_checkpoint(last)
        except (AzureError, OSError) as exc:
            log.warning("partition %s: checkpoint not written (%s)", partition.partition_id, type(exc).__name__)

    async def _take(self, deliveries: list[Delivery], position: Position) -> set[str]:
        pause_s = _PAUSE_S
        while True:
            try:
                return await self._intake.take(deliveries, position)
            except StoreUnavailableError as exc:
                log.warning("partition %s waits: %s", position.partition_id, exc)
            except Exception:
                # Not the message's fault as far as anyone can tell: parking it would hide a fault of ours.
                log.exception("partition %s: cannot take %s messages", position.partition_id, len(deliveries))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def on_error(self, partition: PartitionContext | None, error: Exception) -> None:
        """The SDK begins again by itself."""
        where = f"partition {partition.partition_id}" if partition else "sharing the partitions"
        log.warning("%s: %s", where, type(error).__name__)


def delivery_of(event: EventData) -> Delivery:
    """What an event brings. Who sent it is told by IoT Hub's annotations alone.

    A message of another module than ours has no sender that we know.
    """
    system = event.system_properties
    module = _text(system.get(b"iothub-connection-module-id"))
    gateway = _text(system.get(b"iothub-connection-device-id"))
    try:
        body = b"".join(event.body)  # type: ignore[arg-type] # a data body; anything else is not a message of ours
    except (TypeError, ValueError):
        body = b""
    return Delivery(
        gateway_id=gateway if module == MODULE_ID else "",
        message_id=_text(system.get(b"message-id")),
        body=body,
        received_at=datetime.now(UTC),
        asks_for_upload_sas=(event.properties or {}).get(b"kind") == wire.SAS_REQUEST.kind.encode(),
    )


def _text(value: object) -> str:
    return value.decode("utf-8", "replace").replace("\0", "?") if isinstance(value, bytes) else str(value or "")


async def run(settings: IngestSettings, stop: asyncio.Event) -> None:
    """Ingest until `stop` is set.

    Raises:
        ConfigError: a setting cannot be used, or the database has another form.
        StoreUnavailableError: the database is away at start.
    """
    store = Store(settings.database_url)
    await asyncio.to_thread(require_current, store.engine)
    fleet = Fleet(
        azure.registry(settings.iothub),
        azure.storage(settings.storage),
        upload_sas=timedelta(days=settings.upload_sas_days),
    )
    answers = UploadSasAnswers(fleet.send_upload_sas)
    async with azure.async_storage(settings.storage) as service:
        intake = Intake(store, Blobs(service), blob_patience=timedelta(seconds=settings.blob_patience_s))
        confirming = Confirming(store, fleet, intake, interval_s=settings.confirm_interval_s)
        ingest = Ingest(intake, confirming, answers, settings.consumer_group)
        async with _checkpoints(service, settings.checkpoint_container) as container:
            consumer = EventHubConsumerClient.from_connection_string(
                settings.eventhub,
                consumer_group=settings.consumer_group,
                checkpoint_store=RecordedPositions(container, store),
                load_balancing_interval=settings.balance_interval_s,
                partition_ownership_expiration_interval=_SILENT_INTERVALS * settings.balance_interval_s,
            )
            async with consumer:
                receiving = consumer.receive_batch(
                    on_event_batch=ingest.on_events,
                    on_error=ingest.on_error,
                    max_batch_size=_EVENTS_AT_ONCE,
                    max_wait_time=_WAIT_S,
                    starting_position="-1",
                )
                await _until(stop, receiving, confirming.run())
            await answers.stop()
    store.close()


async def _until(stop: asyncio.Event, *work: Any) -> None:
    """Run `work` until asked to stop; if one of it ends by itself, so does the rest."""
    tasks = [asyncio.ensure_future(w) for w in work]
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
    ended = [t for t in tasks if t.done()]
    for task in (*tasks, stopping):
        task.cancel()
    await asyncio.gather(*tasks, stopping, return_exceptions=True)
    for task in ended:
        task.result()


@asynccontextmanager
async def _checkpoints(service: BlobServiceClient, name: str) -> AsyncIterator[ContainerClient]:
    """The container that holds checkpoints and who owns which partition; waits for Blob Storage."""
    pause_s = _PAUSE_S
    async with service.get_container_client(name) as container:
        while True:
            try:
                await container.create_container()
                break
            except ResourceExistsError:
                break
            except (AzureError, OSError) as exc:
                log.warning("waiting for Blob Storage: %s", type(exc).__name__)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        yield container
