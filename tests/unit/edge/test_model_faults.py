"""A model that cannot be trusted: exit status 2, and one line that names file and fault."""

import base64
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_module.card import PICTURE_MAX_BYTES
from edge_module.errors import ModelError
from edge_module.head import FEATURES, HEAD_MAX_BYTES, Head
from edge_module.model_store import SHIPPED_MODEL_DIR, load
from tests import pictures
from tests.edge_cli import Run, edge, scan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped model, to be spoilt."""
    return Path(shutil.copytree(SHIPPED_MODEL_DIR, tmp_path / "model"))


def sign(folder: Path) -> None:
    """Make the sums fit again, the head's of its backbone too: as by somebody who means it."""
    head = json.loads((folder / "head.json").read_text())
    head["backbone_sha256"] = hashlib.sha256((folder / "backbone.tflite").read_bytes()).hexdigest()
    (folder / "head.json").write_text(json.dumps(head))
    sums = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("backbone.tflite", "head.json")
    ]
    (folder / "SHA256SUMS").write_text("".join(sums))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "SHA256SUMS: No such file or directory"),
    "no backbone": (lambda f: (f / "backbone.tflite").unlink(), "backbone.tflite: No such file or directory"),
    "no head": (lambda f: (f / "head.json").unlink(), "head.json: No such file or directory"),
    "no sums": (lambda f: (f / "SHA256SUMS").unlink(), "SHA256SUMS: No such file or directory"),
    "sums without the head": (
        lambda f: (f / "SHA256SUMS").write_text((f / "SHA256SUMS").read_text().replace("head.json", "other.json")),
        "SHA256SUMS: has no line for head.json",
    ),
    "sums of something else": (
        lambda f: (f / "SHA256SUMS").write_text(f"{'0' * 64}  backbone.tflite\n{'0' * 64}  head.json\n"),
        "SHA256SUMS says 000000000000",
    ),
    "sums that are no text": (lambda f: (f / "SHA256SUMS").write_bytes(b"\xff\0\xfe"), "SHA256SUMS: has no line for"),
    "backbone cut short": (lambda f: _cut(f / "backbone.tflite"), "backbone.tflite: SHA-256 is"),
    "backbone changed by a bit": (lambda f: _flip(f / "backbone.tflite"), "backbone.tflite: SHA-256 is"),
    "head changed by a bit": (lambda f: _flip(f / "head.json"), "head.json: SHA-256 is"),
}


def refused(run: Run) -> str:
    assert run.status == 2, run.err
    assert run.out == ""
    (line,) = [line for line in run.err.splitlines() if not line.startswith(("INFO: ", "ERROR: "))]  # TFLite's own
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("how", list(SPOILT))
def test_a_spoilt_model_is_refused_before_anything_is_read(tmp_path: Path, folder: Path, how: str) -> None:
    spoil, words = SPOILT[how]
    spoil(folder)
    (tmp_path / "card").mkdir()
    line = refused(scan(tmp_path / "card", tmp_path / "data", settings={"model_dir": folder}))
    assert str(folder) in line
    assert words in line
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a usable TFLite model"),
        (b"not a model at all" * 100, "not a usable TFLite model"),
    ],
)
def test_a_backbone_that_is_none_is_refused_although_the_sums_fit(
    tmp_path: Path, folder: Path, content: bytes, words: str
) -> None:
    (folder / "backbone.tflite").write_bytes(content)
    sign(folder)
    (tmp_path / "card").mkdir()
    (tmp_path / "card" / "a.jpg").write_bytes(pictures.jpeg(1))
    line = refused(scan(tmp_path / "card", tmp_path / "data", settings={"model_dir": folder}))
    assert "backbone.tflite" in line
    assert words in line


