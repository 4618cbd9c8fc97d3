"""The module's side of an edge hub: MQTT as IoT Edge's hub speaks it.

Source: "Communicate with an IoT hub using the MQTT protocol" in Azure's documentation. A message is on disk before its
PUBACK; a session outlives connection and process; a module stays connected whatever becomes of the link to the hub.
"""

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, unquote

from deployment.local import HUB_NAME, mqtt, sas
from deployment.local.edge_store import Change, EdgeStore
from deployment.local.errors import RefusedError, invalid
from deployment.local.faults import Hop
from deployment.local.links import MESSAGE_BYTES, message_bytes
from deployment.local.registry_api import METHOD_BYTES

_log = logging.getLogger(__name__)

_CONNECT_S: Final = 30.0
_METHODS: Final = "$iothub/methods/POST/#"
_DESIRED: Final = "$iothub/twin/PATCH/properties/desired/#"
_TWIN_ANSWERS: Final = "$iothub/twin/res/#"
_SYSTEM_PROPERTIES: Final = {
    "$.mid": "message-id",
    "$.cid": "correlation-id",
    "$.uid": "user-id",
    "$.ct": "content-type",
    "$.ce": "content-encoding",
}
_PROTOCOL_LEVEL: Final = 4
_NOT_SUBSCRIBED: Final = 0x80


class ModuleServer:
    """All modules of one gateway."""

    def __init__(self, gateway_id: str, store: EdgeStore, on_presence: Callable[[str, bool], None]) -> None:
        self.gateway_id = gateway_id
        self.store = store
        self.hop = Hop(self._break_if_cut)
        self.online: dict[str, Connection] = {}
        self.on_presence = on_presence

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        connection = Connection(self, reader, writer)
        try:
            await connection.run()
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError, RefusedError) as exc:
            _log.info("connection of %s ended: %r", connection.module_id or "a stranger", exc)
        finally:
            connection.end()
            with contextlib.suppress(ConnectionError, TimeoutError):
                await writer.wait_closed()

    async def call(self, module_id: str, name: str, payload: Any, timeout_s: float) -> dict[str, Any]:
        """Call a module's method: ``status`` and ``payload`` of its answer, or ``offline``.

        Raises:
            TimeoutError: no answer in time.
        """
        connection = self.online.get(module_id)
        if connection is None or _METHODS not in connection.filters:
            return {"offline": True}
        async with asyncio.timeout(timeout_s):
            return await connection.call(name, payload)

    def push(self, change: Change) -> None:
        """Tell a module of its changed desired properties, where it is there to hear."""
        connection = self.online.get(change.module_id)
        if connection and _DESIRED in connection.filters:
            topic = f"{_DESIRED[:-1]}?$version={change.version}"
            connection.publish(topic, {**change.patch, "$version": change.version})

    def drop_sessions(self) -> None:
        """Lose every session, as a hub does that is moved to another machine."""
        self.store.drop_sessions()
        self.break_off()

    def break_off(self) -> None:
        """Break all connections off."""
        for connection in list(self.online.values()):
            connection.end()

    def check_identities(self) -> None:
        """End the connections of modules that are gone."""
        for module_id, connection in list(self.online.items()):
            if not self.store.knows(module_id):
                connection.end()

    def _break_if_cut(self) -> None:
        if self.hop.fault.cut:
            self.break_off()


