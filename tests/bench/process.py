"""What a scan costs as a process of its own: peak memory, and the CPU time from exec to the first verdict."""

import subprocess
import sys
import time
from pathlib import Path

_WAIT_S = 900


def peak_rss_mb(card: Path, data: Path, *, workers: int = 2) -> float:
    """Scan a card in a new process. Returns the peak of its resident memory."""
    command = [sys.executable, "-m", "tests.bench.probe", *_scan(card, data), "--workers", str(workers)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=_WAIT_S, check=True)
    name, peak_kib = done.stderr.split()[-2:]
    assert name == b"peak_kib", done.stderr
    return int(peak_kib) / 1024


def start_cpu_s(card: Path, data: Path) -> float:
    """Scan a card of one picture in a new process. Returns its CPU time when the verdict comes out."""
    with subprocess.Popen([sys.executable, "-m", "edge_module", *_scan(card, data)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        # CPUCLOCK_SCHED of another process, as clock_getcpuclockid(3) makes it: Python has no name for that.
        cpu_s = time.clock_gettime((~process.pid << 3) | 2)
        process.communicate(timeout=_WAIT_S)
    assert b'"verdict"' in line, line
    return cpu_s


def _scan(card: Path, data: Path) -> list[str]:
    return ["scan", str(card), "--json", "--data", str(data)]
