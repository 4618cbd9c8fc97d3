"""The cards of a gateway, read by the shipped model into a ledger of their own; and mounts, where they can be made."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from edge_module import model_store, wire
from edge_module.breath import Breath
from edge_module.cards import Cards
from edge_module.clock import SystemClock
from edge_module.domain import CardReceipt
from edge_module.ledger import Ledger
from edge_module.mounts import MOUNTINFO
from edge_module.originals import Originals
from edge_module.pipeline import Pipeline
from edge_module.places import CardSeen, PlaceState
from edge_module.scorer import Model
from edge_module.settings import Settings, combine
from edge_module.turns import Turns
from edge_module.volumes import filesystem_uuid
from tests.pictures import jpeg

LIMIT_S = 60.0


@cache
def model() -> Model:
    return model_store.load(model_store.SHIPPED_MODEL_DIR)


def can_mount() -> bool:
    return os.geteuid() == 0 and shutil.which("mount") is not None and shutil.which("umount") is not None


needs_mounts = pytest.mark.skipif(not can_mount(), reason="only root can mount a card")


class HostClock(SystemClock):
    """The host's clock, which tests may put forward."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s


@dataclass
class GatewayCards:
    """A gateway's cards, read by the shipped model into a ledger of their own."""

    folder: Path
    ledger: Ledger
    settings: Settings
    clock: HostClock = field(default_factory=HostClock)
    stop: threading.Event = field(default_factory=threading.Event)
    pipeline: Callable[[Pipeline], Any] = lambda made: made
    mountinfo: Path = MOUNTINFO
    uuid_of: Callable[[int], str] = filesystem_uuid
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        turns = Turns(lambda: self.settings.workers)
        self.originals = originals = Originals(self.folder / "data" / "originals")
        self.dir = self.folder / "cards"
        self.dir.mkdir(exist_ok=True)
        self.cards = Cards(
            folder=self.dir, ledger=self.ledger, clock=self.clock, stop=self.stop, settings=lambda: self.settings,
            pipeline=lambda current: self.pipeline(Pipeline(
                ledger=self.ledger, model=model(), settings=current, originals=originals, stop=self.stop, turns=turns
            )),
            wake_courier=lambda: None, breath=Breath(self.stop), mountinfo=self.mountinfo, uuid_of=self.uuid_of,
        )  # fmt: skip

    def run(self) -> None:
        try:
            self.cards.run()
        except BaseException as exc:
            self.failure = exc

    def insert(self, name: str, files: dict[str, bytes] | None = None) -> Path:
        """A folder that appears whole, as a card that is mounted does."""
        beside = self.folder / f"beside-{name}"
        write(beside, {f"{name}.jpg": jpeg(sum(name.encode()))} if files is None else files)
        return beside.rename(self.dir / name)

    def seen(self, name: str) -> CardSeen | None:
        return next((seen for seen in self.cards.seen() if seen.name == name), None)

    def wait(self, name: str, *states: PlaceState) -> CardSeen:
        def reached() -> bool:
            assert self.failure is None, self.failure
            seen = self.seen(name)
            return seen is not None and seen.state in states

        wait_until(reached, lambda: f"{name} is {self.seen(name)}")
        seen = self.seen(name)
        assert seen
        return seen

    def receipt(self, name: str) -> CardReceipt:
        """Of a card that is read to its end."""
        return self.ledger.receipt(self.wait(name, PlaceState.READ).reading_id)

    def readings(self) -> list[str]:
        return [reading_id for reading_id, _ in self.ledger.last_readings(100)]

    def alerts(self) -> list[tuple[str, str]]:
        payloads = [wire.decode(body).payload for _, body in self.ledger.outbox.unconfirmed()]
        return [(alert.code, alert.text) for alert in payloads if isinstance(alert, wire.Alert)]


def wait_until(reached: Callable[[], bool], what: Callable[[], str], *, limit_s: float = LIMIT_S) -> None:
    end = time.monotonic() + limit_s
    while not reached():
        assert time.monotonic() < end, what()
        time.sleep(0.02)


def write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@contextmanager
def running(folder: Path, **given: Any) -> Iterator[GatewayCards]:
    values = {"settle_s": 0, "data_dir": str(folder / "data"), **given.pop("settings", {})}
    with Ledger.open(folder / "data" / "ledger.sqlite", SystemClock())[0] as ledger:
        gateway = GatewayCards(folder=folder, ledger=ledger, settings=combine(("test", values)), **given)
        thread = threading.Thread(target=gateway.run, daemon=True)
        thread.start()
        try:
            yield gateway
        finally:
            gateway.stop.set()
            gateway.cards.wake()
            thread.join(LIMIT_S)
        assert not thread.is_alive()
        assert gateway.failure is None


@contextmanager
def mounted(point: Path, *options: str) -> Iterator[Path]:
    point.mkdir(parents=True, exist_ok=True)
    command = ["mount", *(options or ("-t", "tmpfs", "card")), point]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
