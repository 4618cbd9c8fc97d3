"""An edge hub's link to the hub: sends the queue, keeps the modules' twins, passes method calls on.

The frames are described in links.py. Whatever happens to the link, it is made again, and what was not heard of is sent
again.
"""

import asyncio
import logging
import random
import ssl
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from deployment.local import HUB_NAME, sas
from deployment.local.background import Background
from deployment.local.edge_store import Change, EdgeStore, Queued
from deployment.local.faults import Hop

if TYPE_CHECKING:
    from deployment.local.module_server import ModuleServer

_log = logging.getLogger(__name__)

_TOKEN_S: Final = 3600
_BATCH: Final = 64
_BACK_OFF_S: Final = (0.2, 5.0)
_ANSWER_S: Final = 30.0
_HEARTBEAT_S: Final = 10.0
_FRAME_BYTES: Final = 64 * 1024 * 1024
_EXPIRE_S: Final = 5.0


class Upstream:
    """The link of one gateway."""

    def __init__(
        self, gateway_id: str, key: str, url: str, tls: ssl.SSLContext, store: EdgeStore, *, time_to_live_s: float
    ) -> None:
        self.hop = Hop(self._break_if_cut)
        self.connected = False
        self.synced = asyncio.Event()
        """Set once the hub has told of the modules, or has done so in an earlier life."""
        self.expired = 0
        self.modules: ModuleServer | None = None
        self._gateway_id = gateway_id
        self._key = key
        self._url = f"{url}/gateways/{gateway_id}/link"
        self._tls = tls
        self._store = store
        self._time_to_live_s = time_to_live_s
        self._queued = asyncio.Event()
        self._stored = asyncio.Event()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._background = Background()

    def wake(self) -> None:
        """Something was queued."""
        self._queued.set()

    def tell_presence(self, module_id: str, connected: bool) -> None:
        """A module came or went."""
        self._background.start(self._send({"op": "presence", "module": module_id, "connected": connected}))

    async def run(self) -> None:
        """Keep the link up for ever."""
        delay_s = _BACK_OFF_S[0]
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    if not self.hop.fault.cut:
                        await self._connect(session)
                        delay_s = _BACK_OFF_S[0]
                except (aiohttp.ClientError, ConnectionError, TimeoutError, ValueError, KeyError, TypeError) as exc:
                    _log.info("no link to the hub: %r", exc)
                self.connected = False
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
                delay_s = min(delay_s * 2, _BACK_OFF_S[1])

    async def expire(self) -> None:
        """Drop messages that outlived their time, for ever."""
        while True:
            if dropped := self._store.expire(self._time_to_live_s):
                self.expired += dropped
                _log.warning("%s messages outlived their time to live of %s s", dropped, self._time_to_live_s)
            await asyncio.sleep(_EXPIRE_S)

    async def _connect(self, session: aiohttp.ClientSession) -> None:
        token = sas.token(f"{HUB_NAME}/devices/{self._gateway_id}", self._key, lifetime_s=_TOKEN_S)
        headers = {"Authorization": token}
        async with session.ws_connect(
            self._url, headers=headers, ssl=self._tls, heartbeat=_HEARTBEAT_S, max_msg_size=_FRAME_BYTES
        ) as self._socket:
            self.connected = True
            for module_id in list(self.modules.online if self.modules else ()):
                self.tell_presence(module_id, connected=True)
            sender = asyncio.create_task(self._send_queue())
            try:
                async for frame in self._socket:
                    if frame.type is aiohttp.WSMsgType.TEXT:
                        await self.hop.delay()
                        self._receive(frame.json())
            finally:
                sender.cancel()
                self.connected = False
                await asyncio.gather(sender, return_exceptions=True)

    async def _send_queue(self) -> None:
        try:
            while True:
                self._queued.clear()
                if self.hop.fault.reorder_ms:
                    await asyncio.sleep(self.hop.fault.reorder_ms / 1000)
                if batch := self._store.batch(_BATCH):
                    await self._send_batch(batch)
                else:
                    await self._queued.wait()
        except (ConnectionError, TimeoutError) as exc:
            _log.info("link broken off while sending: %r", exc)
            await self._close()

    async def _send_batch(self, batch: list[Queued]) -> None:
        fault = self.hop.struck()
        if fault and (fault.status or fault.cut_at == "request"):
            raise ConnectionAbortedError("cut on purpose before the batch")
        await self.hop.delay()
        events = [one.item for one in batch if one.item["kind"] == "event"]
        # Patches of a twin must stay in their order: the hub merges them as they come.
        items = self.hop.disturb(events) + [one.item for one in batch if one.item["kind"] != "event"]
        if events and not (self.hop.fault.duplicate or self.hop.fault.reorder_ms):
            items = [one.item for one in batch]
        self._stored.clear()
        await self._send({"op": "store", "items": items})
        if fault and fault.cut_at == "response":
            raise ConnectionAbortedError("cut on purpose before the hub's answer")
        async with asyncio.timeout(_ANSWER_S):
            await self._stored.wait()
        self._store.done(batch)

    def _receive(self, frame: dict[str, Any]) -> None:
        assert self.modules is not None
        match frame["op"]:
            case "stored":
                self._stored.set()
            case "modules":
                for change in self._store.set_modules(frame["modules"]):
                    self.modules.push(change)
                self.modules.check_identities()
                self.synced.set()
            case "desired":
                change = Change(module_id=frame["module"], patch=frame["patch"], version=frame["version"])
                if self._store.patch_desired(change.module_id, change.patch, change.version):
                    self.modules.push(change)
                else:
                    self._background.start(self._send({"op": "sync"}))
            case "method":
                self._background.start(self._call(frame))
            case other:
                raise ValueError(f"unknown op {other!r}")

    async def _call(self, frame: dict[str, Any]) -> None:
        assert self.modules is not None
        try:
            reply = await self.modules.call(frame["module"], frame["name"], frame["payload"], frame["timeout_s"])
        except TimeoutError:
            return  # the hub has stopped waiting too
        await self._send({"op": "answer", "id": frame["id"], **reply})

    async def _send(self, frame: dict[str, Any]) -> None:
        if self._socket is None or self._socket.closed:
            raise ConnectionResetError("no link")
        await self._socket.send_json(frame)

    async def _close(self) -> None:
        if self._socket is not None:
            await self._socket.close()

    def _break_if_cut(self) -> None:
        if self.hop.fault.cut:
            self._background.start(self._close())
