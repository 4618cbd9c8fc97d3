"""The evaluation, from stored features to the page: here of features made up so that the answer is known."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_module.model_store import SHIPPED_MODEL_DIR
from edge_module.verdict import DayNight, Thresholds
from models.exam import answers, paper
from models.fit import pack
from models.sit import Answers

ROOT = SHIPPED_MODEL_DIR.parent.parent
LABELS = ("red_panda", "other_animal", "blank")
PASSING = (*("blank", "red_panda", "blank") * 2, *("red_panda", "blank", "red_panda") * 2)
ANY = DayNight(day=Thresholds(panda=0.5, review=0.2), night=Thresholds(panda=0.5, review=0.2))


def examined_by(tmp_path: Path, *, blind: bool) -> Path:
    """A build folder with one fold, examined by a model that sees everything, or nothing."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "candidates" / "without_0"
    folder.mkdir(parents=True)
    weight = np.zeros((3, 1280))
    weight[np.arange(3), np.arange(3)] = 8
    (folder / "head.json").write_bytes(
        pack(weight, np.zeros(3), order=LABELS, thresholds=ANY, backbone_sha256="00" * 32)
    )
    for kind, labels in (("composed", LABELS), ("passing", PASSING), ("real", LABELS[1:])):
        questions, owner, view, features = [], [], [], []
        for i in range(240):
            label, event = labels[i % len(labels)], i // 3 if kind == "passing" else i
            for name in ("full", "closer", "motion"):
                shown = 2 if blind else LABELS.index(label)
                feature = rng.random(1280) * 0.1
                feature[shown] += 1 if name == "motion" else 0.5
                features.append(feature)
                owner.append(i)
                view.append(name)
            width = rng.uniform(0.06, 0.6) if kind != "real" and label != "blank" else None
            questions.append(
                {
                    "name": f"{kind}_{i}",
                    "label": label,
                    "composed": kind != "real",
                    "night": event % 2 == 0,
                    "animal_width": width,
                    "visible": None if width is None else 0.9,
                    "source": f"source_{i % 40}",
                    "event": event,
                    "file": f"{i}.jpg",
                }
            )
        paper(0, kind, tmp_path).write_text(json.dumps(questions))
        given = Answers(
            owner=np.array(owner), view=np.array(view), box=np.zeros((len(owner), 4)), features=np.array(features)
        )
        given.store(answers(0, kind, folder))
    return tmp_path


def evaluate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "models.evaluate", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)


@pytest.mark.parametrize(("blind", "recall"), [(False, 1.0), (True, 0.0)])
def test_recall_is_what_the_model_can_see(tmp_path: Path, blind: bool, recall: float) -> None:
    answer = evaluate("--json", "--build", str(examined_by(tmp_path, blind=blind)))
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    for light in ("day", "night"):
        assert found["bar"][f"red panda recall, {light}"]["value"] == pytest.approx(recall, abs=0.25)
        assert found["bar"][f"blank passed on, {light}"]["value"] <= 0.1
    assert sum(row["frames"] for row in found["real"].values()) == 240
    alone = found["passing"]["each frame alone"]
    for times, light in ((1, "day"), (1, "night"), (2, "day"), (2, "night")):
        assert alone[f"found on {times} of 3, {light}"]["value"] == pytest.approx(recall, abs=0.25)
        assert alone[f"empty, passed on, {light}"]["value"] <= 0.1


def test_the_page_gets_its_plots_and_checksums(tmp_path: Path) -> None:
    build, model = examined_by(tmp_path / "build", blind=False), tmp_path / "model"
    model.mkdir()
    answer = evaluate("--build", str(build), "--out", str(model))
    assert answer.returncode == 0, answer.stderr
    page = (model / "EVALUATION.md").read_text()
    assert "There is no real camera-trap picture of a red panda" in page
    assert "| | each frame alone | together (shipped) |" in page
    sums = (model / "SHA256SUMS").read_text()
    for name in ("curves.svg", "width.svg", "visible.svg"):
        assert (model / "evaluation" / name).stat().st_size > 1000
        assert f"evaluation/{name}" in sums
        assert f"evaluation/{name}" in page


def test_without_an_exam_there_is_one_clear_line(tmp_path: Path) -> None:
    answer = evaluate("--build", str(tmp_path))
    assert answer.returncode == 2
    assert "no fold has been examined" in answer.stderr.strip().splitlines()[-1]
