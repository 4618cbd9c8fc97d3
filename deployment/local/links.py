"""The hub's side of the links to the edge hubs: one WebSocket a gateway, authenticated by the device's token.

JSON frames, each with ``op``. From the edge hub:

- ``store``: ``items``, each an event or a reported patch. Answer: ``stored`` when all are on disk.
- ``presence``: ``module``, ``connected``.
- ``sync``: ask for everything about the modules again.
- ``answer``: to ``method``, with its ``id``.

To the edge hub: ``modules`` (keys and twins of all its modules), ``desired`` (a patch), ``method`` (a call).
At least once: what was stored but not heard of is sent again by the edge hub.
"""

import asyncio
import base64
import itertools
import json
import logging
import time
from typing import Any

from aiohttp import WSMsgType, web

from deployment.local import HUB_NAME, sas
from deployment.local.background import Background
from deployment.local.errors import RefusedError, invalid
from deployment.local.event_log import Event, EventLog
from deployment.local.faults import Hop
from deployment.local.registry import Identity, Key, Registry

_log = logging.getLogger(__name__)

MESSAGE_BYTES = 256 * 1024
"""IoT Hub's limit for a message, body and properties together."""
_FRAME_BYTES = 8 * 1024 * 1024
_HEARTBEAT_S = 10.0


