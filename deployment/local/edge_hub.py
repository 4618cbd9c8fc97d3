"""The edge hub of one gateway: what IoT Edge's hub and daemon are to a module."""

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from deployment.local import HUB_NAME, MODULE_ID, admin, certificates, workload
from deployment.local.edge_store import EdgeStore
from deployment.local.errors import LocalError, RefusedError
from deployment.local.module_server import ModuleServer
from deployment.local.provision import request
from deployment.local.state import MQTT_PORT, State, mqtt_listener, read_json, socket_path, write_env, write_private
from deployment.local.upstream import Upstream

_API_VERSION: Final = "2018-06-28"
"""Of the workload API, as IoT Edge tells its modules."""
_FIRST_SYNC_S: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeHubOptions:
    """Settings of an edge hub.

    Attributes:
        gateway_id: the device's id in the registry.
        address: where modules reach it, on port 8883; ``auto`` is a free loopback address, the same after a restart.
        hub_url: of the hub; empty: as the hub of the same state folder left it.
        time_to_live_s: how long messages wait for the hub (IoT Edge's own default is 7,200).
    """

    gateway_id: str
    address: str = "auto"
    hub_url: str = ""
    time_to_live_s: float = 28 * 86400.0


class EdgeHub:
    """The process."""

    def __init__(self, state: State, options: EdgeHubOptions) -> None:
        self._state = state
        self._options = options
        self._folder = state.gateway(options.gateway_id)
        self._store = EdgeStore(self._folder / "edge.sqlite")
        self._runners: list[web.AppRunner] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> dict[str, Any]:
        """Serve modules; ``module.env`` has what a module needs to be told."""
        options = self._options
        signer = certificates.authority(self._state.root)
        trust = ssl.create_default_context(cafile=str(signer.file))
        url = options.hub_url or read_json(self._state.folder("hub") / "hub.json", "start the hub first")["https"]
        key = await device_key(self._state, options.gateway_id)
        upstream = Upstream(options.gateway_id, key, url, trust, self._store, time_to_live_s=options.time_to_live_s)
        self._store.on_queued = upstream.wake
        self._modules = ModuleServer(options.gateway_id, self._store, upstream.tell_presence)
        upstream.modules = self._modules
        self._tasks = [asyncio.create_task(upstream.run()), asyncio.create_task(upstream.expire())]
        generation_id = await self._generation_id(upstream)
        listener = mqtt_listener(self._folder / "ports.json", options.address)
        address = listener.getsockname()[0]
        tls = certificates.server_context(signer, self._folder, ["localhost"], [address])
        self._server = await asyncio.start_server(self._modules.serve, sock=listener, ssl=tls)
        socket = socket_path(self._folder)
        socket.unlink(missing_ok=True)
        runner = web.AppRunner(workload.application(self._store, signer.file), access_log=None, shutdown_timeout=1)
        self._runners.append(runner)
        await runner.setup()
        await web.UnixSite(runner, str(socket)).start()
        hops = {"module": self._modules.hop, "upstream": upstream.hop}
        actions = {"drop-sessions": self._modules.drop_sessions}
        admin_url = await admin.serve(self._folder, hops, lambda: self._status(upstream), actions)
        env = self._folder / "module.env"
        write_env(env, module_env(socket, options.gateway_id, address, generation_id))
        return {
            "process": "edge-hub",
            "gateway": options.gateway_id,
            "address": f"{address}:{MQTT_PORT}",
            "module_env": str(env),
            "admin": admin_url,
        }

    async def stop(self) -> None:
        """End all connections and close the database."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if hasattr(self, "_server"):
            self._server.close()
            self._modules.break_off()
        for runner in self._runners:
            await runner.cleanup()
        self._store.close()

    def _status(self, upstream: Upstream) -> dict[str, Any]:
        return {
            "gateway": self._options.gateway_id,
            "upstream_connected": upstream.connected,
            "modules_connected": sorted(self._modules.online),
            "waiting": self._store.waiting(),
            "expired": upstream.expired,
        }

    async def _generation_id(self, upstream: Upstream) -> str:
        """Known from an earlier life, or from the hub: the first start needs the link."""
        with contextlib.suppress(RefusedError):
            return self._store.module(MODULE_ID).generation_id
        try:
            async with asyncio.timeout(_FIRST_SYNC_S):
                await upstream.synced.wait()
            return self._store.module(MODULE_ID).generation_id
        except TimeoutError as exc:
            raise LocalError(
                f"gateway {self._options.gateway_id}: the hub did not answer; a first start needs it"
            ) from exc
        except RefusedError as exc:
            raise LocalError(
                f"gateway {self._options.gateway_id} has no module {MODULE_ID}: create it in the registry"
            ) from exc


def module_env(socket: Path, gateway_id: str, address: str, generation_id: str) -> dict[str, str]:
    """What IoT Edge's daemon puts into a module's environment."""
    return {
        "IOTEDGE_WORKLOADURI": f"unix://{socket}",
        "IOTEDGE_DEVICEID": gateway_id,
        "IOTEDGE_MODULEID": MODULE_ID,
        "IOTEDGE_IOTHUBHOSTNAME": HUB_NAME,
        "IOTEDGE_GATEWAYHOSTNAME": address,
        "IOTEDGE_MODULEGENERATIONID": generation_id,
        "IOTEDGE_APIVERSION": _API_VERSION,
        "IOTEDGE_AUTHSCHEME": "sasToken",
    }


async def device_key(state: State, gateway_id: str) -> str:
    """The gateway's key: from ``device.key`` in its folder, or the first time from the hub of the same state folder.

    Raises:
        LocalError: there is neither, or the gateway is not registered.
    """
    file = state.gateway(gateway_id) / "device.key"
    if not file.exists():
        device = await asyncio.to_thread(request, state, "GET", f"/devices/{gateway_id}")
        write_private(file, device["authentication"]["symmetricKey"]["primaryKey"])
    return file.read_text().strip()
