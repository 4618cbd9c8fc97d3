"""``python -m tests.soak [--days 30] [--day-s 110]``: exit status 0 if every bar was reached."""

import argparse
import json
import logging
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.soak.bars import bars, from_end_to_end
from tests.soak.plot import draw
from tests.soak.run import Soak
from tests.torture.world import ROOT


def main(arguments: list[str] | None = None) -> int:
    """Run a soak. Returns 0 if every bar was reached, else 1."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level="WARNING", format="%(message)s", stream=sys.stdout)
    logging.getLogger("tests.soak").setLevel("INFO")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="ponya-s-"))
    began = time.monotonic()
    try:
        outcome = Soak(folder, days=given.days, day_s=given.day_s, seed=given.seed, idle_s=given.idle_s).run()
        given.report.parent.mkdir(parents=True, exist_ok=True)
        if outcome.faults:
            for log in (folder / "w").glob("*.log"):
                shutil.copy(log, given.report.parent / f"soak-{log.name}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    reached = bars(outcome.samples, stops_s=outcome.stops_s, idle_cpu=outcome.idle_cpu, faults=len(outcome.faults))
    report = {
        "days": given.days, "day_s": given.day_s, "seed": given.seed, "wall_s": round(time.monotonic() - began),
        "bars": [bar.to_json() for bar in reached], "from_end_to_end_mb": from_end_to_end(outcome.samples),
        **asdict(outcome),
    }  # fmt: skip
    given.report.write_text(json.dumps(report))
    draw(outcome.samples, outcome.marks, given.report.with_suffix(".png"))
    print(
        f"soak: {given.days} days in {report['wall_s']} s: {outcome.cards} cards of {outcome.files} files,"
        f" {outcome.patches} patches, {outcome.models} models, {outcome.outages} outages, {len(outcome.stops_s)} stops"
    )
    for bar in reached:
        said = "not measured: no life has a third day" if bar.measured is None else f"{bar.measured}"
        print(f"  {'passed' if bar.passed else 'FAILED'}  {bar.name}: {said} (at most {bar.allowed})")
    print(f"  no bar: memory at the end, MB beyond the end of the first day: {report['from_end_to_end_mb']}")
    for fault in outcome.faults:
        print(f"  {fault[:2000]}")
    return 0 if all(bar.passed for bar in reached) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--days", type=int, default=30, metavar="N")
    parser.add_argument("--day-s", type=float, default=105, metavar="S", help="real seconds for a day")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of everything that is drawn")
    parser.add_argument("--idle-s", type=float, default=60, metavar="S", help="how long idle CPU is measured")
    parser.add_argument("--report", type=Path, default=ROOT / "build/soak.json", metavar="FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
