"""Two days of a soak in continuous integration, and its bars; `make soak` runs a month."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.bars import bars, from_end_to_end, growth
from tests.soak.samples import Sample
from tests.torture.world import ROOT


@pytest.mark.timeout(600)
def test_two_days_leave_nothing_unconfirmed_and_a_picture_of_what_they_took(tmp_path: Path) -> None:
    report = tmp_path / "soak.json"
    command = [sys.executable, "-m", "tests.soak", "--days", "2", "--day-s", "8", "--idle-s", "1"]
    done = subprocess.run(
        [*command, "--report", str(report)], cwd=ROOT, capture_output=True, text=True, timeout=540, check=False
    )
    assert report.exists(), done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert found["faults"] == [], done.stdout
    assert found["cards"] == 3
    assert len({sample["pid"] for sample in found["samples"]}) == 2
    assert {bar["name"] for bar in found["bars"] if bar["measured"] is not None} >= {"longest stop, s"}
    assert report.with_suffix(".png").stat().st_size > 10_000


def life(pid: int, from_day: int, days: int, **grows: float) -> list[Sample]:
    """Ten looks a day; what is named grows by so much a day."""
    started = {"memory_mb": 100.0, "descriptors": 30, "threads": 20, "ledger_mb": 1.0, "disk_mb": 5.0}
    return [
        Sample(
            at_s=0, day=from_day + look / 10, pid=pid,
            **{name: value + int(look / 10) * grows.get(name, 0) for name, value in started.items()},
        )
        for look in range(days * 10)
    ]  # fmt: skip


def test_what_is_flat_passes() -> None:
    found = bars(life(1, 0, 5) + life(2, 5, 5), stops_s=[1.0], idle_cpu=0.002, faults=0)
    assert all(bar.passed for bar in found)
    assert all(bar.measured is not None for bar in found)


@pytest.mark.parametrize(
    ("grows", "name"),
    [({"memory_mb": 6.0}, "memory"), ({"descriptors": 3}, "descriptors"), ({"threads": 2}, "threads")],
)
def test_what_grows_is_found_in_whichever_life(grows: dict[str, float], name: str) -> None:
    for samples in (life(1, 0, 5, **grows) + life(2, 5, 5), life(1, 0, 5) + life(2, 5, 5, **grows)):
        failed = [bar.name for bar in bars(samples, stops_s=[1.0], idle_cpu=0.002, faults=0) if not bar.passed]
        assert len(failed) == 1
        assert failed[0].startswith(name)


def test_the_stricter_reading_is_of_single_looks_in_the_worst_life() -> None:
    assert from_end_to_end(life(1, 0, 1)) is None
    assert from_end_to_end(life(1, 0, 5) + life(2, 5, 5, memory_mb=3.0)) == 12.0


def test_a_slow_end_a_busy_rest_and_a_lost_file_fail() -> None:
    found = bars(life(1, 0, 3), stops_s=[1.0, 11.0], idle_cpu=0.02, faults=1)
    assert [bar.passed for bar in found] == [True, True, True, False, False, False]


def test_lives_of_two_days_say_nothing_of_growth() -> None:
    assert growth(life(1, 0, 2, memory_mb=50) + life(2, 2, 2)) is None