def test_a_head_of_another_backbone_is_refused(folder: Path) -> None:
    head = json.loads((folder / "head.json").read_text()) | {"backbone_sha256": "0" * 64}
    (folder / "head.json").write_text(json.dumps(head))
    sums = (folder / "SHA256SUMS").read_text().splitlines()
    digest = hashlib.sha256((folder / "head.json").read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text("\n".join([s for s in sums if "head.json" not in s] + [f"{digest}  head.json"]))
    with pytest.raises(ModelError, match=r"head\.json: was trained on another backbone \(000000000000\)"):
        load(folder)


def test_thresholds_that_do_not_fit_the_model_are_a_setting(tmp_path: Path) -> None:
    (tmp_path / "card").mkdir()
    settings = {"panda_threshold_day": 0.001, "panda_threshold_night": 0.001}
    run = scan(tmp_path / "card", tmp_path / "data", settings=settings)
    assert run.status == 2
    assert run.err.startswith("setting: thresholds: with this model: 0 < review <= panda <= 1")


# --- heads, which come over any link ---


def head_json(**changes: Any) -> bytes:
    labels = ["red_panda", "blank", "human"]
    head = {
        "version": 1,
        "backbone_sha256": "0" * 64,
        "labels": labels,
        "weights": base64.b64encode(np.ones((len(labels), FEATURES), np.int8).tobytes()).decode(),
        "scale": [0.1] * 3,
        "bias": [0.0] * 3,
        "thresholds": {"day": {"panda": 0.8, "review": 0.3}, "night": {"panda": 0.6, "review": 0.1}},
    }
    return json.dumps(head | changes).encode()


def test_a_head_gives_probabilities() -> None:
    head = Head.from_json(head_json(bias=[2.0, 0.0, 0.0]))
    probabilities = head.probabilities(np.zeros((2, FEATURES), np.float32))
    assert probabilities.shape == (2, 3)
    assert probabilities.sum(axis=1) == pytest.approx([1, 1])
    assert probabilities[0] == pytest.approx(np.exp([2, 0, 0]) / np.exp([2, 0, 0]).sum())


def test_features_of_any_size_give_finite_probabilities() -> None:
    head = Head.from_json(head_json())
    assert np.isfinite(head.probabilities(np.full((1, FEATURES), 1e30, np.float32))).all()


BAD_HEADS: dict[str, Any] = {
    "nothing": b"",
    "not JSON": b"{",
    "a list": b"[]",
    "null": b"null",
    "not text": b"\xff\xfe",
    "too deep": b"[" * 9000,
    "too long": head_json(note="x" * HEAD_MAX_BYTES),
    "another version": head_json(version=2),
    "no version": b"{}",
    "no red panda": head_json(labels=["deer", "blank", "human"]),
    "a label twice": head_json(labels=["red_panda", "blank", "blank"]),
    "labels that are a word": head_json(labels="red_panda"),
    "too few labels": head_json(labels=["red_panda", "blank"]),
    "weights that are no base64": head_json(weights="***"),
    "weights cut short": head_json(weights=base64.b64encode(b"\1" * 100).decode()),
    "weights that are a number": head_json(weights=7),
    "too few scales": head_json(scale=[0.1]),
    "a scale that is text": head_json(scale=["a", "b", "c"]),
    "an infinite scale": head_json(scale=[float("inf"), 0.1, 0.1]),
    "a scale beyond all numbers": head_json(scale=[10**400, 1, 1]),
    "too few biases": head_json(bias=[0.0]),
    "a bias that is none": head_json(bias=[float("nan"), 0, 0]),
    "a bias beyond float32": head_json(bias=[1e300, 0, 0]),
    "no thresholds": head_json(thresholds={}),
    "thresholds upside down": head_json(thresholds={"day": {"panda": 0.1, "review": 0.3}, "night": {}}),
    "thresholds that are text": head_json(
        thresholds={"day": {"panda": "high", "review": "low"}, "night": {"panda": 0.6, "review": 0.1}}
    ),
}


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("how", list(BAD_HEADS))
def test_a_bad_head_is_refused_with_a_reason(how: str) -> None:
    with pytest.raises(ModelError, match=r"^head: ."):
        Head.from_json(BAD_HEADS[how])


# --- the shipped one ---


def test_selftest_passes() -> None:
    run = edge("selftest")
    assert (run.status, run.out) == (0, "selftest passed\n"), run.err


def test_selftest_says_which_golden_frame_changed(folder: Path) -> None:
    golden = folder / "golden"
    shutil.copy(golden / "leaves_day.jpg", golden / "panda_day_1.jpg")
    run = edge("selftest", settings={"model_dir": folder})
    assert run.status == 2
    assert "selftest failed" in run.out
    assert re.search(r"error: panda_day_1\.jpg: blank \(0\.\d+\), expected panda", run.err)


def test_selftest_without_golden_frames_is_a_fault(folder: Path) -> None:
    shutil.rmtree(folder / "golden")
    assert "expected.json" in refused(edge("selftest", settings={"model_dir": folder}))


def test_classify_judges_files_one_by_one_and_in_bursts(tmp_path: Path) -> None:
    golden = SHIPPED_MODEL_DIR / "golden"
    expected = json.loads((golden / "expected.json").read_text())
    (tmp_path / "broken.jpg").write_bytes(b"broken")
    names = sorted(golden.glob("*.jpg"))
    os.mkfifo(tmp_path / "pipe.jpg")
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(2 * PICTURE_MAX_BYTES)
    odd = [tmp_path / name for name in ("broken.jpg", "absent.jpg", "pipe.jpg", "huge.jpg")]
    run = edge("classify", *names, *odd, tmp_path, "--json")
    assert run.status == 0, run.err
    lines = {Path(line["path"]).name: line for line in map(json.loads, run.out.splitlines())}
    for name, wanted in expected.items():
        assert lines[name]["verdict"] == wanted["verdict"]
        assert lines[name]["panda_probability"] == pytest.approx(wanted["panda_probability"], abs=0.02)
    assert lines["broken.jpg"]["error"] == "not a JPEG, PNG or WebP picture"
    assert lines["absent.jpg"]["error"] == "No such file or directory"
    assert lines["pipe.jpg"]["error"] == "not a regular file"
    assert lines["huge.jpg"]["error"] == "too large: 128 MB, at most 64 are read"
    assert lines[tmp_path.name]["error"] == "Is a directory"
    table = edge("classify", names[0], tmp_path / "broken.jpg")
    assert table.status == 0
    assert table.out.splitlines()[1].startswith("unreadable")
