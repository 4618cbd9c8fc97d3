"""What headquarters gets from the registry, through azure-iot-hub."""

import base64
import contextlib
import uuid

import pytest
import requests
from azure.iot.hub import IoTHubConfigurationManager, IoTHubRegistryManager
from azure.iot.hub.models import (
    CloudToDeviceMethod,
    ConfigurationContent,
    QuerySpecification,
    Twin,
    TwinProperties,
)
from msrest.exceptions import HttpOperationError

from deployment.local import sas


@pytest.fixture
def device(registry):
    name = f"registry-{uuid.uuid4().hex[:8]}"
    registry.create_device_with_sas(name, "", "", "enabled", iot_edge=True)
    registry.create_module_with_sas(name, "camtrap", "iotEdge", "", "")
    yield name
    registry.delete_device(name)


@pytest.fixture
def deployments(local_azure, registry):
    return IoTHubConfigurationManager.from_connection_string(local_azure.service_env["IOTHUB_CONNECTION_STRING"])


def refused(status, call, *args):
    with pytest.raises(HttpOperationError) as error:
        call(*args)
    assert error.value.response.status_code == status, error.value.response.text
    return error.value.response.json()["Message"]


def desired(section):
    return Twin(properties=TwinProperties(desired=section))


def own(section):
    return {key: value for key, value in section.items() if not key.startswith("$")}


def rest(local_azure, method, path, body=None):
    """A request that azure-iot-hub would not make."""
    parts = dict(part.split("=", 1) for part in local_azure.service_env["IOTHUB_CONNECTION_STRING"].split(";"))
    return requests.request(
        method,
        f"https://{parts['HostName']}{path}",
        data=body,
        headers={
            "Authorization": sas.token(parts["HostName"], parts["SharedAccessKey"], lifetime_s=60, policy="iothubowner")
        },
        verify=local_azure.service_env["REQUESTS_CA_BUNDLE"],
        timeout=60,
    )


def test_devices_are_listed_as_each_sdk_asks(local_azure, device):
    for path in ("/devices?top=1000", "/devices/"):  # azure-iot-hub for Python, azure-iothub for Node
        assert device in [one["deviceId"] for one in rest(local_azure, "GET", path).json()]


def test_a_device_and_its_module_get_keys_and_generations(registry, device):
    found = registry.get_device(device)
    assert found.capabilities.iot_edge
    assert len(base64.b64decode(found.authentication.symmetric_key.primary_key)) == 32
    modules = {module.module_id: module for module in registry.get_modules(device)}
    assert sorted(modules) == ["$edgeAgent", "$edgeHub", "camtrap"]
    assert modules["camtrap"].generation_id != found.generation_id


def test_a_device_made_again_is_another_generation(registry, device):
    before = registry.get_device(device).generation_id
    registry.delete_device(device)
    assert registry.create_device_with_sas(device, "", "", "enabled").generation_id != before


def test_own_keys_and_status_are_kept(registry, device):
    key = base64.b64encode(b"k" * 32).decode()
    before = registry.get_device(device)
    registry.update_device_with_sas(device, before.etag, key, key, "disabled")
    after = registry.get_device(device)
    assert (after.authentication.symmetric_key.primary_key, after.status) == (key, "disabled")
    refused(412, registry.update_device_with_sas, device, before.etag, key, key, "enabled")


def test_what_is_not_there_or_there_already_is_said(registry, device):
    assert "DeviceNotFound" in refused(404, registry.get_device, "nobody")
    assert "DeviceNotFound" in refused(404, registry.get_twin, "nobody")
    assert "ModuleNotFound" in refused(404, registry.get_module_twin, device, "nothing")
    assert "DeviceAlreadyExists" in refused(409, registry.create_device_with_sas, device, "", "", "enabled")
    refused(409, registry.create_module_with_sas, device, "camtrap", "", "", "")
    refused(404, registry.create_module_with_sas, "nobody", "camtrap", "", "", "")
    refused(400, registry.create_device_with_sas, "white space", "", "", "enabled")
    refused(400, registry.create_device_with_sas, device + "2", "not base64!", "x", "enabled")


