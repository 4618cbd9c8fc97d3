"""The gate: no head may be shipped that does worse than the one before on the same test frames.

The frames cannot be committed, their features can: numbers, one byte each. `models.train` stores them when it ships a
backbone; CI asks the shipped head about them again (tests/unit/models/test_gate.py). `python -m models.gate` prints.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from edge_module.errors import ModelError
from edge_module.head import Head
from edge_module.model_store import SHIPPED_MODEL_DIR
from models.evaluate import BAR_WIDTHS, SHIPPED, STRATEGIES, best_views
from models.metrics import Frames, passed

_FEATURE_MAX = 6.0
"""Features are means of ReLU6 outputs."""

_LEVELS = 255


def store(folder: Path, stem: Path, features: Path) -> None:
    """Write the features of a fold's composed test frames into a model's folder.

    Args:
        folder: of the shipped model.
        stem: of the test frames, as `models.exam` stored them.
        features: the shipped backbone's, of all their looks.
    """
    paper = json.loads(stem.with_suffix(".json").read_text())
    owner, view = np.array(paper["owner"]), np.array(paper["view"])
    used = np.isin(view, STRATEGIES[SHIPPED])
    questions = paper["questions"]
    evaluation = folder / "evaluation"
    evaluation.mkdir(exist_ok=True)
    np.savez_compressed(
        evaluation / "features.npz",
        features=np.round(np.load(features)[used].astype(np.float32) * (_LEVELS / _FEATURE_MAX)).astype(np.uint8),
        owner=owner[used].astype(np.uint16),
        label=np.array([q["label"] for q in questions]),
        night=np.array([q["night"] for q in questions]),
        animal_width=np.array([q["animal_width"] or np.nan for q in questions], np.float32),
        backbone_sha256=np.array(hashlib.sha256((folder / "backbone.tflite").read_bytes()).hexdigest()),
    )
    (evaluation / "gate.json").write_text(json.dumps(measure(folder), indent=1) + "\n")


def measure(folder: Path) -> dict[str, float]:
    """Ask the head of a model's folder about the stored features, at its own thresholds.

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
    probabilities = head.probabilities(kept["features"].astype(np.float32) * (_FEATURE_MAX / _LEVELS))
    panda = probabilities[:, head.labels.index("red_panda")]
    chosen = best_views(panda, kept["owner"], len(kept["label"]))
    frames = Frames(
        panda=np.array([round(float(p), 3) for p in panda[chosen]]),
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
    print(json.dumps(measure(SHIPPED_MODEL_DIR), indent=1))  # noqa: T201 - a command line prints


if __name__ == "__main__":
    main()
