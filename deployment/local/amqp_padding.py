"""Writes every AMQP performative with all its fields.

AMQP 1.0 lets a sender leave out trailing null fields of a list ("3.2 composite types"), and Proton does. The reader in
azure-eventhub 5 picks fields by position and raises IndexError where they are missing.
"""

import struct
from typing import Final

_FIELDS: Final = {0x10: 10, 0x11: 8, 0x12: 14, 0x13: 11, 0x14: 11, 0x15: 6, 0x16: 3, 0x17: 1, 0x18: 1}
"""Fields of open, begin, attach, flow, transfer, disposition, detach, end and close, by descriptor (section 2.7)."""

_NULL: Final = b"\x40"
_LIST0, _LIST8, _LIST32 = 0x45, 0xC0, 0xD0
_HEADER_BYTES: Final = 8
_AMQP_FRAME: Final = 0


class Padder:
    """Takes the bytes Proton wants to send, in any pieces, and gives whole padded frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return what can be sent now."""
        self._rest += data
        frames = []
        while len(self._rest) >= _HEADER_BYTES:
            # A protocol header ("2.2 version negotiation") is 8 bytes and no frame.
            size = _HEADER_BYTES if self._rest.startswith(b"AMQP") else int.from_bytes(self._rest[:4], "big")
            if len(self._rest) < size:
                break
            frame, self._rest = self._rest[:size], self._rest[size:]
            frames.append(frame if frame.startswith(b"AMQP") else _padded(frame))
        return b"".join(frames)


def _padded(frame: bytes) -> bytes:
    start = frame[4] * 4  # "2.3.1 frame layout": the data offset counts four-byte words
    performative = frame[start:]
    if frame[5] != _AMQP_FRAME or performative[:2] != b"\x00\x53" or performative[2] not in _FIELDS:
        return frame
    wanted, code = _FIELDS[performative[2]], performative[3]
    if code == _LIST0:
        count, fields, payload = 0, b"", performative[4:]
    elif code == _LIST8:
        size, count = performative[4], performative[5]
        fields, payload = performative[6 : 5 + size], performative[5 + size :]
    elif code == _LIST32:
        size, count = struct.unpack_from("!II", performative, 4)
        fields, payload = performative[12 : 8 + size], performative[8 + size :]
    else:
        return frame
    if count >= wanted:
        return frame
    fields += _NULL * (wanted - count)
    whole = performative[:3] + struct.pack("!BII", _LIST32, len(fields) + 4, wanted) + fields + payload
    return struct.pack("!I", start + len(whole)) + frame[4:start] + whole
