"""The adapter to Blob Storage, against a server that breaks off: Azurite's own manners are tested elsewhere."""

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from edge_module.blobs import Blobs, UploadSas
from edge_module.errors import CredentialRefused, TransientDelivery

PICTURE = bytes(3_000_000)
REFUSED = b"HTTP/1.1 403 no\r\nx-ms-error-code: AuthenticationFailed\r\nContent-Length: 0\r\n\r\n"
BUSY = b"HTTP/1.1 503 no\r\nx-ms-error-code: ServerBusy\r\nContent-Length: 0\r\n\r\n"


class RudeStorage:
    """Resets the connection in the middle of every picture; answers what has no body."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                head = b""
                while b"\r\n\r\n" not in head and (some := connection.recv(4096)):
                    head += some
                if b"comp=blocklist" in head:
                    connection.sendall(self._answer)
                else:  # SO_LINGER of 0: a reset, and what was answered is lost
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.fixture
def put_at(request: pytest.FixtureRequest) -> Iterator[Blobs]:
    storage = RudeStorage(request.param)
    blobs = Blobs()
    blobs.set_credential(
        UploadSas(
            container_url=f"http://127.0.0.1:{storage.port}/account/own",
            sas="sv=2023-11-03&sig=x",
            expires_at="2030-01-01T00:00:00Z",
        )
    )
    yield blobs
    storage.close()


@pytest.mark.parametrize("put_at", [REFUSED], ids=["refused"], indirect=True)
def test_a_refusal_is_known_also_where_storage_breaks_the_picture_off(put_at: Blobs):
    with pytest.raises(CredentialRefused, match="AuthenticationFailed"):
        put_at.put("a.jpg", PICTURE, content_type="image/jpeg")


@pytest.mark.parametrize("put_at", [BUSY, b""], ids=["busy", "silent"], indirect=True)
def test_a_connection_that_breaks_off_is_tried_again_with_the_same_credential(put_at: Blobs):
    with pytest.raises(TransientDelivery) as error:
        put_at.put("a.jpg", PICTURE, content_type="image/jpeg")
    assert not isinstance(error.value, CredentialRefused)
