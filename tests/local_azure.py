"""The whole local Azure for tests: real processes, Azure's own SDKs, faults at will.

Use it from a ``conftest.py`` by importing the fixtures::

    from tests.local_azure import local_azure, gateway  # noqa: F401

- ``local_azure`` (session): hub, Azurite and the proxy before it, shared by all tests of a run; give each test a
  gateway of its own.
- ``gateway`` (function): a new gateway of ``local_azure``, its edge hub running, ended after the test.
- ``EventStream.of(azure)``: a context manager that reads the whole event stream with azure-eventhub.
- ``LocalAzure.started(folder)``: a context manager, for a test that kills or cuts what others share.

What the two classes give is in their docstrings. Names of processes, for `kill`, `restart`, `fault` and `status`:
``hub``, ``azurite``, ``blob-proxy``, and each gateway's id for its edge hub. Hops, for `fault`: hub: ``registry``,
``links``, ``events``; edge hub: ``module``, ``upstream``; blob-proxy: ``storage``. Fields of a fault:
`deployment.local.faults.Fault`.
"""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext

from deployment.local.provision import provision
from deployment.local.state import State, read_env
from deployment.local.system import System

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway and its edge hub.

    Attributes:
        gateway_id: device id in the registry; also the name of its edge hub's process.
        module_env: what IoT Edge puts into the module's environment, for a process started with it.
    """

    azure: "LocalAzure"
    gateway_id: str
    module_env: dict[str, str]

    @contextlib.contextmanager
    def environment(self) -> Iterator[None]:
        """The module's environment in this process, for ``IoTHubModuleClient.create_from_edge_environment()``."""
        with _environ(self.module_env):
            yield

    def cut_upstream(self) -> None:
        """The site loses its link: the module stays connected, messages wait on the edge hub's disk."""
        self.azure.fault(self.gateway_id, "upstream", cut=True)

    def restore_upstream(self) -> None:
        """The link is back."""
        self.azure.fault(self.gateway_id, "upstream")

    def cut_module(self) -> None:
        """The module loses its edge hub."""
        self.azure.fault(self.gateway_id, "module", cut=True)

    def restore_module(self) -> None:
        """The edge hub is back."""
        self.azure.fault(self.gateway_id, "module")

    def drop_sessions(self) -> None:
        """The edge hub forgets its MQTT sessions and breaks the connections off."""
        self.azure.admin(self.gateway_id, "POST", "/drop-sessions")

    def status(self) -> dict[str, Any]:
        """``upstream_connected``, ``modules_connected``, ``waiting`` (queued messages), ``expired``."""
        return self.azure.status(self.gateway_id)


class LocalAzure:
    """All processes of one state folder.

    Attributes:
        folder: the state folder.
        service_env: headquarters' environment: IOTHUB_CONNECTION_STRING, EVENTHUB_CONNECTION_STRING,
            EVENTHUB_CONSUMER_GROUP, STORAGE_CONNECTION_STRING, REQUESTS_CA_BUNDLE.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._state = State(folder)
        self._system = System(self._state)
        self.service_env: dict[str, str] = {}

    @classmethod
    @contextlib.contextmanager
    def started(cls, folder: Path | None = None, *, storage: bool = True) -> Iterator["LocalAzure"]:
        """Start hub and storage; everything is ended at the end, and a folder made here is removed.

        Args:
            folder: state folder; it should be short, as it holds unix sockets. None: a new one below the system's
                temporary folder.
            storage: start Azurite and its proxy too.
        """
        root = folder or Path(tempfile.mkdtemp(prefix="ponya-"))
        azure = cls(root)
        try:
            azure._system.start("hub", ["hub"])
            if storage:
                azure._system.start_storage(faults=True)
                azure.service_env = azure._system.service_env()
            else:
                hub = json.loads((root / "hub/hub.json").read_text())
                azure.service_env = {
                    "IOTHUB_CONNECTION_STRING": hub["iot_hub"],
                    "EVENTHUB_CONNECTION_STRING": hub["event_hub"],
                    "EVENTHUB_CONSUMER_GROUP": "hq",
                    "REQUESTS_CA_BUNDLE": hub["ca"],
                }
            yield azure
        finally:
            azure._system.stop()
            if folder is None:
                shutil.rmtree(root)

    @contextlib.contextmanager
    def environment(self) -> Iterator[None]:
        """Headquarters' environment in this process (azure-iot-hub reads REQUESTS_CA_BUNDLE)."""
        with _environ(self.service_env):
            yield

    def add_gateway(self, gateway_id: str = "", *, register: bool = True, arguments: tuple[str, ...] = ()) -> Gateway:
        """Register a gateway (unless headquarters' own code has done so) and start its edge hub.

        Args:
            gateway_id: a new one where it is empty.
            register: create device and module in the registry.
            arguments: more for ``edge-hub``, such as ``("--time-to-live-s", "2")``.
        """
        name = gateway_id or f"gateway-{os.getpid()}-{next(_numbers)}"
        if register:
            provision(self._state, name)
        ready = self._system.start(name, ["edge-hub", "--gateway", name, *arguments])
        return Gateway(self, name, read_env(Path(ready["module_env"])))

    def fault(self, process: str, hop: str, **fault: Any) -> None:
        """Set what is wrong with a hop, in place of what was; without fields the hop is whole again."""
        self.admin(process, "PUT", f"/faults/{hop}", fault)

    def restore(self, process: str) -> None:
        """Make all hops of a process whole."""
        self.admin(process, "DELETE", "/faults")

    def faults(self, process: str) -> dict[str, Any]:
        """The faults of a process's hops, with ``hits``: how many requests were struck."""
        return dict(self.admin(process, "GET", "/faults"))

    def status(self, process: str) -> dict[str, Any]:
        """What a process tells of itself."""
        return dict(self.admin(process, "GET", "/status"))

    def kill(self, process: str) -> None:
        """End a process as a power cut does: SIGKILL."""
        self._system.end(process, with_signal=signal.SIGKILL)

    def end(self, process: str) -> None:
        """End a process in order: SIGTERM."""
        self._system.end(process)

    def restart(self, process: str) -> None:
        """Start a process again that was ended or killed; addresses stay."""
        self._system.restart(process)

    def pid(self, process: str) -> int:
        """Process id."""
        return self._system.pid(process)

    def admin(self, process: str, method: str, path: str, body: Any = None) -> Any:
        """Ask the admin interface of a process."""
        inner = {"hub": "hub", "blob-proxy": "blob-proxy"}.get(process, f"gateways/{process}")
        token = (self.folder / inner / "admin.token").read_text()
        request = urllib.request.Request(
            json.loads((self.folder / inner / "admin.json").read_text())["url"] + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())


