"""A gateway's process with no edge hub to reach, for tests of what it does by itself; and a disk that fails at will."""

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.edge_cli import ROOT, environment
from tests.ledgers import asked
from tests.local_azure import wait_until
from tests.pictures import drawn, encoded, exif, jpeg
from tests.preloaded import preloaded

WAIT_S = 120.0


@dataclass
class Alone:
    """A gateway's process and its folders."""

    folder: Path
    settings: dict[str, object] = field(default_factory=dict)
    more_environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.data = self.folder / "data"
        self.cards = self.folder / "cards"
        self.cards.mkdir(exist_ok=True)

    def start(self, **settings: object) -> None:
        own: dict[str, object] = {"data_dir": self.data, "cards_dir": self.cards, "poll_s": 0.2, "log_level": "info"}
        own |= self.settings | settings
        # IoT Edge's word where its socket would be; nobody listens there.
        edge = {"IOTEDGE_WORKLOADURI": f"unix://{self.folder}/workload.sock"}
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge_module", "run"],
                cwd=ROOT, env=environment(**own) | edge | self.more_environment,
                stdout=log, stderr=log,
            )  # fmt: skip

    def wait_end(self, *, within_s: float = WAIT_S) -> int:
        """Its exit status, when it ends by itself."""
        assert self.process
        process, self.process = self.process, None
        try:
            return process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"did not end within {within_s} s: {self.log()[-4000:]}") from None

    def end(self, *, within_s: float = 30) -> int:
        """Its exit status after SIGTERM."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.wait_end(within_s=within_s)

    @property
    def up(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    def insert(self, name: str, pictures: int = 2) -> Path:
        """Put a card in: a red panda, and pictures of nothing in particular."""
        beside = self.folder / f".{name}"
        beside.mkdir()
        (beside / "ponya.yml").write_text(f"card: {name}")
        (beside / "PANDA.JPG").write_bytes(encoded(drawn(), exif=exif(serial=name)))
        for number in range(pictures):
            (beside / f"IMG_{number:05}.JPG").write_bytes(jpeg(number, exif=exif(serial=name)))
        return Path(shutil.move(beside, self.cards / name))

    def ledger(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask the ledger; nothing while there is none."""
        return asked(self.data, sql, *parameters)

    def wait_ledger(self, sql: str, wanted: object) -> None:
        """Wait until a query's only value is this."""
        wait_until(
            lambda: self.ledger(sql) == [(wanted,)], timeout_s=WAIT_S, what=lambda: f"{sql}: {self.log()[-4000:]}"
        )

    def wait_log(self, text: str) -> None:
        wait_until(lambda: text in self.log(), timeout_s=WAIT_S, what=lambda: f"{text!r} in {self.log()[-4000:]}")

    def alerts(self) -> list[str]:
        """The codes of the alerts that headquarters is owed, in order."""
        rows = self.ledger("SELECT json_extract(CAST(body AS TEXT), '$.code') FROM outbox WHERE kind = 'alert'")
        return [str(row[0]) for row in rows]

    def assert_ledger_sound(self) -> None:
        """Nothing in it is torn, and each file has a fate or waits for one."""
        assert self.ledger("PRAGMA integrity_check") == [("ok",)]
        assert self.ledger("SELECT count(*) FROM file WHERE fate IS NULL AND media_id <> x''") == [(0,)]


@contextlib.contextmanager
def alone(folder: Path, **settings: object) -> Iterator[Alone]:
    """A gateway that is to be started; it is ended at the end."""
    gateway = Alone(folder=folder, settings=settings)
    try:
        yield gateway
    finally:
        if gateway.process is not None:
            gateway.process.kill()
            gateway.process.wait()


class FaultyDisk:
    """Makes the disk under a folder fail for the processes that are started with `environment`."""

    def __init__(self, folder: Path, library: Path) -> None:
        self._control = folder / "disk-fault"
        self.environment = {"LD_PRELOAD": str(library), "FAULTY_DISK": str(self._control)}

    def set(self, what: str, prefix: Path) -> None:
        """``EIO``, ``EROFS`` and ``ENOSPC`` are what writing gives; ``HANG`` blocks reading, ``STUCK`` writing."""
        beside = self._control.with_suffix(".new")
        beside.write_text(f"{what} {prefix}")
        beside.rename(self._control)

    def heal(self) -> None:
        self._control.unlink()


@pytest.fixture(scope="session")
def faulty_disk_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return preloaded("faulty_disk.c", tmp_path_factory.mktemp("faulty"))


@pytest.fixture
def faulty_disk(tmp_path: Path, faulty_disk_library: Path) -> FaultyDisk:
    return FaultyDisk(tmp_path, faulty_disk_library)
