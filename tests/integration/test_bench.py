"""The benchmark runs and writes every figure. Their values are not asserted: a test must not depend on its machine."""

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_writes_all_figures(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    command = [sys.executable, "-m", "tests.bench", "--quick", "--out", str(out)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    by_stage = figures.pop("cpu_ms_per_frame")
    assert set(figures) == {
        "ratio_to_floor", "two_thread_scaling", "peak_rss_mb", "rss_growth_mb", "ledger_share", "start_cpu_s",
        "neighbours_share",
    }  # fmt: skip
    for stages in by_stage.values():
        assert {"list", "head, EXIF", "read", "hash", "decode", "resize, motion", "invoke", "ledger"} <= set(stages)
    assert by_stage.keys() == {"12 MP", "5 MP"}
    assert "ratio_to_floor" in done.stdout
