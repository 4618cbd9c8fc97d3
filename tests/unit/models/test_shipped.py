"""The shipped model: whole, small, and sure of its golden frames."""

import hashlib
import json
import os
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_module import model_store
from edge_module.backbone import Backbone
from edge_module.frame import decode
from edge_module.head import HEAD_MAX_BYTES
from edge_module.scorer import Scorer
from edge_module.verdict import judge
from models.answered import SHIPPED, STRATEGIES, scored
from models.golden import write_sums
from models.sit import sit

FOLDER = model_store.SHIPPED_MODEL_DIR
GOLDEN = FOLDER / "golden"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())
ROOT = FOLDER.parent.parent
OLD_RUNTIME = ROOT / "build" / "venv-tflite" / "bin" / "python"


def groups() -> list[list[str]]:
    """Golden frames as they are scored: single ones, and the burst together."""
    burst = sorted(name for name in EXPECTED if "burst" in name)
    return [[name] for name in EXPECTED if name not in burst] + [burst]


@pytest.mark.parametrize("group", groups(), ids=lambda group: group[0])
def test_golden_frames_get_the_recorded_verdicts(group: list[str]) -> None:
    model = model_store.load(FOLDER)
    frames = [decode((GOLDEN / name).read_bytes()) for name in group]
    for name, scores in zip(group, Scorer(model).score(frames), strict=True):
        assert judge(scores, model.head.thresholds) == EXPECTED[name]["verdict"], name
        assert scores.panda == pytest.approx(EXPECTED[name]["panda_probability"], abs=0.02)


def test_the_evaluation_scores_as_the_gateway_does() -> None:
    model, in_groups = model_store.load(FOLDER), groups()
    asked = [{"file": str(GOLDEN / name), "event": i} for i, group in enumerate(in_groups) for name in group]
    answers = sit(asked, Backbone(model.backbone, name="backbone.tflite"))
    said, event = model.head.probabilities(answers.features), np.array([question["event"] for question in asked])
    labels = model.head.labels
    found = scored(STRATEGIES[SHIPPED], said, answers.owner, answers.view, event, labels=labels)
    frames = [[decode((GOLDEN / name).read_bytes()) for name in group] for group in in_groups]
    wanted = [scores.probabilities for group in frames for scores in Scorer(model).score(group)]
    assert found.tolist() == [pytest.approx([one[label] for label in labels], abs=0.001) for one in wanted]


@pytest.mark.parametrize("quality", [75, 92])
@pytest.mark.parametrize("group", groups(), ids=lambda group: group[0])
def test_a_decoder_that_rounds_otherwise_changes_no_golden_verdict(group: list[str], quality: int) -> None:
    frames = []
    for name in group:
        written = BytesIO()
        Image.open(GOLDEN / name).save(written, "JPEG", quality=quality)
        frames.append(decode(written.getvalue()))
    model = model_store.load(FOLDER)
    for name, scores in zip(group, Scorer(model).score(frames), strict=True):
        assert judge(scores, model.head.thresholds) == EXPECTED[name]["verdict"], name


def test_golden_frames_are_what_their_names_say() -> None:
    right = {"panda": "panda", "leaves": "blank", "deer": "other", "boar": "other", "pheasant": "other"}
    for name, of_frame in EXPECTED.items():
        assert of_frame["verdict"] == right[name.partition("_")[0]], name


def test_every_shipped_file_has_its_checksum(tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(FOLDER, copy)
    write_sums(copy)
    assert (copy / "SHA256SUMS").read_text() == (FOLDER / "SHA256SUMS").read_text()
    for line in (FOLDER / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest, name


def test_the_head_fits_into_a_twin() -> None:
    assert (FOLDER / "head.json").stat().st_size <= HEAD_MAX_BYTES


def test_the_gateways_runtime_gives_the_same_verdicts() -> None:
    if not OLD_RUNTIME.exists():
        pytest.skip("tflite-runtime 2.14 is not installed in build/venv-tflite")
    # Verdicts, computed by the unchanged scoring path on the runtime that arm32v7 has.
    script = """
import json, sys
from pathlib import Path
from edge_module import model_store
from edge_module.frame import decode
from edge_module.scorer import Scorer
from edge_module.verdict import judge
assert "ai_edge_litert" not in sys.modules
model = model_store.load(Path(sys.argv[1]))
scorer, found = Scorer(model), {}
for group in json.loads(sys.argv[2]):
    frames = [decode((Path(sys.argv[1]) / "golden" / name).read_bytes()) for name in group]
    for name, scores in zip(group, scorer.score(frames)):
        found[name] = judge(scores, model.head.thresholds)
print(json.dumps(found))
"""
    command = [str(OLD_RUNTIME), "-c", script, str(FOLDER), json.dumps(groups())]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(answer.stdout) == {name: e["verdict"] for name, e in EXPECTED.items()}
