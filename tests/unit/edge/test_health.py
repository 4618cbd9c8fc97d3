"""What a gateway says of itself, from the kernel's files and the ledger."""

import json
from pathlib import Path

import pytest

from edge_module.breath import Breath
from edge_module.errors import CardError, StorageError, Trouble
from edge_module.health import Health, memory
from edge_module.settings import combine
from edge_module.storage import Storage
from edge_module.thermal import Thermal
from tests.edge_cli import ROOT
from tests.ledgers import TestClock, open_ledger

ZONE = "sys/class/thermal/thermal_zone0/temp"
BOARD = "sys/devices/platform/soc/soc:firmware/get_throttled"


def machine(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        path = folder / {"zone": ZONE, "board": BOARD, "meminfo": "proc/meminfo", "statm": "proc/self/statm"}[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def thermal(root: Path, hot_c: float = 80) -> Thermal:
    return Thermal(hot_c=lambda: hot_c, root=root)


def test_the_warmest_zone_counts(tmp_path: Path) -> None:
    machine(tmp_path, zone="41250\n")
    (tmp_path / "sys/class/thermal/thermal_zone1").mkdir()
    (tmp_path / "sys/class/thermal/thermal_zone1/temp").write_text("67800\n")
    assert thermal(tmp_path).temperature_c() == 67.8


@pytest.mark.parametrize("content", ["", "nonsense", "\x00\xff"])
def test_what_the_kernel_does_not_tell_is_left_out(tmp_path: Path, content: str) -> None:
    machine(tmp_path, zone=content, board=content, meminfo=content, statm=content)
    cool = thermal(tmp_path)
    assert (cool.temperature_c(), cool.throttled(), cool.hot()) == (None, None, False)
    assert memory(tmp_path) == {}


@pytest.mark.parametrize(
    ("flags", "throttled"), [("0", False), ("50000", False), ("1", False), ("4", True), ("50005", True), ("2", True)]
)
def test_only_what_holds_the_board_back_now_counts(tmp_path: Path, flags: str, throttled: bool) -> None:
    assert thermal(machine(tmp_path, zone="40000", board=f"{flags}\n")).throttled() is throttled


@pytest.mark.parametrize(("milli_c", "hot"), [("79900", False), ("80000", True), ("101000", True), ("-5000", False)])
def test_heat_lowers_the_work(tmp_path: Path, milli_c: str, hot: bool) -> None:
    assert thermal(machine(tmp_path, zone=milli_c)).hot() is hot


def test_a_breath_pauses_while_it_is_hot_and_stops_when_told(tmp_path: Path) -> None:
    class Stop:
        """Counts the pauses instead of spending them."""

        pauses = 0
        told = False

        def wait(self, _timeout_s: float) -> bool:
            self.pauses += 1
            return self.told

        def is_set(self) -> bool:
            return self.told

    stop, beats = Stop(), []
    hot = thermal(machine(tmp_path, zone="90000"))
    breath = Breath(stop, beat=lambda **_: beats.append(1), hot=hot.hot)  # type: ignore[arg-type]
    breath.rest()
    assert (stop.pauses, len(beats)) == (1, 2)
    Breath(stop, hot=thermal(tmp_path / "cold").hot).rest()  # type: ignore[arg-type]
    assert stop.pauses == 1
    stop.told = True
    with pytest.raises(CardError, match="stopped"):
        breath.rest()


def test_reading_waits_for_a_disk_in_trouble(tmp_path: Path) -> None:
    told = []
    storage = Storage(tmp_path, owe=told.append)
    storage.failed(StorageError("disk", Trouble.FAILING))
    with pytest.raises(StorageError, match="the gateway's disk fails"):
        storage.check()
    storage.failed(StorageError("disk", Trouble.FAILING))
    storage.look()
    storage.check()
    assert [alert.code for alert in told] == ["storage_failing", "storage_recovered"]


def test_a_disk_that_fails_again_and_again_is_told_once(tmp_path: Path) -> None:
    """One bad folder among the originals, say: a test write succeeds each time."""
    told = []
    storage = Storage(tmp_path, owe=told.append)
    for _ in range(50):
        storage.failed(StorageError("originals/ab", Trouble.FAILING))
        with pytest.raises(StorageError):
            storage.check()
        storage.look()
        storage.check()
    assert [alert.code for alert in told] == ["storage_failing", "storage_recovered"]


def test_what_cannot_be_written_down_at_first_is_told_later(tmp_path: Path) -> None:
    told: list[str] = []
    full = True

    def owe(alert: object) -> None:
        if full:
            raise StorageError("disk", Trouble.FULL)
        told.append(alert.code)  # type: ignore[attr-defined]

    storage = Storage(tmp_path, owe=owe)
    storage.failed(StorageError("disk", Trouble.FULL))
    assert told == []
    full = False
    storage.look()
    assert told == ["storage_full", "storage_recovered"]


def health(folder: Path, root: Path) -> Health:
    clock = TestClock()
    ledger = open_ledger(folder, clock)
    return Health(
        ledger=ledger, folder=folder, clock=clock, model_id=lambda: "model-1", activity=lambda: "waiting for a card",
        settings=combine, storage=Storage(folder, owe=ledger.outbox.put), thermal=thermal(root), root=root,
    )  # fmt: skip


def test_measures(tmp_path: Path) -> None:
    root = machine(
        tmp_path / "root", zone="55000", board="0", meminfo="MemTotal: 9 kB\nMemAvailable:  300 kB\n", statm="9 7 1"
    )
    measures = health(tmp_path, root).measures()
    assert measures["cpu_temperature_c"] == 55
    assert measures["cpu_throttled"] == measures["work_lowered"] == 0
    assert measures["memory_free_bytes"] == 300 * 1024
    assert measures["memory_used_bytes"] % 7 == 0
    assert measures["storage"] == "ok"
    assert measures["budget_left_bytes"] == combine().budget_bytes
    assert measures["model_id"] == "model-1"
    assert measures["boot_id"] == "boot-1"
    assert 0 < measures["disk_free_share"] <= 1


def test_every_measure_stands_in_the_contract(tmp_path: Path) -> None:
    root = machine(tmp_path / "root", zone="1", board="0", meminfo="MemAvailable: 1 kB", statm="1 1")
    page = (ROOT / "docs" / "wire.md").read_text()
    dtdl = json.loads((ROOT / "docs" / "wire.dtdl.json").read_text())
    (status,) = [content for content in dtdl["contents"] if content["name"] == "status"]
    (measures,) = [field for field in status["schema"]["fields"] if field["name"] == "measures"]
    modelled = {field["name"] for field in measures["schema"]["fields"]}
    found = health(tmp_path, root).measures()
    assert [name for name in found if f"\n| `{name}` | " not in page] == []
    assert set(found) == modelled
