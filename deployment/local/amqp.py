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
from urllib.parse import unquote, urlsplit

from proton import (
    UNDESCRIBED,
    Array,
    Collector,
    Condition,
    Connection,
    Data,
    Delivery,
    Described,
    Endpoint,
    Link,
    Message,
    Transport,
    symbol,
    timestamp,
)

from deployment.local import EVENT_HUB, sas
from deployment.local.amqp_padding import Padder
from deployment.local.errors import RefusedError, unauthorized
from deployment.local.event_log import POSITION_FIELDS, EventLog, Stored
from deployment.local.faults import Hop

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

_RECEIVER: Final = re.compile(r"(?:amqps?://[^/]+/)?([^/]+)/ConsumerGroups/([^/]+)/Partitions/(\d+)", re.IGNORECASE)
_POSITION: Final = re.compile(r"amqp\.annotation\.x-opt-([a-z-]+)\s*(>=?)\s*'([^']*)'")
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
        self._granted: dict[str, int] = {}
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
            if not self._may_read(receiver.link.remote_source.address):
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
        if not self._may_read(source):
            self._refuse(link, "amqp:unauthorized-access", f"no token was put for {source}")
            return
        epoch = (link.remote_properties or {}).get(_EPOCH)
        receiver = _Receiver(
            link=link,
            server=self,
            group=found[2].lower(),
            partition=int(found[3]),
            cursor=self._cursor(int(found[3]), _filter(link)),
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

    def _cursor(self, partition: int, selector: str) -> int:
        events = self._shared.events
        found = _POSITION.search(selector)
        if not found or found[1] not in POSITION_FIELDS:
            return events.state(partition).first_sequence
        if found[3] == "@latest":
            return events.end(partition)
        return events.position(partition, found[1], int(found[3]), inclusive=found[2] == ">=")

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
                self._put(link, _message(one))
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
        reply = self._put_token(request) if address == "$cbs" else self._describe(request)
        reply.correlation_id = request.id
        self._put(self._reply_links[address], reply)

    def _put_token(self, request: Message) -> Message:
        audience = _path(str((request.properties or {}).get("name", "")))
        try:
            expires = _checked_token(str(request.body), audience, self._shared.policy_key)
        except RefusedError as exc:
            _log.info("token for %s refused: %s", audience, exc)
            return _status(401, str(exc))
        self._granted[audience] = expires
        return _status(202, "Accepted")

    def _may_read(self, source: str) -> bool:
        path = _path(source)
        return any(
            expires > time.time() and f"{path}/".startswith(f"{audience}/")
            for audience, expires in self._granted.items()
        )

    def _describe(self, request: Message) -> Message:
        asked = request.properties or {}
        events, kind = self._shared.events, asked.get("type")
        if not self._may_read(EVENT_HUB) and not any(expires > time.time() for expires in self._granted.values()):
            return _status(401, "no token was put on $cbs")
        if str(asked.get("name", "")).lower() != EVENT_HUB:
            return _status(404, f"no stream {asked.get('name')}")
        reply = _status(200, "OK")
        if kind == "com.microsoft:eventhub":
            numbers = [str(number) for number in range(events.partitions)]
            reply.body = {
                "name": EVENT_HUB,
                "type": kind,
                "created_at": timestamp(events.created_ms),
                "partition_count": events.partitions,
                "partition_ids": Array(UNDESCRIBED, Data.STRING, *numbers),
            }
            return reply
        partition = str(asked.get("partition", ""))
        if not (partition.isascii() and partition.isdigit() and int(partition) < events.partitions):
            return _status(404, f"no partition {partition}")
        state = events.state(int(partition))
        reply.body = {
            "name": EVENT_HUB,
            "type": "com.microsoft:partition",
            "partition": partition,
            "begin_sequence_number": state.first_sequence,
            "last_enqueued_sequence_number": state.last_sequence,
            "last_enqueued_offset": str(state.last_offset),
            "last_enqueued_time_utc": timestamp(state.last_enqueued_ms),
            "is_partition_empty": state.is_empty,
        }
        return reply


def _message(stored: Stored) -> Message:
    message = Message(body=stored.body, inferred=True, properties=stored.application or None)
    message.annotations = {
        "x-opt-sequence-number": stored.sequence,
        "x-opt-offset": str(stored.offset),
        "x-opt-enqueued-time": timestamp(stored.enqueued_ms),
        "iothub-enqueuedtime": timestamp(stored.enqueued_ms),
        **stored.annotations,
    }
    system = stored.system
    if "message-id" in system:
        message.id = system["message-id"]
    if "correlation-id" in system:
        message.correlation_id = system["correlation-id"]
    if "user-id" in system:
        message.user_id = system["user-id"].encode()
    message.content_type = symbol(system["content-type"]) if "content-type" in system else None
    message.content_encoding = symbol(system["content-encoding"]) if "content-encoding" in system else None
    return message


def _checked_token(token: str, audience: str, key: bytes) -> int:
    """When a token for an audience expires. Host names are those the client uses: what counts is the path."""
    named = re.search(r"sr=([^&]*)", token)
    scope = unquote(named[1]) if named else ""
    expires = sas.check(token, scope, [key])
    if not f"{audience}/".startswith(f"{_path(scope)}/".lstrip("/")):
        raise unauthorized("the token is for another resource")
    return expires


def _status(code: int, description: str) -> Message:
    return Message(properties={"status-code": code, "status-description": description})


def _filter(link: Link) -> str:
    """The selector text of a receiver's source filter."""
    given = link.remote_source.filter
    given.rewind()
    if not given.next():
        return ""
    values = [value.value if isinstance(value, Described) else value for value in (given.get_object() or {}).values()]
    return str(values[-1]) if values else ""


def _path(address: str) -> str:
    """An address without scheme and host: audiences and scopes differ in these between SDKs."""
    return (urlsplit(address).path if "://" in address else address).strip("/").lower()
