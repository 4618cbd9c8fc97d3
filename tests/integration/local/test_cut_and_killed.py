"""Nothing that was acknowledged is lost: links cut, processes killed, sessions forgotten."""

import asyncio
import contextlib
import itertools
from collections import Counter

import pytest
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import Twin, TwinProperties

from tests.integration.local.conftest import eventually, heard, message, module_client
from tests.local_azure import EventStream, LocalAzure, wait_until


async def send(client, names):
    """Send one after the other, again until acknowledged, as a module with an outbox does.

    The SDK goes on with what was given up, so each attempt may arrive: its number tells them apart.
    """
    for name in names:
        for attempt in itertools.count(1):
            with contextlib.suppress(Exception):
                async with asyncio.timeout(10):
                    await client.send_message_to_output(message(name, attempt=attempt), "output1")
                break
            await asyncio.sleep(0.05)


def first_seen(events):
    return list(dict.fromkeys(event.body_as_str() for event in events))


async def test_a_site_without_a_link_keeps_its_messages_in_order(gateway, events):
    names = [f"{n:03}" for n in range(100)]
    async with module_client(gateway) as client:
        gateway.cut_upstream()
        await send(client, names)
        assert client.connected
        status = gateway.status()
        assert (status["waiting"], status["upstream_connected"]) == (100, False)
        assert events.of_gateway(gateway) == []
        gateway.restore_upstream()
        received = await asyncio.to_thread(events.wait_for, gateway, 100)
        assert client.connected
    assert [event.body_as_str() for event in received] == names
    wait_until(lambda: gateway.status()["waiting"] == 0)


async def test_what_is_reported_without_a_link_arrives_when_it_is_back(gateway, registry):
    name = gateway.gateway_id
    async with module_client(gateway) as client:
        gateway.cut_upstream()
        wait_until(lambda: not gateway.status()["upstream_connected"])
        patch = Twin(properties=TwinProperties(desired={"settings": {"a": 1}}))
        await asyncio.to_thread(registry.update_module_twin, name, "camtrap", patch)
        await client.patch_twin_reported_properties({"cards": {"one": 1, "two": 2}})
        await client.patch_twin_reported_properties({"cards": {"one": None}})
        assert (await client.get_twin()) == {
            "desired": {"$version": 1},
            "reported": {"cards": {"two": 2}, "$version": 3},
        }
        patches = heard(client)
        await client.get_twin()
        gateway.restore_upstream()
        await eventually(lambda: {"settings": {"a": 1}, "$version": 2} in patches)
        reported = wait_until(lambda: registry.get_module_twin(name, "camtrap").properties.reported.get("cards"))
        assert reported == {"two": 2}
        assert (await client.get_twin())["reported"]["cards"] == {"two": 2}


async def test_killing_the_edge_hub_loses_nothing_it_acknowledged(gateway, events, local_azure):
    names = [f"{n:03}" for n in range(60)]
    async with module_client(gateway) as client:
        gateway.cut_upstream()
        await send(client, names[:20])
        sending = asyncio.create_task(send(client, names[20:]))
        wait_until(lambda: gateway.status()["waiting"] >= 20)
        await asyncio.to_thread(local_azure.kill, gateway.gateway_id)
        await asyncio.to_thread(local_azure.restart, gateway.gateway_id)
        await sending
    received = await asyncio.to_thread(events.wait_for, gateway, 60)
    assert first_seen(received) == names


async def test_killing_the_hub_loses_nothing_it_stored():
    names = [f"{n:03}" for n in range(60)]
    with LocalAzure.started(storage=False) as azure:
        gateway = azure.add_gateway()
        with azure.environment():
            registry = IoTHubRegistryManager.from_connection_string(azure.service_env["IOTHUB_CONNECTION_STRING"])
            registry.update_module_twin(gateway.gateway_id, "camtrap", Twin(tags={"site": "north"}))
        async with module_client(gateway) as client:
            await send(client, names[:20])
            sending = asyncio.create_task(send(client, names[20:]))
            await asyncio.to_thread(azure.kill, "hub")
            await sending
            assert client.connected
            await asyncio.to_thread(azure.restart, "hub")
            with EventStream.of(azure) as events:
                received = await asyncio.to_thread(lambda: wait_until(lambda: complete(events, gateway, names)))
        assert first_seen(received) == names
        with azure.environment():
            assert registry.get_module_twin(gateway.gateway_id, "camtrap").tags == {"site": "north"}


