"""Composed bursts to what the backbone is trained on: labelled views, cut as the gateway cuts them.

`python -m models.views --fold F` renders training views of which no source is in fold F, into build/: some minutes.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from edge_module.burst import motion
from edge_module.domain import Box
from edge_module.frame import Frame, decode, frame_of, to_input
from models import BUILD_DIR, pictures
from models.draw import Animal, Shot, draw
from models.kinds import kind_of
from models.synthesise import Composed, Stock

UNSURE = "unsure"

FOLDS = 3
"""Groups are split by hash into thirds. A model is tested on frames all of whose sources it was not trained on."""

_FRAMES_USED = 2
"""Of each burst: composing takes longer than cutting views."""

_LOOSE_VIEWS = 8
"""Of each real trap frame, besides the whole: they are few, and the only ones that are not composed."""

_HARD = {"wolves and foxes": 3, "cats": 2, "martens and their kin": 2}
"""Kinds that are taken for red pandas most often, and are few: they are pasted so many times as often as others."""

_WIDTHS = (0.07, 0.6)
_FULL_WIDTH_MIN = 0.13
"""An animal narrower than this is under 30 px wide in the whole frame: nothing to learn from."""

_COVERED_MIN = 0.45
_VISIBLE_MIN = 0.35


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """One labelled picture for the backbone, uint8 (224, 224, 3).

    Args:
        label: what can be seen in it; `UNSURE` where a whole frame shows too little of the animal to tell what it is.
        animal: where the animal is, in shares of the view; None where that is unknown, or nothing is there.
        known: whether it is known where animals are, or that none is.
    """

    picture: npt.NDArray[np.uint8]
    label: str
    night: bool
    name: str
    source: str
    animal: Box | None = None
    known: bool = False


def of_burst(composed: Composed, rng: np.random.Generator) -> Iterator[View]:
    """Views of a burst: one frame whole, and of two what moved, and near the animal, as a good motion crop would be."""
    frames = [decode(jpeg) for jpeg in composed.jpegs]
    boxes = motion([f.whole for f in frames])
    for nth, at in enumerate(rng.permutation(len(frames))[:_FRAMES_USED]):
        frame, moved = frames[at], boxes[at]
        looks: list[tuple[str, Box | None]] = [("full", None)] if nth == 0 else []
        if moved:
            looks.append(("motion", moved))
        animal = composed.boxes[at] if composed.boxes else None
        if animal is not None:
            looks.append(("near", _near(animal, rng)))
        for name, box in looks:
            label = _label(composed, at, box)
            if label is None:
                continue
            picture = frame.whole if box is None else to_input(frame.image, box.pixels(*frame.image.size))
            yield View(
                picture=picture,
                label=label,
                night=composed.conditions.night,
                name=name,
                source="+".join(composed.sources),
                animal=_within(animal, box) if animal else None,
                known=True,
            )


def _label(composed: Composed, at: int, box: Box | None) -> str | None:
    if not composed.boxes:
        return "blank"
    return seen(composed.label, composed.boxes[at], composed.visible, box)


def seen(label: str, animal: Box | None, visible: float, box: Box | None) -> str | None:
    """What can be seen in a view of a frame with an animal; None where that is in doubt.

    Args:
        label: what the animal is.
        animal: where it is in the frame.
        visible: how much of it can be seen.
        box: what the view shows; None for all.
    """
    if animal is None or visible < _VISIBLE_MIN:
        return None
    width, height = animal.right - animal.left, animal.bottom - animal.top
    if box is None:
        return label if width * visible > _FULL_WIDTH_MIN else UNSURE
    across = min(animal.right, box.right) - max(animal.left, box.left)
    down = min(animal.bottom, box.bottom) - max(animal.top, box.top)
    covered = max(0.0, across) * max(0.0, down) / (width * height)
    small = width * visible < _FULL_WIDTH_MIN * (box.right - box.left)
    return label if covered > _COVERED_MIN and not small else None


def _within(animal: Box, view: Box | None) -> Box | None:
    """The animal in shares of the view; None if it is outside."""
    if view is None:
        return animal
    width, height = view.right - view.left, view.bottom - view.top
    left, right = ((min(max(x, view.left), view.right) - view.left) / width for x in (animal.left, animal.right))
    top, bottom = ((min(max(y, view.top), view.bottom) - view.top) / height for y in (animal.top, animal.bottom))
    return Box(left=left, top=top, right=right, bottom=bottom) if left < right and top < bottom else None


def _near(animal: Box, rng: np.random.Generator) -> Box:
    """A square around the animal, too large and off its centre by as much as motion crops are."""
    side = max(animal.right - animal.left, animal.bottom - animal.top) * rng.uniform(0.9, 2.0)
    side = min(max(side, 0.12), 0.9)
    x = (animal.left + animal.right) / 2 + rng.normal(0, 0.3) * side / 2
    y = (animal.top + animal.bottom) / 2 + rng.normal(0, 0.3) * side / 2
    return Box.square(x, y, side)


def of_real(labelled: pictures.Labelled, rng: np.random.Generator) -> Iterator[View]:
    """Real trap frames as they are; photographs whole, and as a night would show them."""
    image = Image.open(labelled.path).convert("RGB")  # one "JPEG" of the set is a WebP, which the gateway refuses
    frame = frame_of(image)
    label = "other_animal" if labelled.label in ("human", "vehicle") else labelled.label
    yield View(picture=frame.whole, label=label, night=labelled.night, name="real", source=labelled.group)
    if labelled.trap:
        for i in range(_LOOSE_VIEWS):
            part, grey = _loose(frame, rng), not labelled.night and i % 3 == 0
            night = labelled.night or grey
            yield View(
                picture=_grey(part) if grey else part, label=label, night=night, name="real", source=labelled.group
            )
        return
    yield View(picture=_loose(frame, rng), label=label, night=False, name="photo", source=labelled.group)
    yield View(picture=_grey(frame.whole), label=label, night=True, name="photo", source=labelled.group)


def _grey(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    grey = np.asarray(picture @ np.array((0.6, 0.35, 0.05), np.float32), np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _loose(frame: Frame, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Most of a frame, flipped half of the time."""
    width, height = frame.image.size
    share = rng.uniform(0.6, 1.0)
    x, y = rng.uniform(0, 1 - share), rng.uniform(0, 1 - share)
    view = to_input(frame.image, (x * width, y * height, (x + share) * width, (y + share) * height))
    return np.ascontiguousarray(view[:, ::-1]) if rng.random() < 0.5 else view  # noqa: PLR2004 - left or right


