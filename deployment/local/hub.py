"""The hub: what IoT Hub and its event stream are to the gateways and to headquarters."""

import asyncio
import base64
import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from deployment.local import EVENT_HUB, HUB_NAME, SERVICE_POLICY, admin, certificates
from deployment.local.amqp import Endpoints
from deployment.local.database import open_database
from deployment.local.event_log import EventLog
from deployment.local.links import Links
from deployment.local.registry import Registry
from deployment.local.registry_api import RegistryApi
from deployment.local.sas import decoded
from deployment.local.state import State, listen, secret, write_private

_EXPIRE_S = 3600.0
_HTTPS_PORT = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """Settings of the hub. Ports: 0 is a free one, the same again after a restart.

    Attributes:
        address: IP address to listen on.
        name: host name (or address) by which headquarters and edge hubs reach it.
        https_port: registry, twins, methods, links of the gateways.
        amqp_port: event stream without TLS, for SDKs told ``UseDevelopmentEmulator=true``.
        amqps_port: event stream with TLS.
        partitions: of the event stream; the first start decides.
        groups: consumer groups beside ``$Default``.
        retention_s: how long events are kept.
    """

    address: str = "127.0.0.1"
    name: str = "localhost"
    https_port: int = 0
    amqp_port: int = 0
    amqps_port: int = 0
    partitions: int = 4
    groups: tuple[str, ...] = ("hq",)
    retention_s: float = 7 * 86400.0


class Hub:
    """The process."""

    def __init__(self, state: State, options: HubOptions) -> None:
        self._state = state
        self._options = options
        self._folder = state.folder("hub")
        self._database = open_database(self._folder / "hub.sqlite", "")
        self._events = EventLog(self._database, options.partitions)
        registry = Registry(self._database)
        # Base64 for IoT Hub, and the same text as UTF-8 for Event Hubs, as each wants it.
        self._policy_key = _policy_key(state)
        self._links = Links(registry, self._events)
        groups = {"$default", *(group.lower() for group in options.groups)}
        self._endpoints = Endpoints(self._events, self._policy_key.encode(), groups)
        self._registry = registry

    async def start(self) -> dict[str, Any]:
        """Listen, and leave ``hub.json`` for the other processes."""
        options, loop = self._options, asyncio.get_running_loop()
        tls = certificates.server_context(
            certificates.authority(self._state.root),
            self._folder,
            sorted({"localhost", options.name}) if not _is_address(options.name) else ["localhost"],
            sorted({"127.0.0.1", options.address, *([options.name] if _is_address(options.name) else [])}),
        )
        ports = self._folder / "ports.json"
        https = listen(ports, "https", options.address, options.https_port)
        amqp = listen(ports, "amqp", options.address, options.amqp_port)
        amqps = listen(ports, "amqps", options.address, options.amqps_port)
        port = https.getsockname()[1]
        # SDKs of some languages take the host name for the address, port and all.
        host = options.name if port == _HTTPS_PORT else f"{options.name}:{port}"
        api = RegistryApi(self._registry, self._links, policy_key=decoded(self._policy_key), host_names=[host])
        self._runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.SockSite(self._runner, https, ssl_context=tls).start()
        await loop.create_server(self._endpoints.protocol, sock=amqp)
        await loop.create_server(self._endpoints.protocol, sock=amqps, ssl=tls)
        hops = {"registry": api.hop, "links": self._links.hop, "events": self._endpoints.hop}
        admin_url = await admin.serve(self._folder, hops, self._status)
        self._expiry = asyncio.create_task(self._expire())
        ready = {
            "process": "hub",
            "https": f"https://{host}",
            "iot_hub": f"HostName={host};SharedAccessKeyName={SERVICE_POLICY};SharedAccessKey={self._policy_key}",
            "event_hub": self._event_hub(amqp.getsockname()[1]) + ";UseDevelopmentEmulator=true",
            "event_hub_tls": self._event_hub(amqps.getsockname()[1]),
            "ca": str(self._state.root / "ca.pem"),
            "admin": admin_url,
        }
        write_private(self._folder / "hub.json", json.dumps(ready))
        # Secrets stay in the file: the ready line ends up in logs.
        return {key: ready[key] for key in ("process", "https", "ca", "admin")} | {
            "file": str(self._folder / "hub.json")
        }

    async def stop(self) -> None:
        """Break connections off and close the database."""
        if hasattr(self, "_expiry"):
            self._expiry.cancel()
            await self._links.close()
            self._endpoints.close()
            await self._runner.cleanup()
        self._database.close()

    def _event_hub(self, port: int) -> str:
        key = f"SharedAccessKeyName={SERVICE_POLICY};SharedAccessKey={self._policy_key}"
        return f"Endpoint=sb://{self._options.name}:{port}/;{key};EntityPath={EVENT_HUB}"

    def _status(self) -> dict[str, Any]:
        states = [self._events.state(number) for number in range(self._events.partitions)]
        devices = self._registry.every(modules=False)
        return {
            "name": HUB_NAME,
            "events": [{"first": one.first_sequence, "last": one.last_sequence} for one in states],
            "gateways": {one.device_id: self._links.is_online(one.key) for one in devices},
            "receivers": sum(len(server.receivers) for server in self._endpoints.servers),
        }

    async def _expire(self) -> None:
        while True:
            self._events.expire(self._options.retention_s)
            await asyncio.sleep(_EXPIRE_S)


def _policy_key(state: State) -> str:
    return base64.b64encode(bytes.fromhex(secret(state.folder("hub") / "policy.key"))).decode()


def _is_address(name: str) -> bool:
    return name.replace(".", "").isdigit() or ":" in name
