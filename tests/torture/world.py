"""The system of a torture run: the local Azure, headquarters' two ingest processes, and one gateway."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import Twin, TwinProperties

from cloud_sync.records import container_of
from tests.local_azure import Gateway, LocalAzure
from tests.torture.faults import Deed
from tests.torture.judge import owed

ROOT: Final = Path(__file__).parents[2]
GATEWAY_ID: Final = "tortured"
_HOPS: Final = {
    "module": GATEWAY_ID, "upstream": GATEWAY_ID,
    "links": "hub", "registry": "hub", "events": "hub",
    "storage": "blob-proxy",
}  # fmt: skip
_AZURES: Final = {"hub": "hub", "edge-hub": GATEWAY_ID}
_END_S: Final = 30.0

# Short, so that a round is: where nature takes hours, a round takes seconds.
_HURRIED: Final = {
    "PONYA_POLL_S": "0.3",
    "PONYA_SETTLE_S": "0.2",
    "PONYA_CONFIRM_INTERVAL_S": "2",
    "PONYA_RESEND_AFTER_S": "6",
    "PONYA_STATUS_INTERVAL_S": "3",
    "PONYA_RETRY_LONGEST_S": "4",
    "PONYA_RECONNECT_S": "1",
    "PONYA_LOG_LEVEL": "info",
    "PONYA_BUDGET_BYTES": "100000000000",  # days pass too slowly for a round
    "PONYA_REVIEW_CROPS_PER_DAY": "100000",
    "PONYA_AUDIT_PER_MILLE": "300",
}
_HQ_SETTINGS: Final = {
    "CONFIRM_INTERVAL_S": "0.5",
    "BALANCE_INTERVAL_S": "1.5",
}


class Process:
    """A process of the system's that is not part of the local Azure."""

    def __init__(self, name: str, arguments: list[str], env: dict[str, str], log: Path) -> None:
        self.name = name
        self._command = [sys.executable, "-m", *arguments]
        self._env = {**os.environ, **env}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._process is None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command, cwd=ROOT, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )

    @property
    def pid(self) -> int:
        """Process id of one that runs."""
        assert self._process
        return self._process.pid

    @property
    def running_pid(self) -> int | None:
        """Process id, while it runs."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def kill(self) -> None:
        """End it as a power cut does."""
        self._end(signal.SIGKILL)

    def end(self) -> int | None:
        """End it in order. Returns its exit status; None if it did not run."""
        return self._end(signal.SIGTERM)

    def ended_by_itself(self) -> int | None:
        """The exit status of one that should be running."""
        return self._process.poll() if self._process else None

    def _end(self, with_signal: signal.Signals) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(with_signal)
        try:
            return process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self.name} did not end within {_END_S:.0f} s of {with_signal.name}") from None


class World:
    """All of it. `folder` should be short: it holds unix sockets."""

    def __init__(
        self,
        azure: LocalAzure,
        edge: Gateway,
        folder: Path,
        hq_env: dict[str, str],
        *,
        settings: Mapping[str, str],
        arguments: tuple[str, ...],
    ) -> None:
        self._azure = azure
        self._edge = edge
        self._folder = folder
        self._settings = settings
        self._arguments = arguments
        self.cards = folder / "cards"
        self.database = folder / "hq.db"
        self.storage_connection_string = azure.service_env["STORAGE_CONNECTION_STRING"]
        self.container = container_of(GATEWAY_ID)
        self._lives = 0
        self._processes = {
            name: Process(name, ["cloud_sync", "ingest"], hq_env, folder / f"{name}.log")
            for name in ("ingest-1", "ingest-2", "thief")
        }
        self.begin_gateway_anew()

    @classmethod
    @contextlib.contextmanager
    def started(
        cls,
        folder: Path,
        *,
        gateway: bool = True,
        settings: Mapping[str, str] = _HURRIED,
        arguments: tuple[str, ...] = (),
    ) -> Iterator["World"]:
        """Start everything but the third consumer; all is ended at the end. Logs stay in `folder`.

        Args:
            folder: short, for it holds unix sockets.
            gateway: start the gateway too.
            settings: of the gateway, as environment variables.
            arguments: of the gateway's command `run`.
        """
        (folder / "cards").mkdir(parents=True)
        with LocalAzure.started(folder / "azure") as azure:
            hq_env = _hq_env(azure, folder / "hq.db")
            for command in (("migrate",), ("gateway", "add", GATEWAY_ID)):
                subprocess.run(
                    [sys.executable, "-m", "cloud_sync", *command],
                    cwd=ROOT, env={**os.environ, **hq_env}, check=True, capture_output=True, timeout=300,
                )  # fmt: skip
            edge = azure.add_gateway(GATEWAY_ID, register=False)
            world = cls(azure, edge, folder, hq_env, settings=settings, arguments=arguments)
            try:
                for name in ("ingest-1", "ingest-2", *(("gateway",) if gateway else ())):
                    world._processes[name].start()
                yield world
            finally:
                for process in world._processes.values():
                    process.kill()

    @property
    def data(self) -> Path:
        """The gateway's folder: ledger and originals."""
        return self._folder / f"data-{self._lives}"

    def begin_gateway_anew(self) -> None:
        """Exchange the gateway for a new one with the same identity, as after its disk died."""
        if self._lives:
            _check_end("gateway", self._processes["gateway"].end())
            if self.data.exists():
                shutil.rmtree(self.data)
        self._lives += 1
        self._set_up_gateway()

    def _set_up_gateway(self) -> None:
        env = {
            **self._edge.module_env,
            **self._settings,
            "PONYA_DATA_DIR": str(self.data),
            "PONYA_CARDS_DIR": str(self.cards),
        }
        command = ["edge_module", "run", *self._arguments]
        self._processes["gateway"] = Process("gateway", command, env, self._folder / "gateway.log")

    def start_gateway(self) -> int:
        """Start the gateway. Returns its process id."""
        self._processes["gateway"].start()
        return self._processes["gateway"].pid

    def start_ordinary_gateway(self) -> int:
        """Start the gateway on the same disk as it is shipped: ordinary settings, ordinary clock. Returns its pid."""
        _check_end("gateway", self._processes["gateway"].end())
        self._settings, self._arguments = {}, ()
        self._set_up_gateway()
        return self.start_gateway()

    @property
    def gateway_pid(self) -> int | None:
        """The gateway's process id, while it runs."""
        return self._processes["gateway"].running_pid

    def desire(self, **desired: Any) -> None:
        """Write desired properties of the gateway's module, as headquarters does."""
        with self._azure.environment():
            registry = IoTHubRegistryManager.from_connection_string(self._azure.service_env["IOTHUB_CONNECTION_STRING"])
            registry.update_module_twin(GATEWAY_ID, "camtrap", Twin(properties=TwinProperties(desired=desired)))

    def reported(self) -> dict[str, Any]:
        """What the gateway's module reports."""
        with self._azure.environment():
            registry = IoTHubRegistryManager.from_connection_string(self._azure.service_env["IOTHUB_CONNECTION_STRING"])
            return dict(registry.get_module_twin(GATEWAY_ID, "camtrap").properties.reported)

    def end_edge_hub(self) -> None:
        """The gateway's edge hub is gone."""
        self._azure.end(GATEWAY_ID)

    def restart_edge_hub(self) -> None:
        """It is back."""
        self._azure.restart(GATEWAY_ID)

    def restart_gateway(self) -> None:
        """End the gateway in order and start it again."""
        _check_end("gateway", self._processes["gateway"].end())
        self._processes["gateway"].start()

    def cut_gateway(self) -> None:
        """Its power is cut, and comes back."""
        self._processes["gateway"].kill()
        self._processes["gateway"].start()

    def strike(self, deed: Deed) -> None:
        """Do it. Where what is to be hit has been killed by another deed, nothing happens."""
        match deed.kind, deed.target:
            case "hop", hop:
                with contextlib.suppress(urllib.error.URLError, OSError):
                    self._azure.fault(_HOPS[hop], hop, **deed.fault)
            case "drop", _:
                with contextlib.suppress(urllib.error.URLError, OSError):
                    self._edge.drop_sessions()
            case "steal", name:
                self._processes[name].start()
            case "kill", name if name in _AZURES:
                self._azure.kill(_AZURES[name])
            case "end", name if name in _AZURES:
                self._azure.end(_AZURES[name])
            case "kill", name:
                self._processes[name].kill()
            case "end", name:
                _check_end(name, self._processes[name].end())

    def put_right(self, deed: Deed) -> None:
        """Take it back."""
        match deed.kind, deed.target:
            case "hop", hop:
                with contextlib.suppress(urllib.error.URLError, OSError):
                    self._azure.fault(_HOPS[hop], hop)
            case "drop", _:
                pass
            case "steal", name:
                self._processes[name].kill()
            case _, name if name in _AZURES:
                self._azure.restart(_AZURES[name])
            case _, name:
                self._processes[name].start()

    def heal(self) -> None:
        """Everything runs and every hop is whole."""
        for process in set(_HOPS.values()):
            self._azure.restore(process)
        for name, process in self._processes.items():
            if name != "thief":
                process.start()

    def owed(self) -> str:
        """What the gateway still owes, for people."""
        return owed(self.data)

    def faults_of_ours(self) -> list[str]:
        """Processes that have ended though nobody asked them to."""
        return [
            f"{name} ended by itself with status {status}"
            for name, process in self._processes.items()
            if (status := process.ended_by_itself()) is not None
        ]


def _check_end(name: str, status: int | None) -> None:
    # One that has only just been started has not heard of signals yet.
    assert status in (0, None, -signal.SIGTERM), f"{name} ended with status {status} when asked to stop"


def _hq_env(azure: LocalAzure, database: Path) -> dict[str, str]:
    own: dict[str, Any] = {**_HQ_SETTINGS, "DATABASE_URL": f"sqlite:///{database}"}
    return {
        **azure.service_env,
        **{f"{prefix}{name}": value for name, value in own.items() for prefix in ("PONYA_", "PONYA_HQ_")},
    }
