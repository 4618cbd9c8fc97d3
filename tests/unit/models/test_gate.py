"""The gate that every head must pass before it is shipped."""

import json
import shutil
from pathlib import Path

import pytest

from edge_module.errors import ModelError
from edge_module.model_store import SHIPPED_MODEL_DIR
from models.gate import measure

RECORDED = json.loads((SHIPPED_MODEL_DIR / "evaluation" / "gate.json").read_text())


def test_the_shipped_head_does_no_worse_than_recorded() -> None:
    for name, value in measure(SHIPPED_MODEL_DIR).items():
        if name.startswith("red_panda"):
            assert value >= RECORDED[name], name
        else:
            assert value <= RECORDED[name], name


def test_int8_loses_at_most_two_hundredths_of_recall() -> None:
    int8, plain = measure(SHIPPED_MODEL_DIR), measure(SHIPPED_MODEL_DIR, "float")
    for name in int8:
        if name.startswith("red_panda"):
            assert int8[name] >= plain[name] - 0.02, name


def test_features_of_another_backbone_are_refused(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED_MODEL_DIR / "evaluation", tmp_path / "evaluation")
    shutil.copy(SHIPPED_MODEL_DIR / "head.json", tmp_path)
    (tmp_path / "backbone.tflite").write_bytes(b"another one")
    with pytest.raises(ModelError, match="another backbone"):
        measure(tmp_path)
