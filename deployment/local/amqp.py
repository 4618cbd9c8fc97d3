"""The event stream as Event Hubs serves it: AMQP 1.0, on Proton's engine without its sockets.

What a consumer does: open a connection (SASL ANONYMOUS), put a token on ``$cbs`` for each address, ask
``$management`` about partitions, attach a receiver to ``{stream}/ConsumerGroups/{group}/Partitions/{number}`` with a
position as filter.
Source: "AMQP 1.0 in Azure Service Bus and Event Hubs protocol guide" in Azure's documentation.
"""

import asyncio
import logging
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from proton import (
    Collector,
    Condition,
    Connection,
    Delivery,
    Endpoint,
    Link,
    Message,
    Transport,
    symbol,
)

from deployment.local import EVENT_HUB
from deployment.local.amqp_messages import cursor, message
from deployment.local.amqp_padding import Padder
from deployment.local.amqp_requests import Grants, describe
from deployment.local.event_log import EventLog
from deployment.local.faults import Hop

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

_RECEIVER: Final = re.compile(r"(?:amqps?://[^/]+/)?([^/]+)/ConsumerGroups/([^/]+)/Partitions/(\d+)", re.IGNORECASE)
_EPOCH: Final = symbol("com.microsoft:epoch")
_IDLE_TIMEOUT_S: Final = 120
_TICK_S: Final = 1.0
_FRAME_BYTES: Final = 64 * 1024
_REQUEST_CREDIT: Final = 100
_READ_AT_ONCE: Final = 64


@dataclass(eq=False, slots=True)
class _Receiver:
    """A consumer's link to a partition.

    Attributes:
        group: consumer group, lower case.
        cursor: sequence number of the next message to send.
        epoch: owner level; a higher one takes the partition away. None: shares it.
    """

    link: Link
    server: "_Server"
    group: str
    partition: int
    cursor: int
    epoch: int | None


@dataclass(eq=False, slots=True)
class Endpoints:
    """What all connections share.

    Attributes:
        policy_key: the shared access key's text; Event Hubs signs with its UTF-8.
        groups: consumer groups there are, lower case.
    """

    events: EventLog
    policy_key: bytes
    groups: set[str]
    hop: Hop = field(default_factory=Hop)
    servers: set["_Server"] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.events.listeners.append(self._wake)
        self.hop.on_change = self._break_if_cut

    def protocol(self) -> asyncio.Protocol:
        """Serve one connection."""
        return _Server(self)

    def owners(self, group: str, partition: int) -> list[_Receiver]:
        """Everyone who receives from a partition."""
        return [
            receiver
            for server in self.servers
            for receiver in server.receivers.values()
            if (receiver.group, receiver.partition) == (group, partition)
        ]

    def close(self) -> None:
        """Break all connections off."""
        for server in list(self.servers):
            server.abort()

    def _wake(self, partition: int) -> None:
        for server in list(self.servers):
            server.wake(partition)

    def _break_if_cut(self) -> None:
        if self.hop.fault.cut:
            self.close()


