"""MQTT 3.1.1 packets as values: what IoT Hub takes from devices and gives them.

No sockets here but a reader. Section numbers are those of the OASIS standard "MQTT Version 3.1.1". IoT Hub has no QoS 2
and keeps no retained messages.
"""

import asyncio
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

PACKET_BYTES: Final = 256 * 1024 + 64 * 1024
"""Largest packet read: a message of IoT Hub's limit and the longest topic there can be."""

_LENGTH_BYTES: Final = 4  # 2.2.3: the remaining length takes at most four bytes


class MqttError(ConnectionError):
    """The peer does not keep to the protocol: the connection is closed (4.8)."""


class Refusal(IntEnum):
    """Return codes of CONNACK (3.2.2.3)."""

    ACCEPTED = 0
    UNACCEPTABLE_PROTOCOL = 1
    IDENTIFIER_REJECTED = 2
    SERVER_UNAVAILABLE = 3
    NOT_AUTHORIZED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """3.1. A will is read past: IoT Edge's modules have none."""

    client_id: str
    user: str
    password: str
    clean_session: bool
    keep_alive_s: int
    level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """3.3. ``packet_id`` is 0 for QoS 0."""

    topic: str
    body: bytes
    qos: int
    packet_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """3.8. Filters with the QoS asked for."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscribe:
    """3.10."""

    packet_id: int
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PingRequest:
    """3.12."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """3.4, PUBACK of something we sent; we send at QoS 0, so that there is nothing to do."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """3.14."""


Packet = Connect | Publish | Subscribe | Unsubscribe | PingRequest | Acknowledged | Disconnect


async def read(stream: asyncio.StreamReader) -> Packet:
    """Read one packet.

    Raises:
        MqttError: malformed, or larger than ``PACKET_BYTES``.
        asyncio.IncompleteReadError: the connection ended.
    """
    first = (await stream.readexactly(1))[0]
    length = 0
    for position in range(_LENGTH_BYTES):
        byte = (await stream.readexactly(1))[0]
        length |= (byte & 0x7F) << (7 * position)
        if not byte & 0x80:
            break
    else:
        raise MqttError("remaining length of more than four bytes")
    if length > PACKET_BYTES:
        raise MqttError(f"a packet of {length} bytes; the limit is {PACKET_BYTES}")
    return parse(first, await stream.readexactly(length))


def parse(first: int, content: bytes) -> Packet:
    """Understand a packet from its first byte and what follows the remaining length.

    Raises:
        MqttError: malformed.
    """
    fields = _Fields(content)
    match first >> 4:
        case 1:
            return _connect(fields)
        case 3:
            return _publish(first & 0x0F, fields)
        case 4:
            return Acknowledged()
        case 8:
            packet_id, filters = fields.number(2), []
            while fields.left():
                filters.append((fields.text(), fields.number(1)))
            return Subscribe(packet_id=packet_id, filters=tuple(filters))
        case 10:
            packet_id, names = fields.number(2), []
            while fields.left():
                names.append(fields.text())
            return Unsubscribe(packet_id=packet_id, filters=tuple(names))
        case 12:
            return PingRequest()
        case 14:
            return Disconnect()
        case kind:
            raise MqttError(f"packet type {kind} is not for a server, or not known")


def connack(code: Refusal, *, session_present: bool = False) -> bytes:
    """3.2."""
    return _packet(0x20, bytes([session_present and code is Refusal.ACCEPTED, code]))


def publish(topic: str, body: bytes) -> bytes:
    """3.3, at QoS 0."""
    name = topic.encode()
    return _packet(0x30, struct.pack("!H", len(name)) + name + body)


def puback(packet_id: int) -> bytes:
    """3.4."""
    return _packet(0x40, struct.pack("!H", packet_id))


def suback(packet_id: int, granted: list[int]) -> bytes:
    """3.9; 0x80 for a filter that is refused."""
    return _packet(0x90, struct.pack("!H", packet_id) + bytes(granted))


def unsuback(packet_id: int) -> bytes:
    """3.11."""
    return _packet(0xB0, struct.pack("!H", packet_id))


PING_RESPONSE: Final = b"\xd0\x00"
"""3.13."""


class _Fields:
    """Reads the parts of a packet one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def left(self) -> int:
        return len(self._content) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left():
            raise MqttError("a packet shorter than it says")
        self._at += count
        return self._content[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def text(self) -> str:
        try:
            text = self.take(self.number(2)).decode()
        except UnicodeDecodeError as exc:
            raise MqttError("a string that is not UTF-8") from exc
        if "\0" in text:  # 1.5.3
            raise MqttError("a string with a null character")
        return text


def _connect(fields: _Fields) -> Connect:
    protocol, level, flags, keep_alive_s = fields.text(), fields.number(1), fields.number(1), fields.number(2)
    if protocol != "MQTT":
        raise MqttError(f"protocol {protocol!r}")
    client_id = fields.text()
    if flags & 0x04:
        fields.text()
        fields.take(fields.number(2))
    user = fields.text() if flags & 0x80 else ""
    password = fields.text() if flags & 0x40 else ""
    return Connect(
        client_id=client_id,
        user=user,
        password=password,
        clean_session=bool(flags & 0x02),
        keep_alive_s=keep_alive_s,
        level=level,
    )


def _publish(flags: int, fields: _Fields) -> Publish:
    qos = (flags >> 1) & 3
    if qos > 1:
        raise MqttError("QoS 2, which IoT Hub does not have")
    topic = fields.text()
    packet_id = fields.number(2) if qos else 0
    if qos and not packet_id:
        raise MqttError("packet id 0")  # 2.3.1
    return Publish(topic=topic, body=fields.take(fields.left()), qos=qos, packet_id=packet_id)


def _packet(first: int, content: bytes) -> bytes:
    length, encoded = len(content), bytearray()
    while True:
        length, byte = divmod(length, 128)
        encoded.append(byte | (0x80 if length else 0))
        if not length:
            return bytes([first]) + bytes(encoded) + content
