"""The gateway's own count of bytes is never below what the SDKs really send."""

import base64
import socket
import threading
from collections.abc import Callable
from urllib.parse import unquote

import pytest
from azure.iot.device import Message
from azure.iot.device.iothub.pipeline import mqtt_topic_iothub

from edge_module import wire
from edge_module.blobs import Blobs, UploadSas
from edge_module.budget import MESSAGE_HEADER_BYTES, PUT_HEADER_BYTES
from edge_module.errors import NotSent
from edge_module.hub import OUTPUT

LONGEST_NAME = "g" * 54  # a container's name is `gw-` and at most 60 more
SAS = (
    "se=2026-11-30T23%3A59%3A59Z&sp=cw&spr=https&sv=2026-02-06&sr=c&st=2026-11-23T23%3A59%3A59Z&skoid=" + "0" * 36
    + "&sktid=" + "0" * 36 + "&skt=2026-11-23T23%3A59%3A59Z&ske=2026-11-30T23%3A59%3A59Z&sks=b&skv=2026-02-06&sig="
    + "A" * 60
)  # fmt: skip
ANSWER = b'HTTP/1.1 201 Created\r\nContent-Length: 0\r\nETag: "0x1"\r\nx-ms-request-server-encrypted: true\r\n\r\n'
BLOCK = bytes(1_000_000)
BLOCK_IDS = [base64.b64encode(b"%06d" % n).decode() for n in range(40)]


class Counting:
    """A storage that counts every byte of a connection and says yes to everything."""

    def __init__(self) -> None:
        self.received_bytes = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            while True:
                head = b""
                while b"\r\n\r\n" not in head:
                    some = connection.recv(65_536)
                    if not some:
                        return
                    head += some
                head, _, body = head.partition(b"\r\n\r\n")
                (length,) = [
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                ]
                while len(body) < length:
                    body += connection.recv(65_536)
                self.received_bytes += len(head) + 4 + length
                connection.sendall(ANSWER)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def counting():
    storage = Counting()
    yield storage
    storage.close()


PUTS: dict[str, tuple[int, Callable[[Blobs, str], None]]] = {
    "a crop": (20_000, lambda blobs, name: blobs.put(f"crop/{name}.jpg", bytes(20_000), content_type="image/jpeg")),
    "a block": (1_000_000, lambda blobs, name: blobs.put_block(f"original/{name}.jpeg", BLOCK_IDS[0], BLOCK)),
    "a list of blocks": (
        40 * len(BLOCK_IDS),
        lambda blobs, name: blobs.commit(f"original/{name}.avi", BLOCK_IDS, content_type="application/octet-stream"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", PUTS)
def test_a_request_to_storage_takes_no_more_than_is_counted(counting: Counting, what: str) -> None:
    body_bytes, put = PUTS[what]
    blobs = Blobs()
    blobs.set_credential(
        UploadSas(
            container_url=f"http://127.0.0.1:{counting.port}/{'a' * 24}.blob.core.windows.net/gw-{LONGEST_NAME}",
            sas=SAS, expires_at="2026-11-30T23:59:59Z",
        )
    )  # fmt: skip
    put(blobs, "f" * 64 + "-" + "f" * 16)
    assert body_bytes < counting.received_bytes <= body_bytes + PUT_HEADER_BYTES


def test_a_message_takes_no_more_than_is_counted() -> None:
    longest = "d" * 128
    message = Message(b"")
    message.message_id = wire.message_id("f" * 32, 2**40)
    message.content_type = wire.BATCH_TYPE
    message.content_encoding = "utf-8"
    message.output_name = OUTPUT
    message.custom_properties = {"kind": "media_stored", "v": str(wire.VERSION)}
    topic = mqtt_topic_iothub.encode_message_properties_in_topic(
        message, mqtt_topic_iothub.get_telemetry_topic_for_publish(longest, "camtrap")
    )
    assert "media_stored" in unquote(topic)
    mqtt = 1 + 4 + 2 + 2  # type and flags, remaining length, the topic's length, packet id
    assert len(topic.encode()) + mqtt <= MESSAGE_HEADER_BYTES


def test_a_storage_that_is_not_there_is_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    blobs = Blobs()
    blobs.set_credential(
        UploadSas(container_url=f"http://127.0.0.1:{port}/a/own", sas="sig=x", expires_at="2026-11-30T23:59:59Z")
    )
    with pytest.raises(NotSent):
        blobs.put("crop/a.jpg", b"x", content_type="image/jpeg")
