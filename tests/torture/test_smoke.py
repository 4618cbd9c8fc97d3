"""One round of torture in continuous integration; `make torture ROUNDS=20` runs more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.torture.world import ROOT


@pytest.mark.timeout(600)
def test_a_round_of_faults_loses_and_doubles_nothing_and_nothing_is_safe_too_soon(tmp_path: Path) -> None:
    report = tmp_path / "torture.json"
    command = [sys.executable, "-m", "tests.torture", "--rounds", "1", "--seed", "11", "--report", str(report)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (outcome,) = json.loads(report.read_text())["outcomes"]
    assert outcome["faults"] == []
    assert outcome["pictures"] > 5
    assert outcome["held_s"] <= outcome["safe_s"]
    assert outcome["samples"] > 20
