"""Who may connect, and for how long."""

import asyncio
import base64
import ssl
import threading
import time

import paho.mqtt.client as mqtt
import pytest

from deployment.local import HUB_NAME, sas
from tests.integration.local.conftest import eventually, message, module_client


class Stranger:
    """A plain MQTT client, for what the SDK would never do."""

    def __init__(self, gateway, ca):
        self.host = gateway.module_env["IOTEDGE_GATEWAYHOSTNAME"]
        self.client_id = f"{gateway.gateway_id}/camtrap"
        self.client = mqtt.Client(client_id=self.client_id, clean_session=False)
        self.client.tls_set_context(ssl.create_default_context(cafile=ca))
        self.answered, self.ended, self.code = threading.Event(), threading.Event(), None
        self.client.on_connect = self._connected
        self.client.on_disconnect = lambda *_: self.ended.set()

    def connect(self, password, user=None):
        self.client.username_pw_set(user or f"{HUB_NAME}/{self.client_id}/?api-version=2019-10-01", password)
        self.client.connect(self.host, 8883)
        self.client.loop_start()
        assert self.answered.wait(10)
        return self.code

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()

    def _connected(self, _client, _userdata, _flags, code):
        self.code = code
        self.answered.set()


@pytest.fixture
def stranger(gateway, local_azure):
    one = Stranger(gateway, local_azure.service_env["REQUESTS_CA_BUNDLE"])
    yield one
    one.close()


@pytest.fixture
def key(gateway, registry):
    return registry.get_module(gateway.gateway_id, "camtrap").authentication.symmetric_key.primary_key


def resource(gateway, module="camtrap"):
    return f"{HUB_NAME}/devices/{gateway.gateway_id}/modules/{module}"


def test_a_token_by_the_modules_key_is_let_in(gateway, stranger, key):
    assert stranger.connect(sas.token(resource(gateway), key, lifetime_s=60)) == mqtt.CONNACK_ACCEPTED


@pytest.mark.parametrize(
    "token",
    [
        lambda gateway, _key: sas.token(resource(gateway), base64.b64encode(b"wrong" * 6).decode(), lifetime_s=60),
        lambda gateway, key: sas.token(resource(gateway), key, lifetime_s=-1),
        lambda gateway, key: sas.token(resource(gateway, "camtrap2"), key, lifetime_s=60),
        lambda gateway, key: sas.token(f"{HUB_NAME}/devices/{gateway.gateway_id}x", key, lifetime_s=60),
        lambda gateway, key: sas.token(resource(gateway), key, lifetime_s=60).replace("&se=", "&se=9"),
        lambda _gateway, _key: "SharedAccessSignature sr=x&sig=&se=\u0663",
        lambda _gateway, _key: "SharedAccessSignature " + "&" * 1000,
        lambda _gateway, _key: "let me in",
    ],
    ids=["key", "expired", "module", "device", "changed", "digits", "noise", "text"],
)
def test_any_other_is_refused(gateway, stranger, key, token):
    assert stranger.connect(token(gateway, key)) == mqtt.CONNACK_REFUSED_NOT_AUTHORIZED


def test_nobody_connects_under_another_name(gateway, stranger, key):
    token = sas.token(resource(gateway), key, lifetime_s=60)
    assert stranger.connect(token, user=f"{HUB_NAME}/somebody/else/") == mqtt.CONNACK_REFUSED_NOT_AUTHORIZED


def test_a_connection_ends_with_its_token(gateway, stranger, key):
    stranger.connect(sas.token(resource(gateway), key, lifetime_s=2))
    stranger.client.disable_logger()
    assert stranger.ended.wait(10)


async def test_the_sdk_renews_its_token_and_loses_nothing(gateway, events):
    names = [f"{n:03}" for n in range(40)]
    changes = []
    # The SDK renews 120 s before the end: this one renews at once, and again and again.
    async with module_client(gateway, sastoken_ttl=122) as client:
        client.on_connection_state_change = lambda: changes.append(client.connected)
        await eventually(lambda: changes.count(True) >= 1)
        await asyncio.gather(*(client.send_message_to_output(message(name), "o") for name in names))
    received = await asyncio.to_thread(events.wait_for, gateway, 40)
    assert {event.body_as_str() for event in received} == set(names)


def test_publishing_where_one_may_not_ends_the_connection(gateway, stranger, key):
    stranger.connect(sas.token(resource(gateway), key, lifetime_s=60))
    stranger.client.publish("devices/another/modules/camtrap/messages/events/", "forged", qos=1)
    assert stranger.ended.wait(10)


def test_a_topic_that_ends_with_a_slash_as_nodes_sdk_writes_it(gateway, stranger, key, events):
    stranger.connect(sas.token(resource(gateway), key, lifetime_s=60))
    topic = f"devices/{gateway.gateway_id}/modules/camtrap/messages/events/%24.mid=1&kind=a%2Fb/"
    stranger.client.publish(topic, b"{}", qos=1)
    [event] = events.wait_for(gateway, 1)
    assert event.properties[b"kind"] == b"a/b"


def test_a_message_over_the_limit_ends_the_connection_and_is_not_stored(gateway, stranger, key):
    stranger.connect(sas.token(resource(gateway), key, lifetime_s=60))
    topic = f"devices/{gateway.gateway_id}/modules/camtrap/messages/events/"
    stranger.client.publish(topic, b"x" * (256 * 1024 + 1), qos=1)
    assert stranger.ended.wait(10)
    assert gateway.status()["waiting"] == 0


async def test_a_deleted_module_is_sent_away(gateway, registry):
    async with module_client(gateway) as client:
        await asyncio.to_thread(registry.delete_module, gateway.gateway_id, "camtrap")
        await eventually(lambda: not client.connected)
        assert gateway.status()["modules_connected"] == []


async def test_a_disabled_gateway_loses_its_link_and_its_module_goes_on(gateway, registry):
    key = registry.get_device(gateway.gateway_id).authentication.symmetric_key.primary_key
    async with module_client(gateway) as client:
        registry.update_device_with_sas(gateway.gateway_id, "*", key, key, "disabled")
        await eventually(lambda: not gateway.status()["upstream_connected"])
        await client.send_message_to_output(message("kept"), "o")
        assert gateway.status()["waiting"] == 1
        registry.update_device_with_sas(gateway.gateway_id, "*", key, key, "enabled")
        await eventually(lambda: gateway.status()["waiting"] == 0)


async def test_a_deleted_gateway_loses_its_link(gateway, registry):
    registry.delete_device(gateway.gateway_id)
    await eventually(lambda: not gateway.status()["upstream_connected"])


def test_new_keys_for_a_module_reach_the_edge_hub(gateway, stranger, registry, key):
    other = base64.b64encode(b"o" * 32).decode()
    registry.update_module_with_sas(gateway.gateway_id, "camtrap", "iotEdge", "*", other, other)
    started = time.monotonic()
    while stranger.connect(sas.token(resource(gateway), other, lifetime_s=60)) != mqtt.CONNACK_ACCEPTED:
        assert time.monotonic() - started < 10
        stranger.close()
        stranger.answered.clear()
