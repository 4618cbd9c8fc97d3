"""The adapter to the gateway's edge hub: azure-iot-device's module client, in an event loop of its own.

How the SDK really behaves, and what follows: a send while disconnected fails at once and is not queued, one in flight
may hang until the link is back, so each has a limit in time and may arrive twice; after a reconnect the desired
properties may be delivered again, so handlers are idempotent; the first connect fails for good, so it is repeated here;
a client whose session the edge hub has lost sends and hears nothing, so it is exchanged for a new one.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from typing import Any, Final, TypeVar

import requests
from azure.iot.device import Message, MethodRequest, MethodResponse
from azure.iot.device.aio import IoTHubModuleClient
from azure.iot.device.exceptions import ClientError, OperationCancelled, OperationTimeout

from edge_module.errors import NotSent, PermanentDelivery, TransientDelivery
from edge_module.wire import JSON_TYPE, VERSION, Encoded

_log = logging.getLogger(__name__)

OUTPUT: Final = "telemetry"
"""The module's one output: ``FROM /messages/modules/camtrap/outputs/telemetry``."""

_SEND_S: Final = 30.0
_TWIN_S: Final = 15.0
_SHUT_DOWN_S: Final = 5.0
_KEEP_ALIVE_S: Final = 30
_BEAT_S: Final = 2.0
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_SDK_ERRORS = (ClientError, OperationCancelled, OperationTimeout, TimeoutError)

T = TypeVar("T")
Method = Callable[[str, object], tuple[int, dict[str, Any]]]
Desired = Callable[[dict[str, Any], dict[str, Any] | None], None]