class Connection:
    """One MQTT connection of a module."""

    def __init__(self, server: ModuleServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._store = server.store
        self._reader = reader
        self._writer = writer
        self._calls: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._expiry: asyncio.TimerHandle | None = None
        self.module_id = ""
        self.filters: dict[str, int] = {}

    async def run(self) -> None:
        """Serve until the connection ends, its token expires or it breaks a rule."""
        hop = self._server.hop
        if hop.fault.cut:
            raise ConnectionAbortedError("cut on purpose")
        async with asyncio.timeout(_CONNECT_S):
            first = await mqtt.read(self._reader)
        if not isinstance(first, mqtt.Connect):
            raise mqtt.MqttError("the first packet must be CONNECT")  # 3.1.0-1
        if hop.fault.status:
            self._writer.write(mqtt.connack(mqtt.Refusal.SERVER_UNAVAILABLE))
            await self._writer.drain()
            return
        await self._open(first)
        # 3.1.2.10: one and a half times the keep-alive without a packet ends the connection.
        patience_s = first.keep_alive_s * 1.5 or None
        while True:
            async with asyncio.timeout(patience_s):
                packet = await mqtt.read(self._reader)
            await hop.delay()
            await hop.hang()
            if isinstance(packet, mqtt.Disconnect):
                return
            self._handle(packet)
            await self._writer.drain()

    def end(self) -> None:
        """Break the connection off."""
        if self._expiry:
            self._expiry.cancel()
        self._writer.transport.abort()
        if self._server.online.get(self.module_id) is self:
            del self._server.online[self.module_id]
            self._server.on_presence(self.module_id, False)  # noqa: FBT003 - connected or not

    def publish(self, topic: str, content: Any) -> None:
        """Send JSON to the module."""
        body = b"" if content is None else json.dumps(content).encode()
        self._writer.write(mqtt.publish(topic, body))

    async def call(self, name: str, payload: Any) -> dict[str, Any]:
        """Call a method of the module."""
        request_id = secrets.token_hex(8)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._calls[request_id] = answer
        try:
            self.publish(f"$iothub/methods/POST/{quote(name, safe='')}/?$rid={request_id}", payload)
            return await answer
        finally:
            del self._calls[request_id]

    async def _open(self, packet: mqtt.Connect) -> None:
        if packet.level != _PROTOCOL_LEVEL:
            await self._refuse(mqtt.Refusal.UNACCEPTABLE_PROTOCOL, "not MQTT 3.1.1")
        gateway_id, _, module_id = packet.client_id.partition("/")
        try:
            if gateway_id != self._server.gateway_id or packet.user.split("/")[1:3] != [gateway_id, module_id]:
                raise invalid("client id and user name must name this gateway and a module of it")
            module = self._store.module(module_id)
            resource = f"{HUB_NAME}/devices/{gateway_id}/modules/{module_id}"
            expires = sas.check(packet.password, resource, module.key_bytes())
        except RefusedError as exc:
            await self._refuse(mqtt.Refusal.NOT_AUTHORIZED, str(exc))
            return
        if previous := self._server.online.get(module_id):
            previous.end()  # 3.1.4-2: a client id connects once
        kept = None if packet.clean_session else self._store.session(module_id)
        self.module_id, self.filters = module_id, kept or {}
        self._store.save_session(module_id, self.filters)
        self._expiry = asyncio.get_running_loop().call_later(expires - time.time(), self._expire)
        self._writer.write(mqtt.connack(mqtt.Refusal.ACCEPTED, session_present=kept is not None))
        self._server.online[module_id] = self
        self._server.on_presence(module_id, True)  # noqa: FBT003 - connected or not

    async def _refuse(self, code: mqtt.Refusal, why: str) -> None:
        self._writer.write(mqtt.connack(code))
        await self._writer.drain()
        self._writer.close()
        raise mqtt.MqttError(f"refused: {why}")

    def _expire(self) -> None:
        _log.info("token of %s has expired", self.module_id)
        self.end()

    def _handle(self, packet: mqtt.Packet) -> None:
        match packet:
            case mqtt.Publish():
                fault = self._server.hop.struck()
                if fault and fault.cut_at == "request":
                    raise ConnectionAbortedError("cut on purpose before the message was stored")
                self._take(packet)
                if fault and fault.cut_at == "response":
                    raise ConnectionAbortedError("cut on purpose before the PUBACK")
                if packet.qos:
                    self._writer.write(mqtt.puback(packet.packet_id))
            case mqtt.Subscribe():
                granted = {name: min(qos, 1) for name, qos in packet.filters if self._may_subscribe(name)}
                self.filters = {**self.filters, **granted}
                self._store.save_session(self.module_id, self.filters)
                codes = [granted.get(name, _NOT_SUBSCRIBED) for name, _ in packet.filters]
                self._writer.write(mqtt.suback(packet.packet_id, codes))
            case mqtt.Unsubscribe():
                self.filters = {name: qos for name, qos in self.filters.items() if name not in packet.filters}
                self._store.save_session(self.module_id, self.filters)
                self._writer.write(mqtt.unsuback(packet.packet_id))
            case mqtt.PingRequest():
                self._writer.write(mqtt.PING_RESPONSE)
            case mqtt.Connect():
                raise mqtt.MqttError("a second CONNECT")  # 3.1.0-2
            case _:
                pass

    def _take(self, packet: mqtt.Publish) -> None:
        own = f"devices/{self._server.gateway_id}/modules/{self.module_id}/messages/events/"
        topic, _, query = packet.topic.partition("?")
        request_id = _fields(query).get("$rid", "")
        if packet.topic.startswith(own):
            # Node's SDK ends the topic with a slash; one inside a property is percent-encoded.
            self._take_event(_fields(packet.topic.removeprefix(own).removesuffix("/")), packet.body)
        elif topic == "$iothub/twin/GET/":
            self._answer(request_id, self._read_twin)
        elif topic == "$iothub/twin/PATCH/properties/reported/":
            self._answer(request_id, lambda: self._report(packet.body))
        elif topic.startswith("$iothub/methods/res/"):
            self._answer_call(topic.split("/")[3], request_id, packet.body)
        else:
            # IoT Hub, too, ends the connection of one who publishes elsewhere.
            raise mqtt.MqttError(f"no messages are taken on {packet.topic[:100]!r}")

    def _take_event(self, properties: dict[str, str], body: bytes) -> None:
        system = {_SYSTEM_PROPERTIES[k]: v for k, v in properties.items() if k in _SYSTEM_PROPERTIES}
        application = {k: v for k, v in properties.items() if not k.startswith("$.")}
        if message_bytes(body, system, application) > MESSAGE_BYTES:
            # MQTT 3.1.1 has no way to refuse a message: IoT Hub ends the connection.
            raise mqtt.MqttError(f"a message of more than {MESSAGE_BYTES} bytes")
        self._store.put_event(self.module_id, body, system, application)

    def _read_twin(self) -> tuple[int, str, Any]:
        module = self._store.module(self.module_id)
        desired = {**module.desired, "$version": module.desired_version}
        reported = {**module.reported, "$version": module.reported_version}
        return 200, "", {"desired": desired, "reported": reported}

    def _report(self, body: bytes) -> tuple[int, str, Any]:
        try:
            patch = json.loads(body)
        except (ValueError, RecursionError) as exc:
            raise invalid(f"reported properties are not JSON: {exc}") from exc
        return 204, f"&$version={self._store.patch_reported(self.module_id, patch)}", None

    def _answer(self, request_id: str, act: Callable[[], tuple[int, str, Any]]) -> None:
        try:
            status, suffix, content = act()
        except RefusedError as exc:
            status, suffix = exc.status, ""
            content = {"errorCode": exc.number, "message": str(exc), "trackingId": secrets.token_hex(8)}
        if _TWIN_ANSWERS in self.filters:
            self.publish(f"{_TWIN_ANSWERS[:-1]}{status}/?$rid={quote(request_id, safe='')}{suffix}", content)

    def _answer_call(self, status: str, request_id: str, body: bytes) -> None:
        answer = self._calls.get(request_id)
        if answer is None or answer.done():
            return
        try:
            number, payload = int(status), json.loads(body or b"null")
        except (ValueError, RecursionError) as exc:
            raise mqtt.MqttError(f"a method's answer that is not JSON, or has no status: {exc}") from exc
        if len(body) > METHOD_BYTES:
            raise mqtt.MqttError(f"a method's answer of more than {METHOD_BYTES} bytes")
        answer.set_result({"status": number, "payload": payload})

    def _may_subscribe(self, name: str) -> bool:
        inputs = f"devices/{self._server.gateway_id}/modules/{self.module_id}/"
        return name in {_METHODS, _DESIRED, _TWIN_ANSWERS} or name.startswith(inputs)


def _fields(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split("&") if pair)
    return {unquote(key): unquote(value) for key, _, value in pairs}
