"""Does this model, on this machine's runtime, still say of the golden frames what it is expected to say?"""

import json
from collections.abc import Mapping
from pathlib import Path

from edge_module.classify import classify
from edge_module.errors import ModelError
from edge_module.scorer import Model
from edge_module.settings import Settings


def check_golden(folder: Path, model: Model, settings: Settings, *, own: Mapping[str, str]) -> list[str]:
    """Score a model folder's golden frames.

    Args:
        folder: of the software's own model, or of the one that the settings name.
        model: the model in force.
        settings: checked.
        own: what that model is expected to say otherwise, by the frame's name without suffix.

    Returns:
        One line a frame whose verdict is not the expected one; nothing when all is well.

    Raises:
        ModelError: the folder has no golden frames.
    """
    try:
        expected = {
            name: own.get(Path(name).stem, what["verdict"])
            for name, what in json.loads((folder / "golden" / "expected.json").read_text()).items()
        }
    except (OSError, ValueError) as exc:
        raise ModelError(f"{folder / 'golden' / 'expected.json'}: {exc}; install the model again") from exc
    paths = [folder / "golden" / name for name in sorted(expected)]
    return [
        f"{path.name}: {found['verdict']} ({found['error'] or found['panda_probability']}),"
        f" expected {expected[path.name]}"
        for path, found in zip(paths, classify(paths, model, settings), strict=True)
        if found["verdict"] != expected[path.name]
    ]
