"""What headquarters gets from the event stream, through azure-eventhub."""

import asyncio
import contextlib
import json
import uuid
import zlib

import pytest
from azure.eventhub import TransportType
from azure.eventhub.aio import EventHubConsumerClient
from azure.eventhub.exceptions import EventHubError
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore
from azure.storage.blob.aio import BlobServiceClient

from tests.integration.local.conftest import eventually, message, module_client
from tests.local_azure import wait_until


def consumer(azure, connection=None, group="hq", **options):
    text = connection or azure.service_env["EVENTHUB_CONNECTION_STRING"]
    return EventHubConsumerClient.from_connection_string(text, consumer_group=group, **options)


async def test_a_gateways_messages_stay_in_one_partition_and_in_order(gateway, events):
    async with module_client(gateway) as client:
        for n in range(20):
            await client.send_message_to_output(message(str(n)), "o")
    received = await asyncio.to_thread(events.wait_for, gateway, 20)
    assert [event.body_as_str() for event in received] == [str(n) for n in range(20)]
    assert [int(e.offset) for e in received] == sorted({int(e.offset) for e in received})


async def test_a_consumer_starts_where_it_is_told(gateway, events, local_azure):
    async with module_client(gateway) as client:
        for n in range(5):
            await client.send_message_to_output(message(str(n)), "o")
    received = await asyncio.to_thread(events.wait_for, gateway, 5)
    partition = str(zlib.crc32(gateway.gateway_id.encode()) % 4)
    third = received[2]
    for position, inclusive, first in (
        (third.offset, False, "3"),
        (third.offset, True, "2"),
        (third.sequence_number, False, "3"),
        (received[0].enqueued_time, True, "0"),
    ):
        async with consumer(local_azure) as client:
            got = asyncio.Queue()

            async def on_event(_context, event, got=got):
                if event.system_properties[b"iothub-connection-device-id"] == gateway.gateway_id.encode():
                    got.put_nowait(event.body_as_str())

            task = asyncio.create_task(
                client.receive(
                    on_event=on_event,
                    partition_id=partition,
                    starting_position=position,
                    starting_position_inclusive=inclusive,
                )
            )
            async with asyncio.timeout(20):
                assert await got.get() == first
            await stop(task)


async def test_two_consumers_share_the_partitions_and_one_takes_over(local_azure):
    checkpoints = f"checkpoints-{uuid.uuid4().hex[:8]}"
    storage = local_azure.service_env["STORAGE_CONNECTION_STRING"]
    owned = {"a": set(), "b": set()}

    def start(name):
        async def claimed(context):
            owned[name].add(context.partition_id)

        async def lost(context, _reason):
            owned[name].discard(context.partition_id)

        async def on_event(context, event):
            await context.update_checkpoint(event)

        store = BlobCheckpointStore.from_connection_string(storage, checkpoints)
        client = consumer(
            local_azure, checkpoint_store=store, load_balancing_interval=1, partition_ownership_expiration_interval=4
        )
        task = asyncio.create_task(
            client.receive(
                on_event=on_event, on_partition_initialize=claimed, on_partition_close=lost, starting_position="-1"
            )
        )
        return client, store, task

    async with BlobServiceClient.from_connection_string(storage) as blobs:
        await blobs.create_container(checkpoints)
    first, first_store, first_task = start("a")
    await eventually(lambda: len(owned["a"]) == 4)
    second, second_store, second_task = start("b")
    await eventually(lambda: len(owned["a"]) == len(owned["b"]) == 2 and not owned["a"] & owned["b"], 40)
    await stop(first_task)
    await first.close()
    await first_store.close()
    await eventually(lambda: len(owned["b"]) == 4, 40)
    await stop(second_task)
    await second.close()
    await second_store.close()


async def test_the_stream_is_served_with_tls_too(local_azure):
    hub = json.loads((local_azure.folder / "hub/hub.json").read_text())
    port = hub["event_hub_tls"].split("/;")[0].rpartition(":")[2]
    plain = hub["event_hub_tls"].replace(f":{port}/", "/")
    ca = hub["ca"]
    async with consumer(
        local_azure,
        plain,
        custom_endpoint_address=f"sb://localhost:{port}",
        connection_verify=ca,
        transport_type=TransportType.Amqp,
    ) as client:
        assert (await client.get_eventhub_properties())["partition_ids"] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("what", ["key", "group", "stream"])
async def test_who_asks_wrongly_is_refused(local_azure, what):
    good = local_azure.service_env["EVENTHUB_CONNECTION_STRING"]
    connection, group = good, "hq"
    if what == "key":
        connection = good.replace("SharedAccessKey=", "SharedAccessKey=wrong")
    elif what == "stream":
        connection = good.replace("EntityPath=ponya-events", "EntityPath=another")
    else:
        group = "nobody"
    errors = asyncio.Queue()

    async def on_error(_context, error):
        errors.put_nowait(error)

    async def on_event(_context, _event):
        pass

    client = consumer(local_azure, connection, group, retry_total=0)
    async with client, asyncio.timeout(30):
        receiving = asyncio.create_task(client.receive(on_event=on_event, on_error=on_error, partition_id="0"))
        assert isinstance(await errors.get(), EventHubError)
        await stop(receiving)


async def test_a_higher_level_takes_a_partition_away(local_azure):
    lost = asyncio.Queue()

    async def on_event(_context, _event):
        pass

    async def on_error(_context, error):
        lost.put_nowait(error)

    first, second = consumer(local_azure, retry_total=0), consumer(local_azure, retry_total=0)
    async with first, second, asyncio.timeout(30):
        one = asyncio.create_task(first.receive(on_event, on_error=on_error, partition_id="0", owner_level=1))
        await eventually(lambda: local_azure.status("hub")["receivers"] >= 1)
        two = asyncio.create_task(second.receive(on_event, partition_id="0", owner_level=2))
        assert "stolen" in str(await lost.get()).lower()
        await stop(one)
        await stop(two)


async def test_consumers_come_back_after_a_cut(gateway, events, local_azure):
    local_azure.fault("hub", "events", cut=True)
    async with module_client(gateway) as client:
        await client.send_message_to_output(message("while it was cut"), "o")
    wait_until(lambda: local_azure.status("hub")["receivers"] == 0)
    local_azure.restore("hub")
    [event] = await asyncio.to_thread(events.wait_for, gateway, 1, timeout_s=60)
    assert event.body_as_str() == "while it was cut"


async def stop(task):
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