def complete(events, gateway, names):
    received = events.of_gateway(gateway)
    return received if {event.body_as_str() for event in received} == set(names) else None


async def test_a_module_that_loses_its_edge_hub_keeps_its_subscriptions(gateway, registry):
    async with module_client(gateway, keep_alive=5) as client:
        patches = heard(client)
        await client.get_twin()
        gateway.cut_module()
        await eventually(lambda: not client.connected)
        gateway.restore_module()
        await eventually(lambda: client.connected and gateway.status()["modules_connected"])
        patch = Twin(properties=TwinProperties(desired={"settings": {"a": 1}}))
        await asyncio.to_thread(registry.update_module_twin, gateway.gateway_id, "camtrap", patch)
        await eventually(lambda: {"settings": {"a": 1}, "$version": 2} in patches)


async def test_an_edge_hub_that_forgets_its_sessions_says_nothing_until_asked_again(gateway, registry):
    async with module_client(gateway) as client:
        patches = heard(client)
        await client.get_twin()
        changes = []
        client.on_connection_state_change = lambda: changes.append(client.connected)
        gateway.drop_sessions()
        await eventually(lambda: changes == [False, True])
        patch = Twin(properties=TwinProperties(desired={"settings": {"a": 1}}))
        await asyncio.to_thread(registry.update_module_twin, gateway.gateway_id, "camtrap", patch)
        await send(client, ["still sends"])
        await eventually(lambda: gateway.status()["waiting"] == 0)
        assert patches == []
    async with module_client(gateway) as client:
        assert (await client.get_twin())["desired"]["settings"] == {"a": 1}


async def test_messages_older_than_their_time_to_live_are_dropped(local_azure, events):
    gateway = local_azure.add_gateway(arguments=("--time-to-live-s", "1"))
    async with module_client(gateway) as client:
        gateway.cut_upstream()
        await send(client, ["old"])
        await eventually(lambda: gateway.status()["expired"] == 1)
        gateway.restore_upstream()
        await send(client, ["new"])
        received = await asyncio.to_thread(events.wait_for, gateway, 1)
    assert [event.body_as_str() for event in received] == ["new"]
    local_azure.end(gateway.gateway_id)


@pytest.mark.parametrize("cut_at", ["request", "response"])
@pytest.mark.parametrize("hop", ["module", "upstream"])
async def test_a_flaky_hop_doubles_at_most(gateway, events, local_azure, hop, cut_at):
    names = [f"{n:02}" for n in range(20)]
    local_azure.fault(gateway.gateway_id, hop, cut_at=cut_at, next=3)
    async with module_client(gateway) as client:
        await send(client, names)
        await eventually(lambda: local_azure.faults(gateway.gateway_id)[hop]["hits"] > 0)
        local_azure.restore(gateway.gateway_id)
        received = await asyncio.to_thread(lambda: wait_until(lambda: complete(events, gateway, names)))
    assert first_seen(received) == names
    if cut_at == "request":
        arrivals = Counter((event.body_as_str(), event.properties[b"attempt"]) for event in received)
        assert set(arrivals.values()) == {1}  # what was sent once arrives once


async def test_deliveries_are_doubled_and_shuffled_when_told_to(gateway, events, local_azure):
    names = [f"{n:02}" for n in range(30)]
    local_azure.fault(gateway.gateway_id, "upstream", duplicate=0.5, reorder_ms=300, seed=3)
    async with module_client(gateway) as client:
        await send(client, names)
        await eventually(lambda: gateway.status()["waiting"] == 0)
        received = await asyncio.to_thread(lambda: wait_until(lambda: complete(events, gateway, names)))
    bodies = [event.body_as_str() for event in received]
    assert len(bodies) > len(names)
    assert bodies != sorted(bodies)
