"""Installed models: read only after their SHA-256 has been checked."""

import hashlib
from pathlib import Path
from typing import Final

from edge_module.errors import ModelError
from edge_module.head import Head
from edge_module.scorer import Model

SHIPPED_MODEL_DIR: Final = Path(__file__).resolve().parent.parent / "models" / "red_panda"
"""The model that comes with the software: `model_dir: shipped`."""

PEOPLE: Final = "people.tflite"
_SUMS: Final = "SHA256SUMS"


def load(folder: Path) -> Model:
    """Read a model folder: ``backbone.tflite``, ``head.json`` and ``SHA256SUMS`` (as ``sha256sum`` writes it).

    Raises:
        ModelError: a file is missing, differs from its recorded SHA-256, or the two do not belong together.
    """
    sums = _sums(folder)
    backbone, head_json = (_verified(folder, name, sums) for name in ("backbone.tflite", "head.json"))
    head = Head.from_json(head_json)
    if head.backbone_sha256 != sums["backbone.tflite"]:
        raise ModelError(f"{folder / 'head.json'}: was trained on another backbone ({head.backbone_sha256[:12]})")
    return Model(backbone=backbone, head=head, model_id=Model.identify(backbone, head_json))


def people(folder: Path = SHIPPED_MODEL_DIR) -> bytes:
    """Read the detector of people, ``people.tflite``. It comes with the software, whatever model is in force.

    Raises:
        ModelError: it is missing, or differs from its recorded SHA-256.
    """
    return _verified(folder, PEOPLE, _sums(folder))


def _sums(folder: Path) -> dict[str, str]:
    lines = _read(folder / _SUMS).decode("utf-8", "replace").splitlines()
    return {
        name.lstrip("*"): digest
        for digest, _, name in (line.partition(" ") for line in lines)
        for name in [name.strip()]
    }


def _verified(folder: Path, name: str, sums: dict[str, str]) -> bytes:
    content = _read(folder / name)
    if name not in sums:
        raise ModelError(f"{folder / _SUMS}: has no line for {name}")
    found = hashlib.sha256(content).hexdigest()
    if found != sums[name]:
        raise ModelError(
            f"{folder / name}: SHA-256 is {found[:12]}..., {_SUMS} says {sums[name][:12]}...; install the model again"
        )
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ModelError(f"{path}: {exc.strerror}; install the model again, or set model_dir") from exc