def test_a_twin_changed_meanwhile_is_not_overwritten(registry, device):
    before = registry.get_module_twin(device, "camtrap")
    first = registry.update_module_twin(device, "camtrap", Twin(tags={"site": "A"}), before.etag)
    refused(412, registry.update_module_twin, device, "camtrap", Twin(tags={"site": "B"}), before.etag)
    registry.update_module_twin(device, "camtrap", Twin(tags={"site": "C"}), first.etag)
    assert registry.get_module_twin(device, "camtrap").tags == {"site": "C"}


def test_patch_merges_and_replace_replaces(registry, device):
    registry.update_module_twin(device, "camtrap", desired({"a": {"b": 1, "c": 2}, "d": [1, {"e": None}]}))
    twin = registry.update_module_twin(device, "camtrap", desired({"a": {"b": None}, "f": True}))
    assert own(twin.properties.desired) == {"a": {"c": 2}, "d": [1, {"e": None}], "f": True}
    assert twin.properties.desired["$version"] == 3
    assert twin.properties.desired["$metadata"]["f"]["$lastUpdatedVersion"] == 3
    twin = registry.replace_module_twin(device, "camtrap", desired({"only": 1}))
    assert own(twin.properties.desired) == {"only": 1}


@pytest.mark.parametrize(
    ("section", "status"),
    [
        ({"a.b": 1}, 400),
        ({"a b": 1}, 400),
        ({"x": {"$y": 1}}, 400),
        ({"a\u0085": 1}, 400),
        ({"k" * 1025: 1}, 400),
        ({"a": "ü" * 2049}, 400),
        ({"a": 1 << 53}, 400),
        ({str(n): "x" * 4096 for n in range(9)}, 403),
    ],
)
def test_desired_properties_keep_azures_limits(registry, device, section, status):
    refused(status, registry.update_module_twin, device, "camtrap", desired(section))
    assert registry.get_module_twin(device, "camtrap").properties.desired["$version"] == 1


def test_ten_levels_are_the_deepest(registry, device):
    def nest(depth):
        return {"a": nest(depth - 1)} if depth else 1

    registry.update_module_twin(device, "camtrap", desired(nest(10)))
    refused(400, registry.update_module_twin, device, "camtrap", desired(nest(11)))


def test_tags_are_8_kb_at_most(registry, device):
    registry.update_twin(device, Twin(tags={"a": "x" * 4000, "b": "x" * 4000}))
    refused(403, registry.update_twin, device, Twin(tags={"c": "x" * 400}))


def test_a_deployment_replaces_the_whole_twin_or_only_its_part(registry, deployments, device):
    def deploy(section):
        deployments.apply_configuration_on_edge_device(
            device, ConfigurationContent(modules_content={"camtrap": section})
        )
        return own(registry.get_module_twin(device, "camtrap").properties.desired)

    registry.update_module_twin(
        device, "camtrap", desired({"settings": {"a": 1, "b": {"c": 2}}, "people": "wrote this"})
    )
    assert deploy({"properties.desired.settings.b": {"d": 3}}) == {
        "settings": {"a": 1, "b": {"d": 3}},
        "people": "wrote this",
    }
    assert deploy({"properties.desired": {"model": 1}}) == {"model": 1}
    content = ConfigurationContent(modules_content={"camtrap": {"properties.reported": {}}})
    refused(400, deployments.apply_configuration_on_edge_device, device, content)


def test_a_deployment_brings_modules_that_are_new(registry, deployments, device):
    content = ConfigurationContent(modules_content={"extra": {"properties.desired": {"a": 1}}})
    deployments.apply_configuration_on_edge_device(device, content)
    assert own(registry.get_module_twin(device, "extra").properties.desired) == {"a": 1}


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("moduleId = 'camtrap'", {0, 1, 2}),
        ("moduleId = 'camtrap' AND tags.site = 'north'", {0, 1}),
        ("tags.site IN ['south', 'west']", {2}),
        ("tags.site != 'north' AND moduleId = 'camtrap'", {2}),
        ("properties.desired.settings.budget_bytes >= 1000", {1}),
        ("NOT (tags.site = 'north' OR moduleId != 'camtrap')", {2}),
        ("is_defined(properties.desired.settings) AND tags.awake = true", {0}),
        ("startswith(deviceId, 'nobody')", set()),
        ('tags.note = "it\\"s"', {2}),
        ("connectionState = 'Connected'", set()),
    ],
)
def test_the_fleet_can_be_asked(registry, fleet, where, found):
    names = [f"{fleet}-{n}" for n in range(3)]
    scoped = f"SELECT * FROM devices.modules WHERE startswith(deviceId, '{fleet}') AND ({where})"
    answer = registry.query_iot_hub(QuerySpecification(query=scoped))
    assert {names.index(twin.device_id) for twin in answer.items} == found