class _Server(asyncio.Protocol):
    """One connection: bytes in, Proton's events, bytes out."""

    def __init__(self, shared: Endpoints) -> None:
        self._shared = shared
        self._padder = Padder()
        self._connection = Connection()
        self._collector = Collector()
        self._connection.collect(self._collector)
        self._engine = Transport(Transport.SERVER)
        self._engine.sasl().allowed_mechs("ANONYMOUS")
        self._engine.idle_timeout = _IDLE_TIMEOUT_S
        self._engine.max_frame_size = _FRAME_BYTES
        self._engine.bind(self._connection)
        self._reply_links: dict[str, Link] = {}
        self._grants = Grants(shared.policy_key)
        self._tag = 0
        self.receivers: dict[Link, _Receiver] = {}
        self._handlers: dict[str, Callable[[Any], None]] = {
            "on_connection_remote_open": self._connection_opened,
            "on_connection_remote_close": lambda event: event.connection.close(),
            "on_session_remote_open": lambda event: event.session.open(),
            "on_session_remote_close": lambda event: event.session.close(),
            "on_link_remote_open": self._link_opened,
            "on_link_remote_close": self._link_closed,
            "on_link_remote_detach": self._link_closed,
            "on_link_flow": self._link_flow,
            "on_delivery": self._delivered,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._shared.hop.fault.cut:
            transport.abort()
        self._shared.servers.add(self)
        self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._timer.cancel()
        self._shared.servers.discard(self)
        self.receivers.clear()

    def data_received(self, data: bytes) -> None:
        while data:
            room = min(self._engine.capacity(), len(data))
            if room <= 0:
                self._transport.close()
                return
            self._engine.push(data[:room])
            data = data[room:]
            self._handle()
        self.flush()

    def abort(self) -> None:
        """Break the connection off."""
        self._transport.abort()

    def wake(self, partition: int) -> None:
        """Something was stored in a partition."""
        asyncio.get_running_loop().call_later(self._shared.hop.fault.latency_ms / 1000, self._send_all, partition)

    def flush(self) -> None:
        """Write what Proton wants written."""
        self._handle()
        while (pending := self._engine.pending()) > 0:
            self._transport.write(self._padder.feed(self._engine.peek(pending)))
            self._engine.pop(pending)
        if pending < 0:
            self._transport.close()

    def _tick(self) -> None:
        self._engine.tick(time.monotonic())
        for receiver in list(self.receivers.values()):
            if not self._grants.may_read(receiver.link.remote_source.address):
                self._refuse(receiver.link, "amqp:unauthorized-access", "the token has expired")
        self.flush()
        self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def _handle(self) -> None:
        while event := self._collector.peek():
            if handler := self._handlers.get(event.type.method):
                try:
                    handler(event)
                except Exception:  # noqa: BLE001 - a hostile peer must not end the server: this is the top of its connection
                    _log.exception("connection broken off at %s", event.type)
                    self._transport.abort()
            self._collector.pop()

    def _connection_opened(self, event: Any) -> None:
        event.connection.container = EVENT_HUB
        event.connection.open()

    def _link_opened(self, event: Any) -> None:
        link = event.link
        source = link.remote_source.address
        link.source.copy(link.remote_source)
        link.target.copy(link.remote_target)
        if link.is_receiver:
            if link.remote_target.address not in {"$cbs", "$management"}:
                self._refuse(link, "amqp:not-allowed", "messages come in through the gateways only")
                return
            link.open()
            link.flow(_REQUEST_CREDIT)
        elif source in {"$cbs", "$management"}:
            self._reply_links[source] = link
            link.open()
        else:
            self._attach(link, source or "")

    def _attach(self, link: Link, source: str) -> None:
        found = _RECEIVER.fullmatch(source)
        events = self._shared.events
        known = found and found[1].lower() == EVENT_HUB and found[2].lower() in self._shared.groups
        if not found or not known or int(found[3]) >= events.partitions:
            self._refuse(link, "amqp:not-found", f"no such stream, consumer group or partition: {source}")
            return
        if not self._grants.may_read(source):
            self._refuse(link, "amqp:unauthorized-access", f"no token was put for {source}")
            return
        epoch = (link.remote_properties or {}).get(_EPOCH)
        receiver = _Receiver(
            link=link,
            server=self,
            group=found[2].lower(),
            partition=int(found[3]),
            cursor=cursor(events, int(found[3]), link),
            epoch=None if epoch is None else int(epoch),
        )
        if not self._take(receiver):
            return
        link.source.address = source
        link.open()
        self.receivers[link] = receiver

    def _take(self, receiver: _Receiver) -> bool:
        """Take the partition from owners of the same or a lower level; refuse where there is a higher one."""
        owners = self._shared.owners(receiver.group, receiver.partition)
        highest = max((one.epoch for one in owners if one.epoch is not None), default=None)
        if highest is not None and (receiver.epoch is None or receiver.epoch < highest):
            self._refuse(receiver.link, "amqp:link:stolen", f"a receiver of level {highest} holds the partition")
            return False
        if receiver.epoch is not None:
            for one in owners:
                one.server._refuse(one.link, "amqp:link:stolen", f"taken by a receiver of level {receiver.epoch}")  # noqa: SLF001 - same class
                one.server.flush()
        return True

    def _link_closed(self, event: Any) -> None:
        self.receivers.pop(event.link, None)
        event.link.close()

    def _refuse(self, link: Link, condition: str, description: str) -> None:
        self.receivers.pop(link, None)
        if link.state & Endpoint.LOCAL_UNINIT:
            link.open()
        link.condition = Condition(condition, description)
        link.close()

    def _link_flow(self, event: Any) -> None:
        if receiver := self.receivers.get(event.link):
            self._send(receiver)

    def _send_all(self, partition: int) -> None:
        for receiver in list(self.receivers.values()):
            if receiver.partition == partition:
                self._send(receiver)
        if not self._transport.is_closing():
            self.flush()

    def _send(self, receiver: _Receiver) -> None:
        link = receiver.link
        while link.credit > 0:
            stored = self._shared.events.read(receiver.partition, receiver.cursor, min(link.credit, _READ_AT_ONCE))
            if not stored:
                break
            for one in stored:
                self._put(link, message(one))
                receiver.cursor = one.sequence + 1
        if link.drain_mode:
            link.drained()

    def _put(self, link: Link, message: Message) -> None:
        self._tag += 1
        delivery = link.delivery(str(self._tag))
        link.send(message.encode())
        delivery.settle()
        link.advance()

    def _delivered(self, event: Any) -> None:
        delivery, link = event.delivery, event.link
        if not link.is_receiver or delivery.partial or not delivery.readable:
            return
        request = Message()
        request.decode(link.recv(delivery.pending))
        link.advance()
        delivery.update(Delivery.ACCEPTED)
        delivery.settle()
        link.flow(1)
        address = link.remote_target.address
        reply = (
            self._grants.put_token(request)
            if address == "$cbs"
            else describe(request, self._shared.events, self._grants)
        )
        reply.correlation_id = request.id
        self._put(self._reply_links[address], reply)
