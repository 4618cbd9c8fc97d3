"""Both TFLite runtimes give the same verdicts on the golden frames: the gateway on arm32v7 has the older one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_module.model_store import SHIPPED_MODEL_DIR
from tests.edge_cli import LIMIT_S, ROOT, environment

GOLDEN = SHIPPED_MODEL_DIR / "golden"
TFLITE_PYTHON = ROOT / "build" / "venv-tflite" / "bin" / "python"
ROUNDING = 0.1
"""On another processor kernels may round a little otherwise; golden frames keep further from the thresholds."""

SAME = 0.0015
"""On one processor both runtimes say the same (docs/decisions/0056), but for the last of three digits."""


def verdicts(python: Path | str) -> dict[str, tuple[str, float]]:
    done = subprocess.run(
        [python, "-m", "edge_module", "classify", *sorted(GOLDEN.glob("*.jpg")), "--json"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {Path(line["path"]).name: (line["verdict"], line["panda_probability"]) for line in lines}


def expected() -> dict[str, tuple[str, float]]:
    frames = json.loads((GOLDEN / "expected.json").read_text())
    return {name: (frame["verdict"], frame["panda_probability"]) for name, frame in frames.items()}


def assert_same(
    found: dict[str, tuple[str, float]], wanted: dict[str, tuple[str, float]], *, within: float = ROUNDING
) -> None:
    assert {name: verdict for name, (verdict, _) in found.items()} == {n: verdict for n, (verdict, _) in wanted.items()}
    for name, (_, probability) in wanted.items():
        assert found[name][1] == pytest.approx(probability, abs=within), name


def test_golden_frames_keep_clear_of_the_thresholds() -> None:
    thresholds = json.loads((GOLDEN.parent / "head.json").read_text())["thresholds"]
    for name, (verdict, probability) in expected().items():
        limits = thresholds["night" if "night" in name else "day"]
        clear = probability - limits["panda"] if verdict == "panda" else limits["review"] - probability
        assert clear > ROUNDING / 2 if verdict == "panda" else clear > ROUNDING, name


def test_this_runtime_says_what_is_expected() -> None:
    assert_same(verdicts(sys.executable), expected())


def test_the_runtime_of_arm32v7_says_the_same() -> None:
    if not TFLITE_PYTHON.exists():
        pytest.skip("no build/venv-tflite: tflite-runtime 2.14 has wheels for Python 3.11 at most (make runtimes)")
    old = verdicts(TFLITE_PYTHON)
    assert_same(old, expected())
    assert_same(old, verdicts(sys.executable), within=SAME)
