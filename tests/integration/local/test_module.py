"""What a gateway's module gets, through azure-iot-device."""

import asyncio
import json
import re

import pytest
from azure.iot.device import MethodResponse
from azure.iot.device.exceptions import ClientError
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from msrest.exceptions import HttpOperationError

from tests.integration.local.conftest import eventually, heard, message, module_client


async def test_a_message_reaches_the_stream_with_the_senders_name_set_by_the_hub(gateway, events):
    sent = message(json.dumps({"device": "somebody else"}))
    sent.custom_properties["kind"] = "panda & review = ü/ +"
    sent.custom_properties["iothub-connection-device-id"] = "somebody else"
    async with module_client(gateway) as client:
        await client.send_message_to_output(sent, "output1")
    [event] = await asyncio.to_thread(events.wait_for, gateway, 1)
    assert event.body_as_json() == {"device": "somebody else"}
    assert event.system_properties[b"iothub-connection-device-id"] == gateway.gateway_id.encode()
    assert event.system_properties[b"iothub-connection-module-id"] == b"camtrap"
    generation = gateway.module_env["IOTEDGE_MODULEGENERATIONID"].encode()
    assert event.system_properties[b"iothub-connection-auth-generation-id"] == generation
    assert event.properties[b"kind"].decode() == "panda & review = ü/ +"
    assert (event.message_id, event.content_type) == (sent.message_id, "application/json")
    assert event.system_properties[b"content-encoding"] == b"utf-8"


async def test_a_twin_goes_both_ways(gateway, registry):
    name = gateway.gateway_id
    async with module_client(gateway) as client:
        patches = heard(client)
        assert await client.get_twin() == {"desired": {"$version": 1}, "reported": {"$version": 1}}
        await client.patch_twin_reported_properties({"firmware": "1.0", "gone": 1, "seen": {"ü": [1, 2]}})
        await client.patch_twin_reported_properties({"gone": None})

        first = Twin(properties=TwinProperties(desired={"settings": {"a": 1, "b": "x"}}))
        await asyncio.to_thread(registry.update_module_twin, name, "camtrap", first)
        second = Twin(properties=TwinProperties(desired={"settings": {"a": None}, "model": 2}))
        await asyncio.to_thread(registry.update_module_twin, name, "camtrap", second)
        await eventually(lambda: len(patches) == 2)
        assert patches == [
            {"settings": {"a": 1, "b": "x"}, "$version": 2},
            {"settings": {"a": None}, "model": 2, "$version": 3},
        ]
        twin = await client.get_twin()
        assert twin["desired"] == {"settings": {"b": "x"}, "model": 2, "$version": 3}
        assert twin["reported"] == {"firmware": "1.0", "seen": {"ü": [1, 2]}, "$version": 3}
        await eventually(lambda: registry.get_module_twin(name, "camtrap").properties.reported["$version"] == 3)
    reported = registry.get_module_twin(name, "camtrap").properties.reported
    assert {k: v for k, v in reported.items() if k[0] != "$"} == {"firmware": "1.0", "seen": {"ü": [1, 2]}}
    assert reported["$metadata"]["seen"]["$lastUpdatedVersion"] == 2


async def test_what_was_desired_while_the_module_was_away_is_there_when_it_comes_back(gateway, registry):
    async with module_client(gateway) as client:
        await client.get_twin()
    patch = Twin(properties=TwinProperties(desired={"settings": {"a": 1}}))
    await asyncio.to_thread(registry.update_module_twin, gateway.gateway_id, "camtrap", patch)
    async with module_client(gateway) as client:
        # The patch may still be on its way when the twin is read.
        patches = heard(client)
        twin = await client.get_twin()
        await eventually(lambda: {"settings": {"a": 1}, "$version": 2} in [twin["desired"], *patches])


async def test_a_method_is_answered(gateway, registry):
    async with module_client(gateway) as client:

        async def answer(request):
            response = MethodResponse.create_from_method_request(request, 207, {"got": request.payload})
            await client.send_method_response(response)

        client.on_method_request_received = answer
        await client.get_twin()
        asked = CloudToDeviceMethod(
            method_name="upload media",
            payload={"id": "ü"},
            response_timeout_in_seconds=10,
            connect_timeout_in_seconds=10,
        )
        answered = await asyncio.to_thread(registry.invoke_device_module_method, gateway.gateway_id, "camtrap", asked)
    assert (answered.status, answered.payload) == (207, {"got": {"id": "ü"}})


async def test_a_method_nobody_answers_says_why(gateway, registry):
    asked = CloudToDeviceMethod(method_name="x", payload={}, response_timeout_in_seconds=5)
    with pytest.raises(HttpOperationError) as absent:
        await asyncio.to_thread(registry.invoke_device_module_method, gateway.gateway_id, "camtrap", asked)
    assert absent.value.response.status_code == 404
    assert json.loads(absent.value.response.json()["Message"])["errorCode"] == 404103
    async with module_client(gateway) as client:

        async def ignore(request):
            pass

        client.on_method_request_received = ignore
        await client.get_twin()
        with pytest.raises(HttpOperationError) as silent:
            await asyncio.to_thread(registry.invoke_device_module_method, gateway.gateway_id, "camtrap", asked)
    assert silent.value.response.status_code == 504
    assert json.loads(silent.value.response.json()["Message"])["errorCode"] == 504101


async def test_reported_properties_keep_azures_limits(gateway):
    async with module_client(gateway) as client:
        for refused in (
            {"a.b": 1},
            {"a b": 1},
            {"a$b": 1},
            {"a\u0001b": 1},
            {"long": "x" * 4097},
            {"n": 1 << 60},
            {str(n): "x" * 4096 for n in range(9)},
        ):
            with pytest.raises(ClientError) as error:
                await client.patch_twin_reported_properties(refused)
            assert re.search("40[03]", str(error.value.__cause__))
        await client.patch_twin_reported_properties({str(n): "x" * 4096 for n in range(7)})
        with pytest.raises(ClientError) as error:
            await client.patch_twin_reported_properties({"7": "x" * 4096, "8": "y"})
        assert "403" in str(error.value.__cause__)
        assert (await client.get_twin())["reported"]["$version"] == 2


async def test_the_largest_message_gets_through_and_a_larger_one_does_not(gateway, events):
    async with module_client(gateway) as client:
        largest = message("x" * (255 * 1024))
        largest.message_id = "largest"
        await client.send_message_to_output(largest, "output1")
    [event] = await asyncio.to_thread(events.wait_for, gateway, 1)
    assert len(event.body_as_str()) == 255 * 1024
