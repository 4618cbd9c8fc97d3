"""What waiting costs: ``python -m tests.torture.idle_cost [--files 2000] [--seconds 60]``.

A gateway with the ordinary settings, connected, with a card in that is read and confirmed: the CPU of its process while
nothing happens, over the time, in hundredths of one core.
"""

import argparse
import contextlib
import json
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.local_azure import wait_until
from tests.torture.courier_cost import _cpu_s, _write_card
from tests.torture.judge import at_rest
from tests.torture.world import ROOT, World

_LONGEST_S: Final = 900.0
_SETTLED_S: Final = 30.0
_MOST_PERCENT: Final = 1.0


def main() -> int:
    """Measure, print, and write build/idle_cost.json. Returns 0 if it is at most 1 % of one core."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.idle_cost", description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ponya-i-") as name:
        folder = Path(name)
        with World.started(folder / "world", gateway=False, settings={}) as world:
            pid = world.start_ordinary_gateway()
            _write_card(folder / "card", given.files, pandas=1)
            (folder / "card").rename(world.cards / "card")
            wait_until(lambda: _read(world.data) and at_rest(world.data), timeout_s=_LONGEST_S)
            time.sleep(_SETTLED_S)
            before_s, began = _cpu_s(pid), time.monotonic()
            time.sleep(given.seconds)
            percent = 100 * (_cpu_s(pid) - before_s) / (time.monotonic() - began)
    measured = {"files": given.files, "seconds": given.seconds, "percent_of_one_core": round(percent, 2)}
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build/idle_cost.json").write_text(json.dumps(measured))
    print(json.dumps(measured))  # noqa: T201 - a command line prints
    return 0 if percent <= _MOST_PERCENT else 1


def _read(data: Path) -> bool:
    with contextlib.closing(sqlite3.connect(f"file:{data}/ledger.sqlite?mode=ro", uri=True, timeout=5)) as ledger:
        return bool(ledger.execute("SELECT 1 FROM reading WHERE state = 'complete'").fetchone())


if __name__ == "__main__":
    sys.exit(main())
