"""What headquarters makes of what gateways send: the real ingest process, Azure's own SDKs at both ends."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient, ContainerClient

from cloud_sync import schema
from edge_module import wire
from edge_module.domain import Fate
from tests.cloud_messages import NOW, receipt, records
from tests.integration.cloud.conftest import connected, stored, upload
from tests.local_azure import wait_until


async def test_what_is_sent_is_recorded_and_confirmed(hq, gateway):
    with hq.ingest():
        async with connected(gateway) as module:
            await module.send(1, records(0, 500))
            await module.send(2, records(500, 1, fate=Fate.PANDA))
            await module.send(3, receipt())
            await module.send(4, wire.Status(at=NOW, measures={"queue": 0}))
            await module.confirmed(ledger_id="ledger-1", through=4, highest=4, missing=(), parked=())
    lines = hq.run("export", "observations", "--format", "jsonl").stdout.splitlines()
    assert len(lines) == 501
    assert {json.loads(line)["gateway_id"] for line in lines} == {gateway.gateway_id}
    assert gateway.gateway_id in hq.run("gateway", "list").stdout


async def test_gaps_close_when_the_missing_is_sent_and_doubles_change_nothing(hq, gateway):
    with hq.ingest():
        async with connected(gateway) as module:
            for n in (1, 4, 2, 4, 1):
                await module.send(n, records(n, 1))
            await module.confirmed(through=2, highest=4, missing=((3, 3),))
            await module.send(3, records(3, 1))
            await module.confirmed(through=4, highest=4, missing=())
    assert len(hq.rows(schema.records, gateway)) == 4
    assert hq.alerts(gateway) == []


@pytest.mark.parametrize(
    ("body", "message_id", "parked"),
    [
        (b"\xff\xfe not JSON", "ledger-1:2", (2,)),
        (b'{"v":99,"kind":"record","ledger_id":"ledger-1","sequence":2}', "ledger-1:2", (2,)),
        (b'{"v":1,"kind":"poem","ledger_id":"ledger-1","sequence":2}', "ledger-1:2", (2,)),
        (b"x" * 250_000, "ledger-1:2", (2,)),
        (b"[" * 100_000, "ledger-1:2", (2,)),
        (b"", "who knows", ()),
    ],
)
async def test_a_message_that_cannot_be_understood_is_parked_and_the_rest_goes_on(
    hq, gateway, body, message_id, parked
):
    with hq.ingest():
        async with connected(gateway) as module:
            await module.send(1, records(1, 1))
            await module.send_raw(body, message_id)
            await module.send(3, records(3, 1))
            await module.confirmed(highest=3, parked=parked, through=3 if parked else 1)
    [held] = hq.rows(schema.held_bodies, gateway)
    assert (bytes(held["body"]), held["code"]) == (body, "malformed")
    assert hq.alerts(gateway) == ["malformed"]


async def test_a_body_that_names_another_gateway_changes_nothing_of_who_sent_it(hq, gateway):
    body = json.loads(wire.encode("ledger-1", 1, records(1, 1, fate=Fate.PANDA)).body)
    body |= {"gateway_id": "another", "device_id": "another", "iothub-connection-device-id": "another"}
    with hq.ingest():
        async with connected(gateway) as module:
            await module.send_raw(json.dumps(body).encode(), "ledger-1:1", **{"iothub-connection-device-id": "another"})
            await module.confirmed(through=1)
    assert [r["gateway_id"] for r in hq.rows(schema.records, gateway)] == [gateway.gateway_id]


async def test_a_sender_that_is_not_registered_is_parked_and_told_of_once(hq, local_azure):
    stranger = local_azure.add_gateway()
    with hq.ingest():
        async with connected(stranger) as module:
            await module.send(1, records(1, 1))
            await module.send(2, records(2, 1))
            await asyncio.to_thread(
                wait_until, lambda: len(hq.rows(schema.held_bodies, stranger)) == 2, what="two held bodies"
            )
            assert hq.rows(schema.records, stranger) == []
            assert hq.alerts(stranger) == ["unregistered_sender"]
            hq.run("gateway", "add", stranger.gateway_id)
            await module.send(1, records(1, 1))
            await module.send(2, records(2, 1))
            await module.confirmed(through=2)
    local_azure.end(stranger.gateway_id)


async def test_another_body_under_a_known_number_is_an_alert_and_no_update(hq, gateway):
    with hq.ingest():
        async with connected(gateway) as module:
            await module.send(1, records(1, 1))
            await module.send(1, records(2, 1))
            await module.send(2, records(3, 1))
            await module.confirmed(through=2, parked=())
    assert [r["path"] for r in hq.rows(schema.records, gateway) if r["sequence"] == 1] == [
        "DCIM/100RECNX/IMG_00001.JPG"
    ]
    assert hq.alerts(gateway) == ["another_body"]


async def test_a_picture_counts_once_headquarters_has_seen_it(hq, gateway):
    container = hq.container(gateway)
    with hq.ingest(PONYA_BLOB_PATIENCE_S="0.1"):
        async with connected(gateway) as module:
            await module.send(1, upload(container, "frame/a.jpg", b"a picture"))
            await module.confirmed(through=1)
            late = stored("frame/late.jpg", b"not there yet")
            await module.send(2, late)
            await module.send(3, records(3, 1))
            await module.confirmed(through=1, highest=3, missing=((2, 2),))
            await asyncio.to_thread(wait_until, lambda: "blob_absent" in hq.alerts(gateway), what="an alert")
            upload(container, "frame/late.jpg", b"not there yet")
            await module.confirmed(through=3, missing=())
    assert {m["blob_name"] for m in hq.rows(schema.media, gateway)} == {"frame/a.jpg", "frame/late.jpg"}
    container.close()


@pytest.mark.parametrize("there", [b"other bytes!", b"longer than the message says"])
async def test_a_picture_with_other_bytes_is_parked(hq, gateway, there):
    container = hq.container(gateway)
    container.upload_blob("frame/a.jpg", there)
    with hq.ingest():
        async with connected(gateway) as module:
            await module.send(1, stored("frame/a.jpg", b"what it says"))
            await module.confirmed(through=1, parked=(1,))
    assert hq.rows(schema.media, gateway) == []
    assert hq.alerts(gateway) == ["blob_differs"]
    container.close()


async def test_a_blob_name_cannot_leave_the_gateways_container(hq, gateway):
    other = hq.add_gateway()
    container = hq.container(other)
    upload(container, "frame/a.jpg", b"theirs")
    with hq.ingest():
        async with connected(gateway) as module:
            await module.send(1, stored(f"../gw-{other.gateway_id}/frame/a.jpg", b"theirs"))
            await module.confirmed(through=1, parked=(1,))
    assert hq.rows(schema.media, gateway) == []
    container.close()
    hq.azure.end(other.gateway_id)


async def test_an_upload_credential_comes_again_until_it_is_taken_and_opens_one_container_only(hq, gateway):
    other = hq.add_gateway()
    with hq.ingest():
        async with connected(gateway) as module:
            module.refuse = 2
            await module.ask_for_sas()
            async with asyncio.timeout(30):
                given = await module.upload_sas.get()
    assert set(given) == {"container_url", "sas", "expires_at"}
    assert given["container_url"].endswith(f"/gw-{gateway.gateway_id}")
    left = datetime.fromisoformat(given["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=6) < left <= timedelta(days=7)
    with BlobClient.from_blob_url(f"{given['container_url']}/frame/x.jpg?{given['sas']}") as blob:
        blob.upload_blob(b"x")
        with pytest.raises(HttpResponseError):
            blob.download_blob().readall()
        with pytest.raises(HttpResponseError):
            blob.delete_blob()
    with (
        ContainerClient.from_container_url(f"{given['container_url']}?{given['sas']}") as mine,
        pytest.raises(HttpResponseError),
    ):
        list(mine.list_blobs())
    theirs = given["container_url"].replace(gateway.gateway_id, other.gateway_id)
    with (
        BlobClient.from_blob_url(f"{theirs}/frame/x.jpg?{given['sas']}") as blob,
        pytest.raises(HttpResponseError),
    ):
        blob.upload_blob(b"x")
    assert given["sas"] not in hq.log()
    assert "sig=" not in hq.log()
    hq.azure.end(other.gateway_id)


async def test_a_killed_ingest_goes_on_where_the_database_stands(hq, gateway):
    async with connected(gateway) as module:
        with hq.ingest() as process:
            for n in range(1, 21):
                await module.send(n, records(10 * n, 10))
            await asyncio.to_thread(wait_until, lambda: hq.rows(schema.records, gateway), what="a first record")
            os.kill(process.pid, signal.SIGKILL)
        for n in range(21, 31):
            await module.send(n, records(10 * n, 10))
        with hq.ingest():
            await module.confirmed(through=30, highest=30, missing=())
    assert len(hq.rows(schema.records, gateway)) == 300
    assert hq.alerts(gateway) == []


async def test_two_consumers_share_the_partitions_and_one_takes_over(hq):
    gateways = [hq.add_gateway() for _ in range(4)]
    async with contextlib.AsyncExitStack() as stack:
        modules = [await stack.enter_async_context(connected(gateway)) for gateway in gateways]
        with hq.ingest() as first:
            for i, module in enumerate(modules):
                await module.send(1, records(1000 * i, 1))
            with hq.ingest():
                for n in range(2, 8):
                    for i, module in enumerate(modules):
                        await module.send(n, records(n + 1000 * i, 1))
                for module in modules:
                    await module.confirmed(through=7, highest=7)
                os.kill(first.pid, signal.SIGKILL)
                for i, module in enumerate(modules):
                    await module.send(8, records(8 + 1000 * i, 1))
                for module in modules:
                    await module.confirmed(through=8, highest=8)
    for gateway in gateways:
        assert len(hq.rows(schema.messages, gateway)) == 8
        assert hq.alerts(gateway) == []
        hq.azure.end(gateway.gateway_id)


async def test_a_restored_backup_takes_confirmations_back_and_reads_the_stream_again(hq, gateway):
    database = hq.folder / "hq.db"
    backup = hq.folder / "backup.db"
    async with connected(gateway) as module:
        with hq.ingest():
            await module.send(1, records(1, 1))
            await module.confirmed(through=1)
        hq.store.close()
        backup.write_bytes(database.read_bytes())
        with hq.ingest():
            await module.send(2, records(2, 1))
            await module.send(3, records(3, 1))
            await module.confirmed(through=3)
        hq.store.close()
        for stale in hq.folder.glob("hq.db-*"):
            stale.unlink()
        database.write_bytes(backup.read_bytes())
        with hq.ingest():
            await asyncio.to_thread(
                wait_until, lambda: "record_behind_confirmation" in hq.alerts(gateway), what="an alert"
            )
            await asyncio.to_thread(
                wait_until, lambda: len(hq.rows(schema.records, gateway)) == 3, what="three records"
            )
            await module.confirmed(through=3)


async def test_a_replaced_gateway_shuts_the_old_one_out_and_goes_on(hq, gateway):
    with hq.ingest():
        async with connected(gateway) as module:
            await module.send(1, records(1, 1))
            await module.confirmed(through=1)
        shown = hq.run("gateway", "add", "--replace", gateway.gateway_id).stdout
        assert f"DeviceId={gateway.gateway_id};SharedAccessKey=" in shown
        hq.azure.end(gateway.gateway_id)
        shutil.rmtree(hq.azure.folder / "gateways" / gateway.gateway_id)  # the old hardware's key and queue
        new = hq.azure.add_gateway(gateway.gateway_id, register=False)
        async with connected(new) as module:
            await module.send(1, records(2, 1), ledger_id="ledger-of-new-hardware")
            await module.confirmed(ledger_id="ledger-of-new-hardware", through=1)
    assert len(hq.rows(schema.records, gateway)) == 2