class Links:
    """All gateways that are connected now."""

    def __init__(self, registry: Registry, events: EventLog) -> None:
        self.hop = Hop(self._break_if_cut)
        self._registry = registry
        self._events = events
        self._open: dict[str, web.WebSocketResponse] = {}
        self._online: set[Key] = set()
        self._changed = asyncio.Condition()
        self._calls: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._background = Background()

    def is_online(self, key: Key) -> bool:
        """Whether a module (or an edge hub itself) is connected now."""
        device_id, module_id = key
        return device_id in self._open and (not module_id or key in self._online)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one gateway for as long as its link lasts and its token is good."""
        device_id = request.match_info["device"]
        device = self._registry.get(device_id)
        token = request.headers.get("Authorization", "")
        expires = sas.check(token, f"{HUB_NAME}/devices/{device_id}", device.keys())
        if device.status != "enabled":
            raise RefusedError(401, "IotHubUnauthorizedAccess", 401003, f"device {device_id} is disabled")
        if self.hop.fault.cut:
            raise RefusedError(503, "ServiceUnavailable", 503001, "cut on purpose")
        link = web.WebSocketResponse(heartbeat=_HEARTBEAT_S, max_msg_size=_FRAME_BYTES)
        await link.prepare(request)
        if previous := self._open.get(device_id):
            await previous.close()
        self._open[device_id] = link
        expiry = asyncio.get_running_loop().call_later(
            expires - time.time(), lambda: self._background.start(link.close())
        )
        try:
            self.send_modules(device_id)
            async for frame in link:
                if frame.type is WSMsgType.TEXT:
                    await self.hop.delay()
                    await self._receive(device_id, link, json.loads(frame.data))
        except (ValueError, KeyError, TypeError, RecursionError, ConnectionError) as exc:
            _log.warning("link of %s broken off: %r", device_id, exc)
        finally:
            expiry.cancel()
            if self._open.get(device_id) is link:
                del self._open[device_id]
                self._online = {key for key in self._online if key[0] != device_id}
            await link.close()
        return link

    def send_modules(self, device_id: str) -> None:
        """Tell an edge hub its modules' keys and twins, as they are now."""
        modules = [_for_edge_hub(one) for one in self._registry.modules(device_id)]
        self._send(device_id, {"op": "modules", "modules": modules})

    def send_desired(self, identity: Identity, patch: dict[str, Any]) -> None:
        """Tell a module what was written to its desired properties."""
        version = identity.desired_version
        self._send(
            identity.device_id, {"op": "desired", "module": identity.module_id, "patch": patch, "version": version}
        )

    def drop(self, device_id: str) -> None:
        """End a gateway's link: it was removed, disabled, or has other keys."""
        if link := self._open.get(device_id):
            self._background.start(link.close())

    async def call(
        self, key: Key, name: str, payload: Any, *, response_timeout_s: float, connect_timeout_s: float
    ) -> dict[str, Any]:
        """Call a method of a module and wait for its answer: ``status`` and ``payload``.

        Raises:
            RefusedError: 404 not connected, 504 no answer in time.
        """
        try:
            async with asyncio.timeout(connect_timeout_s), self._changed:
                await self._changed.wait_for(lambda: self.is_online(key))
        except TimeoutError as exc:
            raise _offline(key) from exc
        number = str(next(self._numbers))
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._calls[number] = answer
        frame = {"op": "method", "id": number, "module": key[1], "name": name, "payload": payload}
        self._send(key[0], {**frame, "timeout_s": response_timeout_s})
        try:
            async with asyncio.timeout(response_timeout_s):
                reply = await answer
        except TimeoutError as exc:
            raise RefusedError(504, "GatewayTimeout", 504101, f"no answer within {response_timeout_s} s") from exc
        finally:
            del self._calls[number]
        if reply.get("offline"):
            raise _offline(key)
        return {"status": reply["status"], "payload": reply["payload"]}

    async def close(self) -> None:
        """End every link."""
        for link in list(self._open.values()):
            await link.close()

    async def _receive(self, device_id: str, link: web.WebSocketResponse, frame: dict[str, Any]) -> None:
        match frame["op"]:
            case "store":
                self._store(device_id, frame["items"])
                await link.send_json({"op": "stored"})
            case "presence":
                key = (device_id, frame["module"])
                (self._online.add if frame["connected"] else self._online.discard)(key)
                async with self._changed:
                    self._changed.notify_all()
            case "sync":
                self.send_modules(device_id)
            case "answer":
                answer = self._calls.get(frame["id"])
                if answer and not answer.done():
                    answer.set_result(frame)
            case other:
                raise ValueError(f"unknown op {other!r}")

    def _store(self, device_id: str, items: list[dict[str, Any]]) -> None:
        """Store a batch in its order. One that can never be stored must not hold up those behind it."""
        events: list[Event] = []
        for item in items:
            try:
                if item["kind"] == "event":
                    events.append(self._event(device_id, item))
                else:
                    self._registry.patch_reported((device_id, item["module"]), item["patch"])
            except RefusedError as exc:
                _log.warning("%s from %s/%s dropped: %s", item["kind"], device_id, item["module"], exc)
        self._events.append(events)

    def _event(self, device_id: str, item: dict[str, Any]) -> Event:
        module = self._registry.get(device_id, item["module"])
        body = base64.b64decode(item["body"])
        if message_bytes(body, item["system"], item["application"]) > MESSAGE_BYTES:
            raise invalid(f"a message has at most {MESSAGE_BYTES} bytes")
        return Event(
            device_id=device_id,
            body=body,
            system=item["system"],
            application=item["application"],
            annotations={
                "iothub-connection-device-id": device_id,
                "iothub-connection-module-id": module.module_id,
                "iothub-connection-auth-method": '{"scope":"module","type":"sas","issuer":"iothub"}',
                "iothub-connection-auth-generation-id": module.generation_id,
                "iothub-message-source": "Telemetry",
            },
        )

    def _send(self, device_id: str, frame: dict[str, Any]) -> None:
        if (link := self._open.get(device_id)) and not link.closed:
            self._background.start(link.send_json(frame))

    def _break_if_cut(self) -> None:
        if self.hop.fault.cut:
            for device_id in self._open:
                self.drop(device_id)


def message_bytes(body: bytes, system: dict[str, str], application: dict[str, str]) -> int:
    """Size of a message as IoT Hub's limit counts it."""
    return len(body) + sum(len(k.encode()) + len(v.encode()) for d in (system, application) for k, v in d.items())


def _for_edge_hub(one: Identity) -> dict[str, Any]:
    return {
        "module": one.module_id,
        "generation_id": one.generation_id,
        "keys": [one.primary_key, one.secondary_key],
        "desired": one.desired,
        "desired_version": one.desired_version,
        "reported": one.reported,
        "reported_version": one.reported_version,
    }


def _offline(key: Key) -> RefusedError:
    return RefusedError(404, "DeviceNotOnline", 404103, f"{'/'.join(filter(None, key))} is not connected")
