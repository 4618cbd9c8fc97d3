"""IoT Edge's daemon takes a connection and says nothing: the gateway waits for it, once."""

import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_module.hub import Hub
from tests.gateway_cards import wait_until


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """Whoever has asked the workload socket."""
    path, asked = tmp_path / "workload.sock", list[socket.socket]()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(16)

        def accept() -> None:
            while True:
                try:
                    asked.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        edge = {
            "IOTEDGE_MODULEID": "camtrap", "IOTEDGE_DEVICEID": "gateway", "IOTEDGE_IOTHUBHOSTNAME": "hub.example",
            "IOTEDGE_GATEWAYHOSTNAME": "localhost", "IOTEDGE_APIVERSION": "2019-01-30",
            "IOTEDGE_MODULEGENERATIONID": "1", "IOTEDGE_WORKLOADURI": f"unix://{path}",
        }  # fmt: skip
        for name, value in edge.items():
            monkeypatch.setenv(name, value)
        yield asked
        server.shutdown(socket.SHUT_RDWR)
    for one in asked:
        one.close()


def test_a_daemon_that_does_not_answer_is_asked_once_at_a_time(
    silent: list[socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    hub = Hub(reconnect_s=1, connect_s=0.2)
    caplog.set_level(logging.WARNING)

    def run() -> None:
        hub.run(
            on_desired=lambda _desired, _there: None, on_method=lambda _name, _payload: (200, {}), beat=lambda: None
        )

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_until(lambda: caplog.text.count("edge hub not reached") >= 3 and silent != [], lambda: caplog.text)
        assert len(silent) == 1, "each further one would be a thread that waits for ever"
        silent[0].close()
        wait_until(lambda: len(silent) == 2, lambda: "it is not asked again when it has given up")
    finally:
        hub.stop()
        for one in silent:
            one.close()
        thread.join(60)
    assert not thread.is_alive()
