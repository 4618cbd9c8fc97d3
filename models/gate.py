"""The gate: no head may be shipped that does worse than the one before on the same test frames.

The frames cannot be committed, their features can: numbers, one byte each. `models.train` stores them when it ships a
backbone, of the int8 file and of the same weights in float; CI asks the shipped head about them again
(tests/unit/models/test_gate.py). `python -m models.gate` prints.

The shipped model has learned from these pictures: its figures here are no evidence of skill (EVALUATION.md has that),
they are there to notice a change.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_module.domain import LABEL_PANDA
from edge_module.errors import ModelError
from edge_module.head import Head
from edge_module.model_store import SHIPPED_MODEL_DIR
from models.answered import SHIPPED, STRATEGIES, scored
from models.evaluate import BAR_WIDTHS
from models.metrics import Frames, passed
from models.sit import Answers

_FEATURE_MAX = 6.0
"""Features are means of ReLU6 outputs."""

_LEVELS = 255
"""One byte a feature, of its root: most features are far below one."""


def store(folder: Path, papers: Sequence[Path], answers: Mapping[str, Sequence[Answers]]) -> None:
    """Write the features of composed test frames into a model's folder.

    Args:
        folder: of the shipped model.
        papers: the test frames of some folds, as `models.exam` stored them.
        answers: by `int8` and `float`, the shipped backbone's to each paper: to the same events, without tiles.
    """
    columns: dict[str, list[Any]] = {n: [] for n in ("owner", "view", "event", "label", "night", "animal_width")}
    for fold, (paper, answered) in enumerate(zip(papers, answers["int8"], strict=True)):
        asked, owner = np.unique(answered.owner, return_inverse=True)
        columns["owner"].append(owner + sum(map(len, columns["label"])))
        columns["view"].append(answered.view)
        questions = json.loads(paper.read_text())
        chosen = [questions[i] for i in asked]
        columns["event"].append(np.array([q["event"] for q in chosen]) + 10_000 * fold)
        columns["label"].append(np.array([q["label"] for q in chosen]))
        columns["night"].append(np.array([q["night"] for q in chosen]))
        columns["animal_width"].append(np.array([q["animal_width"] or np.nan for q in chosen], np.float32))
    evaluation = folder / "evaluation"
    evaluation.mkdir(exist_ok=True)
    arrays: dict[str, Any] = {name: np.concatenate(parts) for name, parts in columns.items()}
    for name, answered_by in answers.items():
        features = np.concatenate([answered.features for answered in answered_by])
        arrays[name] = np.round(np.sqrt(features / _FEATURE_MAX) * _LEVELS).astype(np.uint8)
    arrays["backbone_sha256"] = np.array(hashlib.sha256((folder / "backbone.tflite").read_bytes()).hexdigest())
    np.savez_compressed(evaluation / "features.npz", **arrays)
    (evaluation / "gate.json").write_text(json.dumps(measure(folder), indent=1) + "\n")


def measure(folder: Path, arithmetic: str = "int8") -> dict[str, float]:
    """Ask the head of a model's folder about the stored features, at its own thresholds.

    Args:
        folder: of the model.
        arithmetic: of the backbone that made the features: `int8`, as it is shipped, or `float`.

    Returns:
        Recall of red pandas 10 to 50 % of the width, and the shares of other frames passed on, by day and night.

    Raises:
        ModelError: the features were made by another backbone than the one in the folder.
    """
    head = Head.from_json((folder / "head.json").read_bytes())
    with np.load(folder / "evaluation" / "features.npz") as stored:
        kept = {name: stored[name] for name in stored.files}
    found = hashlib.sha256((folder / "backbone.tflite").read_bytes()).hexdigest()
    if str(kept["backbone_sha256"]) != found:
        raise ModelError(f"{folder / 'evaluation' / 'features.npz'}: made by another backbone; run models.train")
    probabilities = head.probabilities(np.square(kept[arithmetic] / np.float32(_LEVELS)) * np.float32(_FEATURE_MAX))
    panda = head.labels.index(LABEL_PANDA)
    best = scored(STRATEGIES[SHIPPED], probabilities, kept["owner"], kept["view"], kept["event"], labels=head.labels)
    frames = Frames(
        panda=np.array([round(float(p), 3) for p in best[:, panda]]),
        label=kept["label"],
        night=kept["night"],
        source=kept["label"],
    )
    on, width = passed(frames, head.thresholds), kept["animal_width"]
    wide = (width >= BAR_WIDTHS[0]) & (width <= BAR_WIDTHS[1])
    figures = {}
    for light, lit in (("day", ~frames.night), ("night", frames.night)):
        figures[f"red_panda found, {light}"] = float(on[(frames.label == "red_panda") & wide & lit].mean())
        for label in ("other_animal", "blank"):
            figures[f"{label} passed on, {light}"] = float(on[(frames.label == label) & lit].mean())
    return {name: round(value, 4) for name, value in figures.items()}


def main() -> None:
    """Print the shipped model's figures."""
    found = {arithmetic: measure(SHIPPED_MODEL_DIR, arithmetic) for arithmetic in ("int8", "float")}
    print(json.dumps(found, indent=1))  # noqa: T201 - a command line prints


if __name__ == "__main__":
    main()