class Hub:
    """The link to the edge hub. One thread calls `run`; the rest may be called from any."""

    _on_desired: Desired
    _on_method: Method

    def __init__(self, *, reconnect_s: int, connect_s: float = _SEND_S) -> None:
        """A link that will be tried again so many seconds after it broke, each time for at most `connect_s`."""
        self._reconnect_s = reconnect_s
        self._connect_s = connect_s
        self._connected = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._deaf = asyncio.Event()
        self._changes = 0
        self._client: IoTHubModuleClient | None = None
        self._making: asyncio.Future[IoTHubModuleClient] | None = None

    def run(self, *, on_desired: Desired, on_method: Method, beat: Callable[[], None]) -> None:
        """Connect, for as long as it takes, and stay connected until `stop`.

        Args:
            on_desired: gets desired properties: all of them, with those reported, after each connect; a patch and None
                otherwise. Called in the link's thread; must be quick.
            on_method: answers a direct method with a status and a payload. Called in a thread of its own.
            beat: called every few seconds, to show that the link's event loop goes on.
        """
        self._on_desired, self._on_method = on_desired, on_method
        try:
            self._loop.run_until_complete(self._main(beat))
        finally:
            self._connected.clear()
            self._loop.close()

    def stop(self) -> None:
        """Disconnect and end, soon."""
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._stopping.set)

    @property
    def connected(self) -> bool:
        """Whether the edge hub is reached now."""
        return self._connected.is_set()

    def send(self, encoded: Encoded, *, message_id: str | None) -> None:
        """Send one message and wait until the edge hub has it.

        Raises:
            TransientDelivery: it is not known to have arrived; it may have.
            PermanentDelivery: it can never be sent.
        """
        try:
            message = Message(encoded.body)  # type: ignore[no-untyped-call]
            if message_id is not None:
                message.message_id = message_id
            message.content_type = encoded.content_type
            if encoded.content_type == JSON_TYPE:
                message.content_encoding = "utf-8"  # with the type, lets IoT Hub route on the body
            message.custom_properties = {"kind": encoded.kind, "v": str(VERSION)}
        except ValueError as exc:
            raise PermanentDelivery(f"message of {len(encoded.body)} bytes: {exc}") from exc
        self._call(lambda client: client.send_message_to_output(message, OUTPUT), "message not sent")

    def report(self, properties: dict[str, Any]) -> None:
        """Set reported properties.

        Raises:
            TransientDelivery: it is not known to have been set.
        """
        self._call(lambda client: client.patch_twin_reported_properties(properties), "properties not reported")

    def _call(self, make: Callable[[IoTHubModuleClient], Any], what: str) -> None:
        client = self._client
        if client is None or not self.connected:
            raise NotSent(f"{what}: not connected to the edge hub")

        async def bounded() -> None:
            async with asyncio.timeout(_SEND_S):
                await make(client)

        sending = bounded()
        try:
            future = asyncio.run_coroutine_threadsafe(sending, self._loop)
        except RuntimeError as exc:  # the loop has ended since
            sending.close()
            raise TransientDelivery(f"{what}: the link has ended") from exc
        try:
            future.result(_SEND_S + 5)
        except ValueError as exc:
            raise PermanentDelivery(f"{what}: {exc}") from exc
        except (*_SDK_ERRORS, FutureTimeoutError, asyncio.CancelledError) as exc:
            raise TransientDelivery(f"{what}: {exc!r}") from exc

    # --- inside the loop ------------------------------------------------------------------------------------------

    async def _main(self, beat: Callable[[], None]) -> None:
        _keep(asyncio.create_task(_for_ever(beat)))
        while client := await self._connect():
            self._client = client
            await _first(self._stopping.wait(), self._deaf.wait())
            self._connected.clear()
            self._deaf.clear()
            await _shut_down(client)
            if self._stopping.is_set():
                break
        rest = asyncio.all_tasks() - {asyncio.current_task()}  # sends that hang, of other threads that wait for them
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _connect(self) -> IoTHubModuleClient | None:
        """Make a client and connect it; None when told to stop before."""
        pause_s = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            client = None
            try:
                async with asyncio.timeout(self._connect_s):
                    client = await self._made()
                    await client.connect()
                    await _in_thread(partial(self._listen, client))
                await self._state_changed(client)
            except (*_SDK_ERRORS, OSError, ValueError, requests.RequestException) as exc:
                _log.warning("edge hub not reached (%r), trying again in %.0f s", exc, pause_s)
                if client is not None:
                    await _shut_down(client)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._stopping.wait()
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                return client
        return None

    async def _made(self) -> IoTHubModuleClient:
        """A client, for which IoT Edge's daemon is asked, without a limit in time: while it is silent, only once."""
        if self._making is None:
            self._making = asyncio.ensure_future(_in_thread(self._make_client))
        making = self._making
        try:
            return await asyncio.shield(making)
        finally:
            if making.done():
                self._making = None

    def _make_client(self) -> IoTHubModuleClient:
        return IoTHubModuleClient.create_from_edge_environment(
            keep_alive=_KEEP_ALIVE_S, connection_retry_interval=self._reconnect_s
        )

    def _listen(self, client: IoTHubModuleClient) -> None:
        """Subscribe to everything. Waits for the edge hub, whatever the event loop does meanwhile."""

        def in_loop(coroutine: Callable[[], Coroutine[Any, Any, None]]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(lambda: _keep(self._loop.create_task(coroutine())))

        client.on_twin_desired_properties_patch_received = lambda patch: self._on_desired(patch, None)
        client.on_method_request_received = lambda request: in_loop(partial(self._answer, client, request))
        client.on_connection_state_change = lambda: in_loop(  # type: ignore[assignment]
            partial(self._state_changed, client)
        )
        client.on_background_exception = lambda exc: _log.warning("link to the edge hub: %r", exc)

    async def _state_changed(self, client: IoTHubModuleClient) -> None:
        self._changes += 1
        change = self._changes
        if not client.connected:
            self._connected.clear()
            return
        try:
            async with asyncio.timeout(_TWIN_S):
                twin = await client.get_twin()
        except _SDK_ERRORS as exc:
            if change == self._changes and client.connected:
                # The SDK does not subscribe again after a reconnect: where the hub has lost the session, it is deaf.
                _log.warning("connected, and the twin cannot be read (%r): beginning anew", exc)
                self._deaf.set()
            return
        self._connected.set()
        self._on_desired(twin.get("desired", {}), twin.get("reported", {}))

    async def _answer(self, client: IoTHubModuleClient, request: MethodRequest) -> None:
        status, payload = await _in_thread(partial(self._on_method, request.name, request.payload))
        response = MethodResponse.create_from_method_request(request, status, payload)
        try:
            async with asyncio.timeout(_SEND_S):
                await client.send_method_response(response)
        except _SDK_ERRORS as exc:
            _log.warning("answer to %s not sent: %r", request.name, exc)


async def _for_ever(beat: Callable[[], None]) -> None:
    while True:
        beat()
        await asyncio.sleep(_BEAT_S)


async def _first(*waits: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


async def _shut_down(client: IoTHubModuleClient) -> None:
    with contextlib.suppress(*_SDK_ERRORS):
        async with asyncio.timeout(_SHUT_DOWN_S):
            await client.shutdown()


async def _in_thread(call: Callable[[], T]) -> T:
    """Wait for a blocking call, in a thread that cannot hold up the end of the process as asyncio's own would."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as exc:  # noqa: BLE001 - top of a thread; raised again where it is waited for
            future.set_exception(exc)

    threading.Thread(target=work, daemon=True).start()
    return await asyncio.wrap_future(future)


_tasks: set[asyncio.Task[None]] = set()


def _keep(task: asyncio.Task[None]) -> None:
    """Hold on to a task until it is done: the loop does not."""
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
