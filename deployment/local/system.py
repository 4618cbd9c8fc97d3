"""The whole system as child processes, each on its own to be killed and started again, ended together."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from deployment.local import azurite
from deployment.local.errors import LocalError
from deployment.local.state import State, read_json, write_env, write_private

_START_S: Final = 60.0
_STOP_S: Final = 10.0
_POLL_S: Final = 0.05


@dataclass(slots=True)
class _Child:
    arguments: list[str]
    process: "subprocess.Popen[str] | None" = None
    ready: dict[str, Any] = field(default_factory=dict)


class System:
    """All processes of one state folder.

    Children end when this process ends, however it ends (Linux). Each child's log is ``logs/NAME.log`` in the state
    folder.
    """

    def __init__(self, state: State, *, python: str = sys.executable) -> None:
        self.state = state
        self._python = python
        self._children: dict[str, _Child] = {}

    def start(self, name: str, arguments: Iterable[str]) -> dict[str, Any]:
        """Start a process under a name and wait until it is ready; returns its ready line.

        Raises:
            LocalError: it ended, or did not become ready; has the end of its log.
        """
        self._children[name] = _Child([*arguments, "--state", str(self.state.root)])
        return self.restart(name)

    def restart(self, name: str) -> dict[str, Any]:
        """Start a process again with its arguments and addresses as they were."""
        child = self._children[name]
        assert child.process is None, f"{name} is still running"
        command = [self._python, "-m", "deployment.local", *child.arguments, "--end-with", str(os.getpid())]
        with self._log(name).open("a") as log:
            child.process = subprocess.Popen(  # noqa: S603 - our own words, no shell
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        child.ready = self._wait_ready(name, child.process)
        return child.ready

    def start_storage(self, *, faults: bool, port: int = 0) -> str:
        """Start Azurite, and before it the proxy that can fail on purpose; returns the address to use."""
        azurite.install()  # the first time takes as long as the network does, longer than a start may
        folder = self.state.folder("azurite")
        self.start("azurite", ["azurite", "--port", str(port)])
        url = f"http://127.0.0.1:{read_json(folder / 'ports.json', 'start Azurite')['blob']}"
        if faults:
            url = str(self.start("blob-proxy", ["blob-proxy", "--target-url", url])["url"])
        write_private(folder / "storage.json", json.dumps({"url": url}))
        return url

    def service_env(self) -> dict[str, str]:
        """What headquarters needs to be told; also written to ``service.env``."""
        hub = read_json(self.state.folder("hub") / "hub.json", "start the hub")
        storage = read_json(self.state.folder("azurite") / "storage.json", "start Azurite")
        values = {
            "IOTHUB_CONNECTION_STRING": hub["iot_hub"],
            "EVENTHUB_CONNECTION_STRING": hub["event_hub"],
            "EVENTHUB_CONSUMER_GROUP": "hq",
            "STORAGE_CONNECTION_STRING": azurite.connection_string(self.state, storage["url"]),
            "REQUESTS_CA_BUNDLE": hub["ca"],
        }
        write_env(self.state.root / "service.env", values)
        return values

    def pid(self, name: str) -> int:
        """Process id of a running child."""
        process = self._children[name].process
        assert process is not None
        return process.pid

    def ready(self, name: str) -> dict[str, Any]:
        """The ready line of a child."""
        return self._children[name].ready

    def end(self, name: str, *, with_signal: signal.Signals = signal.SIGTERM) -> None:
        """End a child and wait until it is gone."""
        process = self._children[name].process
        if process is None:
            return
        process.send_signal(with_signal)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
        self._children[name].process = None

    def stop(self) -> None:
        """End all, last started first."""
        for name in reversed(list(self._children)):
            self.end(name)

    def ended(self) -> list[str]:
        """Names of children that have ended by themselves."""
        return [name for name, child in self._children.items() if child.process and child.process.poll() is not None]

    def _log(self, name: str) -> Path:
        return self.state.folder("logs") / f"{name}.log"

    def _wait_ready(self, name: str, process: "subprocess.Popen[str]") -> dict[str, Any]:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            if name == "azurite":
                if self._azurite_answers():
                    return {"process": "azurite"}
                time.sleep(_POLL_S)
                continue
            assert process.stdout is not None
            if line := _line(process.stdout):
                return dict(json.loads(line))
        code = process.poll()
        self.end(name, with_signal=signal.SIGKILL)
        tail = self._log(name).read_text()[-2000:].strip()
        raise LocalError(f"{name} did not become ready ({'no answer' if code is None else f'exit {code}'}):\n{tail}")

    def _azurite_answers(self) -> bool:
        file = self.state.folder("azurite") / "ports.json"
        if not file.exists():
            return False
        port = json.loads(file.read_text())["blob"]
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", port)) == 0


def _line(stream: IO[str]) -> str:
    readable, _, _ = select.select([stream], [], [], _POLL_S)
    return stream.readline() if readable else ""