class EventStream:
    """Reads an event stream from its beginning, as long as the context lasts.

    Attributes:
        events: azure-eventhub's ``EventData``, as they came in.
        errors: what the consumer reported.
    """

    def __init__(self, azure: LocalAzure, group: str) -> None:
        self.events: list[EventData] = []
        self.errors: list[Exception] = []
        self._connection = azure.service_env["EVENTHUB_CONNECTION_STRING"]
        self._group = group
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="event-stream")

    @classmethod
    @contextlib.contextmanager
    def of(cls, azure: LocalAzure, group: str = "$Default") -> Iterator["EventStream"]:
        """Read until the end of the block."""
        stream = cls(azure, group)
        stream._thread.start()
        try:
            yield stream
        finally:
            stream._loop.call_soon_threadsafe(stream._stopped.set)
            stream._thread.join(30)

    def of_gateway(self, gateway: Gateway | str) -> list[EventData]:
        """Events of one gateway, by the hub's annotation, in order."""
        wanted = (gateway if isinstance(gateway, str) else gateway.gateway_id).encode()
        found = [e for e in list(self.events) if e.system_properties[b"iothub-connection-device-id"] == wanted]
        return sorted(found, key=lambda event: event.sequence_number or 0)

    def wait_for(self, gateway: Gateway, count: int, *, timeout_s: float = 30.0) -> list[EventData]:
        """Wait until so many events of a gateway are there; returns all there are."""
        what = f"{count} events of {gateway.gateway_id}"
        wait_until(lambda: len(self.of_gateway(gateway)) >= count, timeout_s=timeout_s, what=what)
        return self.of_gateway(gateway)

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._receive())

    async def _receive(self) -> None:
        async def on_event_batch(_context: PartitionContext, events: list[EventData]) -> None:
            self.events.extend(events)

        async def on_error(_context: PartitionContext | None, error: Exception) -> None:
            self.errors.append(error)

        client = EventHubConsumerClient.from_connection_string(
            self._connection, consumer_group=self._group, retry_backoff_max=1
        )
        async with client:
            receiving = asyncio.create_task(
                client.receive_batch(on_event_batch, on_error=on_error, starting_position="-1", max_wait_time=1)
            )
            await self._stopped.wait()
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)


@pytest.fixture(scope="session")
def local_azure() -> Iterator[LocalAzure]:
    with LocalAzure.started() as azure:
        yield azure


@pytest.fixture
def gateway(local_azure: LocalAzure) -> Iterator[Gateway]:
    added = local_azure.add_gateway()
    yield added
    local_azure.end(added.gateway_id)


def wait_until(true: Callable[[], Any], *, timeout_s: float = 60.0, what: str | Callable[[], str] = "") -> Any:
    """Wait until something holds; returns it. `what` was waited for, or says how things stand when it did not come."""
    deadline = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {(what() if callable(what) else what) or true}"
        time.sleep(0.02)
    return found


@contextlib.contextmanager
def _environ(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
