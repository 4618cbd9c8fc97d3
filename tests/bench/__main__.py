"""Measure what a scan costs, print a table, and write ``build/bench.json``.

Ratios, so that they hold on any machine; the bars are those the project has set itself. Never a test: a time that is
asserted fails on somebody else's machine. Exit status 0 whatever was measured.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from edge_module.allocator import reuse
from tests.bench import cards, process
from tests.bench.cpu import STAGES, Bench, Cost

_OUT = Path(__file__).resolve().parents[2] / "build" / "bench.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is measured."""

    bursts: int
    rounds: int
    scalings: int
    starts: int
    listed_files: int


# So many bursts that starting up, which has a bar of its own, hardly counts into a frame: a real card has thousands.
_FULL = Extent(bursts=40, rounds=5, scalings=5, starts=5, listed_files=500_000)
_QUICK = Extent(bursts=1, rounds=1, scalings=1, starts=1, listed_files=2_000)
_FEW_FILES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A figure, and what it is to reach."""

    name: str
    reached: Callable[[float], bool]
    bar: str
    what: str


_BARS = (
    Bar(name="ratio_to_floor", reached=lambda x: x <= 1.15, bar="<= 1.15", what="CPU of a scan / of its floor"),
    Bar(name="two_thread_scaling", reached=lambda x: x >= 1.8, bar=">= 1.8", what="wall time, one worker / two"),
    Bar(name="peak_rss_mb", reached=lambda x: x <= 130, bar="<= 130", what="MB, two workers, bursts of 12 MP"),
    Bar(name="rss_growth_mb", reached=lambda x: x <= 5, bar="<= 5", what="MB more for the card with most files"),
    Bar(name="ledger_share", reached=lambda x: x <= 0.005, bar="<= 0.005", what="of a scan's CPU"),
    Bar(name="start_cpu_s", reached=lambda x: x <= 1.5, bar="<= 1.5", what="CPU s from exec to the first verdict"),
)


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only see that it runs: a minimum of everything")
    parser.add_argument("--out", type=Path, default=_OUT, help="JSON file to write")
    arguments = parser.parse_args()
    reuse()  # as the command line's scan does
    load = _Neighbours()
    with tempfile.TemporaryDirectory(prefix="ponya-bench-", ignore_cleanup_errors=True) as folder:
        figures, costs = _measure(Path(folder), _QUICK if arguments.quick else _FULL)
    figures["neighbours_share"] = load.share()
    _print_table(figures, costs)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    by_size = {name: _by_stage(cost) for name, cost in costs.items()}
    arguments.out.write_text(
        json.dumps({**{name: round(x, 4) for name, x in figures.items()}, "cpu_ms_per_frame": by_size}, indent=1) + "\n"
    )
    return 0


def _measure(work: Path, extent: Extent) -> tuple[dict[str, float], dict[str, Cost]]:
    costs: dict[str, Cost] = {}
    scaling = 0.0
    for name, size_px in cards.SIZES_PX.items():
        _say(f"{name}: writing {extent.bursts * cards.BURST_FRAMES} pictures")
        card = work / name.replace(" ", "-")
        cards.write_bursts(card, size_px, extent.bursts)
        bench = Bench(card, work / "ledgers")
        _say(f"{name}: CPU by stage")
        costs[name] = Cost.of([bench.round() for _ in range(extent.rounds)])
        if not scaling:
            _say(f"{name}: one worker and two")
            pairs = [(bench.scan(workers=1)[1], bench.scan(workers=2)[1]) for _ in range(extent.scalings)]
            scaling = min(one for one, _ in pairs) / min(two for _, two in pairs)
    _say("memory")
    peak = process.peak_rss_mb(work / "12-MP", work / "peak")
    growth = _growth_mb(work, extent.listed_files)
    _say("start")
    cards.write_single(work / "single")
    return {
        "ratio_to_floor": max(cost.ratio_to_floor for cost in costs.values()),
        "two_thread_scaling": scaling,
        "peak_rss_mb": peak,
        "rss_growth_mb": growth,
        "ledger_share": max(cost.ledger_share for cost in costs.values()),
        "start_cpu_s": median(process.start_cpu_s(work / "single", work / f"start-{i}") for i in range(extent.starts)),
    }, costs


def _growth_mb(work: Path, files: int) -> float:
    peaks = []
    for count in (_FEW_FILES, files):
        _say(f"memory, {count:,} files listed")
        cards.write_many(work / f"many-{count}", count)
        peaks.append(process.peak_rss_mb(work / f"many-{count}", work / f"many-{count}-data"))
    return peaks[1] - peaks[0]


class _Neighbours:
    """How much of the machine's CPU others used meanwhile: says how far to trust wall times."""

    def __init__(self) -> None:
        self._began = self._now()

    def share(self) -> float:
        """Of all CPU time since the beginning, idle included."""
        total, busy, own = (now - then for now, then in zip(self._now(), self._began, strict=True))
        return max(0.0, busy - own) / total

    @staticmethod
    def _now() -> tuple[float, float, float]:
        user, nice, system, idle, iowait, irq, softirq, steal = (
            int(x) / os.sysconf("SC_CLK_TCK") for x in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
        )
        busy = user + nice + system + irq + softirq + steal
        return busy + idle + iowait, busy, sum(os.times()[:4])


def _by_stage(cost: Cost) -> dict[str, float]:
    stages = {**cost.stage_ms, "everything else": cost.else_ms, "scan": cost.scan_ms, "floor": cost.floor_ms}
    return {name: round(ms, 3) for name, ms in stages.items()}


def _print_table(figures: dict[str, float], costs: dict[str, Cost]) -> None:
    print(f"\nCPU ms a frame, one worker; {platform.machine()}, Python {platform.python_version()}")
    print(f"{'':<18}" + "".join(f"{name:>10}" for name in costs))
    for stage in (*STAGES, "everything else", "scan", "floor"):
        print(f"  {stage:<16}" + "".join(f"{_by_stage(cost)[stage]:>10.2f}" for cost in costs.values()))
    print(f"  {'scan / floor':<16}" + "".join(f"{cost.ratio_to_floor:>10.3f}" for cost in costs.values()))
    print()
    for bar in _BARS:
        figure = figures[bar.name]
        verdict = "reached" if bar.reached(figure) else "MISSED"
        print(f"  {bar.name:<20}{figure:>9.4g}  {bar.bar:<9} {verdict:<8} {bar.what}")
    print(f"\nOthers used {figures['neighbours_share']:.0%} of this machine meanwhile.")


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text} ...", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
