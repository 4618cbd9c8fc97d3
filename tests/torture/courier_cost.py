"""What carrying costs beside reading: ``python -m tests.torture.courier_cost [--frames 2000]``.

Reads a card with ``scan --keep``, then lets ``run`` carry everything to headquarters, until each row is confirmed.
CPU of the process from before it connects to the edge hub until nothing is owed, over the CPU of the scan: with that,
TLS, the SDK's threads, making the frames and word of its health all count as the courier's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from PIL import Image

from models.draw import Animal, Shot, burst
from tests.local_azure import wait_until
from tests.pictures import encoded
from tests.torture.judge import at_rest, owed
from tests.torture.world import ROOT, World

_PANDA: Final = Shot(seed=0, animal=Animal.RED_PANDA, animal_width=0.55)
_OTHERS: Final = (Shot(seed=22, leaves=True), Shot(seed=23, animal=Animal.DEER), Shot(seed=25, leaves=True))
_LONGEST_S: Final = 900.0


def main() -> int:
    """Measure, print, and write build/courier_cost.json. Returns 0 if the ratio is within 5 %."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.courier_cost", description=__doc__)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--pandas", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ponya-c-") as name:
        folder = Path(name)
        _write_card(folder / "card", given.frames, given.pandas)
        scan_cpu_s = _scan(folder / "card", folder / "world/data-1")
        with World.started(folder / "world", gateway=False, settings={}) as world:
            world.end_edge_hub()
            pid = world.start_gateway()
            log = folder / "world/gateway.log"
            wait_until(lambda: "edge hub not reached" in log.read_text(), timeout_s=_LONGEST_S)
            before_s, began = _cpu_s(pid), time.monotonic()
            world.restart_edge_hub()
            wait_until(lambda: at_rest(world.data), timeout_s=_LONGEST_S, what=owed(world.data))
            courier_cpu_s, wall_s = _cpu_s(pid) - before_s, time.monotonic() - began
    measured = {
        "frames": given.frames,
        "pandas": given.pandas,
        "scan_cpu_s": round(scan_cpu_s, 2),
        "courier_cpu_s": round(courier_cpu_s, 2),
        "courier_wall_s": round(wall_s, 1),
        "ratio": round(courier_cpu_s / scan_cpu_s, 4),
    }
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build/courier_cost.json").write_text(json.dumps(measured))
    print(json.dumps(measured))  # noqa: T201 - a command line prints
    return 0 if measured["ratio"] <= 0.05 else 1


def _write_card(folder: Path, frames: int, pandas: int) -> None:
    folder.mkdir()
    panda = encoded(Image.fromarray(burst(_PANDA)[1]))
    others = [encoded(Image.fromarray(picture)) for shot in _OTHERS for picture in burst(shot)]
    for number in range(frames):
        body = panda if number % (frames // pandas) == 0 else others[number % len(others)]
        # After the picture's end, where no decoder looks: no two files have the same bytes.
        (folder / f"IMG_{number:05}.JPG").write_bytes(body + b"%08d" % number)


def _scan(card: Path, data: Path) -> float:
    """Read the card as the gateway does, in a process of its own. Returns its CPU seconds."""
    command = [sys.executable, "-m", "edge_module", "scan", str(card), "--keep", "--data", str(data), "--json"]
    scan = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(scan.pid, 0)
    scan.returncode = os.waitstatus_to_exitcode(status)
    assert scan.returncode == 0
    return usage.ru_utime + usage.ru_stime


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
