"""What headquarters needs goes away for a while: nothing is parked, nothing is lost, it goes on by itself."""

import asyncio

import pytest

from cloud_sync import schema
from cloud_sync.store import Store
from tests.cloud_messages import records
from tests.databases import running_postgresql
from tests.integration.cloud.conftest import Headquarters, connected, upload
from tests.local_azure import wait_until


@pytest.fixture
def on_postgresql(hq):
    with running_postgresql() as server:
        url = server.new_database()
        store = Store(url)
        yield Headquarters(hq.azure, hq.folder, hq.env | {"PONYA_DATABASE_URL": url}, store), server
        store.close()


async def test_a_database_that_is_away_is_waited_for(on_postgresql):
    hq, server = on_postgresql
    gateway = hq.add_gateway()
    with hq.ingest():
        async with connected(gateway) as module:
            await module.send(1, records(1, 1))
            await module.confirmed(through=1)
            await asyncio.to_thread(server.stop)
            for n in (2, 3, 4):
                await module.send(n, records(n, 1))
            await asyncio.to_thread(wait_until, lambda: "the database is away" in hq.log(), what="a line in the log")
            await asyncio.to_thread(server.restart)
            await module.confirmed(through=4, highest=4, parked=(), missing=(), timeout_s=60)
    assert len(hq.rows(schema.records, gateway)) == 4
    assert hq.rows(schema.held_bodies, gateway) == []
    assert hq.alerts(gateway) == []
    hq.azure.end(gateway.gateway_id)


async def test_blob_storage_that_is_away_holds_up_pictures_only(hq, gateway):
    container = hq.container(gateway)
    with hq.ingest():
        async with connected(gateway) as module:
            picture = upload(container, "frame/a.jpg", b"a picture")
            await module.send(1, records(1, 1))
            await module.confirmed(through=1)
            hq.azure.fault("blob-proxy", "storage", cut=True)
            try:
                await module.send(2, picture)
                await module.send(3, records(3, 1))
                await module.confirmed(through=1, highest=3, missing=((2, 2),), timeout_s=60)
            finally:
                hq.azure.restore("blob-proxy")
            await module.confirmed(through=3, missing=(), timeout_s=60)
    assert hq.alerts(gateway) == []
    container.close()


async def test_a_hub_that_refuses_twins_gets_the_confirmation_later(hq, gateway):
    with hq.ingest():
        async with connected(gateway) as module:
            await module.send(1, records(1, 1))
            await module.confirmed(through=1)
            hq.azure.fault("hub", "registry", status=503)
            try:
                await module.send(2, records(2, 1))
                await asyncio.to_thread(
                    wait_until, lambda: len(hq.rows(schema.records, gateway)) == 2, what="the second record"
                )
                await asyncio.to_thread(wait_until, lambda: "confirmation comes later" in hq.log(), what="a line")
            finally:
                hq.azure.restore("hub")
            await module.confirmed(through=2, timeout_s=60)
