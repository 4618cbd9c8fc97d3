"""The demonstration from its first process to its end."""

import contextlib
import json
import math
import os
import secrets
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from cloud_sync.accounts import Role
from deployment.demo import inserted, state
from deployment.demo.errors import DemoError
from deployment.demo.ports import claimed_port
from deployment.demo.processes import Processes
from deployment.local import azurite
from deployment.local.errors import LocalError
from deployment.local.state import State, read_env, socket_path

if TYPE_CHECKING:
    from deployment.demo.headquarters import Headquarters

GATEWAY: Final = "gateway-1"
_START_S: Final = 120.0
_LOOK_S: Final = 0.5
_TELL_S: Final = 2.0
_LINES: Final = 30
"""A large card is told of ever less often: the pause between lines is this part of the time since it was inserted."""

_IMPATIENT: Final = {"PONYA_CONFIRM_INTERVAL_S": "1", "PONYA_BALANCE_INTERVAL_S": "1"}
_WATCHED: Final = {
    "PONYA_POLL_S": "0.5",
    "PONYA_SETTLE_S": "0.5",
    "PONYA_CONFIRM_INTERVAL_S": "2",
    "PONYA_STATUS_INTERVAL_S": "2",
}
"""Somebody is waiting: headquarters and gateway take less time than they would in a forest."""
_SETTINGS: Final = ("PONYA_", "IOTEDGE_", "IOTHUB_", "EVENTHUB_", "STORAGE_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the demonstration is asked for.

    Args:
        card: folder of pictures to show; empty for the demo card.
        once: end when all is recorded.
        state: folder to work in, made new.
        port: of the pages; 0 for `WEB_PORT`, or the next that is free.
        patience_s: how long nothing may move before it is given up.
    """

    card: str
    once: bool
    state: Path
    port: int
    patience_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A demonstration under way.

    Args:
        address: of headquarters' pages.
        passwords: the one-time password of the account that each role has.
        page_address: of the gateway's own page, for the technician beside it.
        pin: that opens it.
    """

    processes: Processes
    headquarters: "Headquarters"
    address: str
    passwords: Mapping[Role, str]
    page_address: str
    pin: str

    @property
    def invitation(self) -> str:
        """Where to look, and how to sign in."""
        accounts = [f"  {role:<12} {password}" for role, password in self.passwords.items()]
        return "\n".join(
            [
                "",
                f"Headquarters' pages: {self.address}",
                "Sign in with a one-time password:",
                *accounts,
                f"The gateway's own page, for technicians: {self.page_address} (PIN {self.pin})",
                "",
            ]
        )

    def watch(self, *, patience_s: float) -> None:
        """Tell of the card's way until it has come to its end.

        Raises:
            DemoError: nothing has moved for so long, or a process has ended.
        """
        before, began_at = None, time.monotonic()
        moved_at, told, told_at = began_at, "", -math.inf
        while True:
            self.processes.check()
            now, at = self.headquarters.progress(GATEWAY), time.monotonic()
            if now != before:
                before, moved_at = now, at
            pause_s = max(_TELL_S, (at - began_at) / _LINES)
            if now.line != told and (at - told_at >= pause_s or now.is_settled):
                _say(f"  {now.line}", file=sys.stderr)
                told, told_at = now.line, at
            if now.is_settled:
                return
            if at - moved_at > patience_s:
                raise DemoError(f"not all is recorded, and nothing has moved for {patience_s:.0f} s: {now.line}")
            time.sleep(_LOOK_S)

    def conclude(self) -> int:
        """Print the balance, the last line; returns the exit status."""
        found = self.headquarters.outcome(GATEWAY)
        for fault in found.faults:
            _say(f"demo: does not balance: {fault}", file=sys.stderr)
        _say(json.dumps(found.to_json()))
        return 1 if found.faults else 0


def run(options: Options) -> int:
    """Show the whole system.

    Returns:
        The exit status: with `once` 1 if the card does not balance.

    Raises:
        DemoError: it cannot start, or go on.
        KeyboardInterrupt: somebody ended it; nothing of it runs any more.
    """
    with running(options) as demo:
        _say(demo.invitation)
        demo.watch(patience_s=options.patience_s if options.once else math.inf)
        if options.once:
            return demo.conclude()
        _say(demo.invitation)
        if options.card:
            _say(f"Your pictures, of cameras that headquarters does not know: {demo.address}/cameras/unassigned")
        _say("Ctrl-C ends the demonstration.")
        while True:
            demo.processes.check()
            time.sleep(_LOOK_S)


@contextlib.contextmanager
def running(options: Options) -> Iterator[Running]:
    """Start everything and insert the card; end everything.

    Raises:
        DemoError: it cannot start.
    """
    folder = options.state.expanduser().resolve()
    card = inserted.checked(options.card, folder) if options.card else folder / "card"
    with (
        claimed_port(options.port) as port, claimed_port(0) as page_port, state.fresh(folder),
        contextlib.ExitStack() as stack,
    ):  # fmt: skip
        for name in ("logs", "cards"):
            (folder / name).mkdir()
        azure = stack.enter_context(_short(folder / "azure"))
        processes = Processes(folder / "logs")
        stack.callback(processes.stop)
        _start_azure(processes, azure)
        if not options.card:
            processes.start("card", "deployment.demo.card", str(card), env=_environment())
        headquarters, passwords = _start_headquarters(processes, folder, azure, port)
        stack.callback(headquarters.close)
        pin = f"{secrets.randbelow(10**6):06}"
        page = {"PONYA_PAGE_PORT": str(page_port), "PONYA_PAGE_PIN": pin}
        _start_gateway(processes, folder, azure, page)
        address = f"http://127.0.0.1:{port}"
        processes.wait_for(lambda: _answers(f"{address}/readyz"), within_s=_START_S, what="headquarters' pages")
        if not options.card:
            processes.wait_ended("card", within_s=_START_S)
        inserted.insert(card, folder / "cards", "demo")
        _say(f"Card inserted: {card if options.card else 'the demo card, drawn by the project itself'}")
        yield Running(
            processes=processes, headquarters=headquarters, address=address, passwords=passwords,
            page_address=f"http://127.0.0.1:{page_port}", pin=pin,
        )  # fmt: skip


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[Path]:
    """A name for a folder that a unix socket below it can have, however deep the folder lies."""
    try:
        socket_path(State(folder).gateway(GATEWAY))
    except LocalError:
        with tempfile.TemporaryDirectory(prefix="ponya-") as near:
            (Path(near) / "azure").symlink_to(folder)
            yield Path(near) / "azure"
    else:
        yield folder


def _start_azure(processes: Processes, folder: Path) -> None:
    """Begin to start what stands for Azure."""
    _say("Starting the local Azure: Azurite, a hub, an edge hub (Azurite is installed the first time: a minute or two)")
    azurite.node()
    azurite.install()
    words = ("deployment.local", "up", "--state", str(folder), "--gateways", "1")
    processes.start("local-azure", *words, env=_environment())


def _start_headquarters(
    processes: Processes, folder: Path, azure: Path, port: int
) -> "tuple[Headquarters, dict[Role, str]]":
    """Set headquarters up and start it; returns it, and one-time passwords."""
    # Azure's SDKs take seconds to import: meanwhile the local Azure starts, and a mistake has been told before.
    from deployment.demo.headquarters import Headquarters  # noqa: PLC0415

    service_env = _file(processes, azure / "service.env")
    settings = {
        "PONYA_DATABASE_URL": f"sqlite:///{folder / 'hq.db'}",
        "PONYA_WEB_KEY_FILE": str(folder / "hq.web-key"),
        **_IMPATIENT,
    }
    env = _environment() | read_env(service_env) | settings
    _say("Setting up headquarters: database, one gateway, five cameras at invented places, two accounts")
    headquarters = Headquarters(env)
    headquarters.set_up(GATEWAY)
    processes.start("ingest", "cloud_sync", "ingest", env=env)
    processes.start("web", "cloud_sync", "web", "--port", str(port), env=env)
    return headquarters, {role: headquarters.add_account(role) for role in Role}


def _start_gateway(processes: Processes, folder: Path, azure: Path, page: Mapping[str, str]) -> None:
    folders = {"PONYA_DATA_DIR": str(folder / "gateway"), "PONYA_CARDS_DIR": str(folder / "cards")}
    settings = {**folders, **_WATCHED, **page}
    module_env = _file(processes, azure / "gateways" / GATEWAY / "module.env")
    processes.start("gateway", "edge_module", "run", env=_environment() | read_env(module_env) | settings)


def _environment() -> dict[str, str]:
    """Our own environment without what would be taken for settings, and without a proxy before this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    for name in ("no_proxy", "NO_PROXY"):
        kept[name] = ",".join(filter(None, (kept.get(name), "localhost,127.0.0.1,127.0.0.0/8")))
    return kept


def _file(processes: Processes, path: Path) -> Path:
    """A file that a process writes, whole, when it is ready."""
    return processes.wait_for(lambda: path if path.exists() else None, within_s=_START_S, what=path.name)


def _answers(url: str) -> bool | None:
    try:
        with _opener.open(url, timeout=5):
            return True
    except OSError:
        return None


_opener: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _say(text: str, *, file: TextIO | None = None) -> None:
    print(text, file=file, flush=True)