def drawn(count: int, seed: int) -> Iterator[View]:
    """Views of drawn frames, whole and near the animal: the head knows drawings, so that golden frames can test it."""
    rng = np.random.default_rng(seed)
    kinds: list[Animal | None] = [Animal.RED_PANDA, None, Animal.RED_PANDA, Animal.DEER, Animal.BOAR, Animal.PHEASANT]
    for i in range(count):
        animal, night = kinds[i % len(kinds)], bool(rng.random() < 0.5)  # noqa: PLR2004 - half
        width, at = rng.uniform(0.25, 0.7), (rng.uniform(0.35, 0.65), rng.uniform(0.4, 0.65))
        shot = Shot(
            seed=seed + i, animal=animal, night=night, width_px=640, height_px=480, animal_width=width, at=at,
            leaves=bool(rng.random() < 0.5), sway_px=rng.uniform(-4, 4),  # noqa: PLR2004 - half
        )  # fmt: skip
        frame = frame_of(Image.fromarray(draw(shot)))
        label = "blank" if animal is None else "red_panda" if animal is Animal.RED_PANDA else "other_animal"
        half_height = width * shot.width_px / shot.height_px / 2
        box = Box(
            left=max(0.0, at[0] - width / 2), top=max(0.0, at[1] - half_height),
            right=min(1.0, at[0] + width / 2), bottom=min(1.0, at[1] + half_height),
        )  # fmt: skip
        near = to_input(frame.image, _near(box, rng).pixels(*frame.image.size))
        for name, picture in (("full", frame.whole), ("near", near)):
            yield View(picture=picture, label=label, night=night, name=name, source="drawn")


def training(labelled: list[pictures.Labelled], bursts: dict[str, int], seed: int) -> Iterator[View]:
    """All training views of some labelled pictures: composed bursts by label, then the pictures themselves."""
    rng = np.random.default_rng(seed)
    stock = Stock.of([p for p in labelled if p.trap or p.warm_blooded])
    stock = replace(stock, others=[c for c in stock.others for _ in range(_HARD.get(kind_of(c.group), 1))])
    for label, count in bursts.items():
        for i in tqdm(range(count), desc=label, mininterval=10):
            composed = stock.burst(rng, label, night=i % 3 < 2, frames=2 + i % 2, widths=_WIDTHS)  # noqa: PLR2004
            yield from of_burst(composed, rng)
    for picture in labelled:
        yield from of_real(picture, rng)


def main() -> int:
    """Render and store as .npy (pictures) and .json (what they are)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fold", type=int, required=True, help="the fold to leave out")
    parser.add_argument("--bursts", type=int, default=1500, help="red panda bursts; other labels in proportion")
    arguments = parser.parse_args()
    try:
        labelled = [p for p in pictures.read() if p.fold(FOLDS) != arguments.fold]
    except pictures.PicturesAbsent as exc:
        print(exc)  # noqa: T201 - a command line prints
        return 2
    counts = {
        "red_panda": arguments.bursts,
        "other_animal": arguments.bursts * 3 // 2,
        "blank": arguments.bursts // 2,
    }
    views = list(training(labelled, counts, seed=100 + arguments.fold))
    store(BUILD_DIR / f"views_{arguments.fold}", views)
    return 0


def store(stem: Path, views: list[View]) -> None:
    """Write views as `stem`.npy and `stem`.json."""
    np.save(stem.with_suffix(".npy"), np.stack([v.picture for v in views]))
    rows = [
        {"label": v.label, "night": v.night, "name": v.name, "source": v.source, "known": v.known}
        | {"animal": [v.animal.left, v.animal.top, v.animal.right, v.animal.bottom] if v.animal else None}
        for v in views
    ]
    stem.with_suffix(".json").write_text(json.dumps(rows))


if __name__ == "__main__":
    raise SystemExit(main())
