"""What the published network, which has seen a million photographs, says of ours: kept under build/.

It tells which cut-outs are good: an animal on a plain ground must be taken for what its photograph is taken for. And
it is the teacher of `models.finetune`: what it says of a photograph should be said of the same animal in the dark.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_module.frame import to_input
from models import BUILD_DIR, build, pictures
from models.cutout import Cutout, cut_outs

Said = npt.NDArray[np.float32]
"""Probabilities of the 1,000 classes."""

_PATH = BUILD_DIR / "said.npz"

_PLAIN = (110, 115, 105)
_AGREE_MIN = 0.2
"""Of two sets of probabilities, what they have in common. By eye: of 206 cut-outs 16 fall short, among them water, a
bush, a path and furniture; hardly one of them is a clean animal."""


def photographs(labelled: Sequence[pictures.Labelled]) -> tuple[dict[str, Said], list[Cutout]]:
    """What is said of each photograph, by group, and the cut-outs that are taken for the same."""
    photos = [p for p in labelled if not p.trap]
    cut = cut_outs(photos)
    said = _said(photos, cut)
    whole = {p.group: said[p.group] for p in photos}
    good = [c for c in cut if float(np.minimum(whole[c.group], said[_plain(c.group)]).sum()) >= _AGREE_MIN]
    return whole, good


def _plain(group: str) -> str:
    return f"{group} on plain ground"


def _said(photos: Sequence[pictures.Labelled], cut: Sequence[Cutout]) -> Mapping[str, Said]:
    said: dict[str, Said] = {}
    if _PATH.exists():
        with np.load(_PATH) as kept:
            said = {name: kept[name] for name in kept.files}
    views = {p.group: _whole_and_inner(p) for p in photos if p.group not in said}
    views |= {_plain(c.group): [to_input(_on_plain(c))] for c in cut if _plain(c.group) not in said}
    if not views:
        return said
    asked, answered = _PATH.with_suffix(".asked.npy"), _PATH.with_suffix(".said.npy")
    np.save(asked, np.stack([view for of_one in views.values() for view in of_one]))
    build.run("models.published", "--pictures", str(asked), "--out", str(answered))
    rows, at = np.load(answered), 0
    for name, of_one in views.items():
        said[name] = rows[at : at + len(of_one)].mean(axis=0)
        at += len(of_one)
    arrays: dict[str, Any] = dict(said)
    np.savez(_PATH, **arrays)
    asked.unlink()
    answered.unlink()
    return said


def _whole_and_inner(photograph: pictures.Labelled) -> list[npt.NDArray[np.uint8]]:
    image = Image.open(photograph.path).convert("RGB")
    width, height = image.size
    inner = (0.1 * width, 0.1 * height, 0.9 * width, 0.9 * height)
    return [to_input(image), to_input(image, inner)]


def _on_plain(cutout: Cutout) -> Image.Image:
    animal = Image.fromarray(cutout.rgba, "RGBA")
    side = int(max(animal.size) * 1.2)
    ground = Image.new("RGB", (side, side), _PLAIN)
    ground.paste(animal, ((side - animal.width) // 2, (side - animal.height) // 2), animal)
    return ground