def test_a_long_answer_comes_in_pages(registry, fleet):
    query = QuerySpecification(query=f"select * from devices where startswith(deviceId, '{fleet}')")
    first = registry.query_iot_hub(query, None, 2)
    second = registry.query_iot_hub(query, first.continuation_token, 2)
    assert [twin.device_id for twin in first.items + second.items] == [f"{fleet}-{n}" for n in range(3)]
    assert (first.continuation_token, second.continuation_token) == ("2", None)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT deviceId FROM devices",
        "SELECT * FROM devices WHERE",
        "SELECT * FROM devices WHERE a =",
        "SELECT * FROM devices WHERE a = b",
        "SELECT * FROM devices WHERE a ~ 1",
        "SELECT * FROM devices WHERE " + "(" * 60 + "a = 1" + ")" * 60,
        "DROP TABLE devices",
        "",
    ],
)
def test_a_query_that_is_not_understood_is_refused(registry, query):
    refused(400, registry.query_iot_hub, QuerySpecification(query=query))


def test_a_methods_payload_is_128_kb_at_most(registry, device):
    call = CloudToDeviceMethod(method_name="x", payload={"a": "x" * 128 * 1024})
    refused(413, registry.invoke_device_module_method, device, "camtrap", call)


def test_a_wrong_key_is_refused(local_azure, registry):
    good = local_azure.service_env["IOTHUB_CONNECTION_STRING"]
    wrong = good.rpartition("SharedAccessKey=")[0] + "SharedAccessKey=" + base64.b64encode(b"wrong" * 6).decode()
    assert "Unauthorized" in refused(401, IoTHubRegistryManager.from_connection_string(wrong).get_twin, "nobody")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"authentication": [1]}',
        b'{"authentication": {"symmetricKey": "x"}}',
        b'{"capabilities": "x"}',
        b'{"status": ["enabled"]}',
        b'{"tags": 1}',
        b'{"properties": [1]}',
        b'{"properties": {"desired": "x"}}',
        b'{"methodName": 1}',
        b'{"methodName": "x", "responseTimeoutInSeconds": "long"}',
        b'{"modulesContent": {"camtrap": []}}',
        b'{"query": 1}',
        b"\xff\xfe",
    ],
)
def test_noise_is_refused_and_nothing_breaks(local_azure, registry, device, body):
    for method, path in (
        ("PUT", f"/devices/{device}-new"),
        ("PATCH", f"/twins/{device}/modules/camtrap"),
        ("PUT", f"/twins/{device}"),
        ("POST", f"/twins/{device}/modules/camtrap/methods"),
        ("POST", f"/devices/{device}/applyConfigurationContent"),
        ("POST", "/devices/query"),
    ):
        answer = rest(local_azure, method, path, body)
        assert answer.status_code < 500, (method, path, answer.text)
    with contextlib.suppress(HttpOperationError):
        registry.delete_device(f"{device}-new")


def test_the_hub_answers_errors_when_told_to(local_azure, registry):
    local_azure.fault("hub", "registry", status=403, next=1, path="/twins/")
    refused(403, registry.get_twin, "nobody")
    refused(404, registry.get_twin, "nobody")
    assert local_azure.faults("hub")["registry"]["hits"] == 1
    local_azure.restore("hub")


@pytest.fixture(scope="module")
def fleet(registry):
    name = f"fleet-{uuid.uuid4().hex[:8]}"
    tags = [{"site": "north", "awake": True}, {"site": "north"}, {"site": "south", "note": 'it"s'}]
    settings = [{"budget_bytes": 10}, {"budget_bytes": 2000}, {"budget_bytes": "much"}]
    for n in range(3):
        registry.create_device_with_sas(f"{name}-{n}", "", "", "enabled")
        registry.create_module_with_sas(f"{name}-{n}", "camtrap", "", "", "")
        twin = Twin(tags=tags[n], properties=TwinProperties(desired={"settings": settings[n]}))
        registry.update_module_twin(f"{name}-{n}", "camtrap", twin)
    yield name
    for n in range(3):
        registry.delete_device(f"{name}-{n}")
