"""Camera-trap frames composed of cut-out animals and real trap backgrounds.

An animal is pasted at trap scale, lit as its surroundings are, hidden in part by plants (`models.foliage`), then
everything goes through the camera: blur, rain, fog, exposure, noise, JPEG. Seeded. Frames are as large as the gateway
decodes them, and no more of a frame is blown white than of real ones (docs/decisions/0024).

`python -m models.synthesise` draws a contact sheet into build/, to be looked at: nothing composed is ever committed.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_module.domain import Box
from models import BUILD_DIR, camera, foliage, known, pictures
from models.actor import Actor
from models.conditions import Conditions, sample
from models.cutout import Cutout

# float32 and uint8; OpenCV's stubs do not say which.
Plane = npt.NDArray[Any]
Picture = npt.NDArray[Any]

_SIZES = ((1024, 768), (1024, 576))
"""12 MP and 5 MP are decoded to some 1,000 to 1,300 px."""

_BACKGROUND_PX = 1280
_BANNER_SHARE = 0.08
"""Trap cameras write a strip at the foot or the head of a frame; it is cut off before a frame serves as background."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Composed:
    """A burst that never happened.

    Args:
        jpegs: the frames as a camera would write them.
        boxes: where the first subject is in each frame, None where it is outside; empty for a blank burst.
        visible: share of the first subject that is neither hidden nor outside, averaged over the frames it is in.
        label: red_panda if one is there, else other_animal, else blank.
        sources: groups of everything the burst is made of.
    """

    jpegs: list[bytes]
    boxes: list[Box | None]
    visible: float
    label: str
    conditions: Conditions
    sources: tuple[str, ...]


def compose(
    background: Picture,
    subjects: Sequence[Cutout],
    conditions: Conditions,
    rng: np.random.Generator,
    *,
    place: str,
    gone: Sequence[int] = (),
) -> Composed:
    """Compose a burst.

    Args:
        background: RGB trap frame of any size.
        subjects: what to paste; the first is the one that label and box are about.
        conditions: how the burst is taken.
        rng: everything else is drawn from it.
        place: group of the background.
        gone: numbers of the frames that the animals have not entered yet, or have left.
    """
    scene = _scene(background, rng, night=conditions.night)
    height, width = scene.shape[:2]
    cells = rng.standard_normal((height // 36, width // 36, 2)).astype(np.float32)
    field = np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC), np.float32) * 0.5
    actors = [Actor.draw(subject, scene, conditions, rng, main=i == 0) for i, subject in enumerate(subjects)]
    hidden = (actors[0].box(0.0, width, height) if actors else None) or _anywhere(rng)
    veil = foliage.grow(scene, hidden, conditions.hidden, rng) if conditions.hidden else None
    frames, visible = [], []
    boxes: list[Box | None] = []
    for i in range(conditions.frames):
        swayed = conditions.sway_px * rng.standard_normal()
        shift = rng.normal(0, conditions.shift_px, 2)
        frame, when = _sway(scene, field * swayed, shift), i - (conditions.frames - 1) / 2
        here = [] if i in gone else actors
        met = [actor.paste(frame, when) for actor in reversed(here)]
        behind = veil.over(frame, (float(swayed + shift[0]), float(shift[1]))) if veil else None
        if actors:
            boxes.append(actors[0].box(when, width, height) if here else None)
        if here:
            visible.append(here[0].visible(met[-1], behind))
        frames.append(frame)
    exposed = camera.exposure(frames[0], conditions)
    jpegs = [camera.take(frame, exposed, conditions, rng) for frame in frames]
    labels = [subject.label for subject in subjects]
    return Composed(
        jpegs=jpegs,
        boxes=boxes,
        visible=float(np.mean(visible)) if visible else 0.0,
        label="red_panda" if "red_panda" in labels else labels[0] if labels else "blank",
        conditions=conditions,
        sources=(place, *(subject.group for subject in subjects)),
    )


def _scene(background: Picture, rng: np.random.Generator, *, night: bool) -> Plane:
    """A random part of the background at frame size; grey under a flash if a day's frame is to serve at night."""
    width, height = _SIZES[int(rng.integers(len(_SIZES)))]
    rows, columns = background.shape[:2]
    part = background[int(rows * _BANNER_SHARE) : int(rows * (1 - _BANNER_SHARE))]
    share = rng.uniform(0.65, 1.0)
    h, w = int(part.shape[0] * share), int(columns * share)
    y, x = int(rng.integers(part.shape[0] - h + 1)), int(rng.integers(columns - w + 1))
    scene = cv2.resize(part[y : y + h, x : x + w], (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    if rng.random() < 0.5:  # noqa: PLR2004 - left or right
        scene = scene[:, ::-1]
    if not night:
        return np.ascontiguousarray(scene)
    sparse = scene[::8, ::8]
    coloured = float(np.ptp(sparse, axis=2).mean()) > 6  # noqa: PLR2004 - grey levels
    grey = scene @ np.array((0.5, 0.4, 0.1), np.float32)
    if coloured:
        v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
        dx, dy = rng.uniform(-0.3, 0.3, 2)
        grey = grey * (rng.uniform(0.7, 1.5) * np.exp(-rng.uniform(0.5, 1.6) * ((u - dx) ** 2 + (v - dy) ** 2)) + 0.08)
    return np.repeat(grey[..., None], 3, axis=2)


def _anywhere(rng: np.random.Generator) -> Box:
    """Plants stand before empty ground too."""
    side = rng.uniform(0.15, 0.5)
    x, y = rng.uniform(0, 1 - side, 2)
    return Box(left=x, top=y, right=x + side, bottom=y + side)


def _sway(scene: Plane, field: Plane, shift_px: npt.NDArray[np.float64]) -> Plane:
    height, width = scene.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    map_x, map_y = x + field[..., 0] + np.float32(shift_px[0]), y + field[..., 1] + np.float32(shift_px[1])
    return np.asarray(cv2.remap(scene, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stock:
    """What may be composed with: cut-outs and backgrounds, of some groups only."""

    pandas: list[Cutout]
    others: list[Cutout]
    blanks: list[pictures.Labelled]
    inhabited: list[pictures.Labelled]

    @classmethod
    def of(cls, labelled: Sequence[pictures.Labelled]) -> "Stock":
        """Cut out and sort some labelled pictures."""
        _, cut = known.photographs(labelled)
        trap = [p for p in labelled if p.trap]
        return cls(
            pandas=[c for c in cut if c.label == "red_panda"],
            others=[c for c in cut if c.label != "red_panda"],
            blanks=[p for p in trap if p.label == "blank"],
            inhabited=[p for p in trap if p.label == pictures.LABEL_OTHER],
        )

    def burst(
        self,
        rng: np.random.Generator,
        label: str,
        *,
        night: bool,
        frames: int,
        widths: tuple[float, float],
        gone: Sequence[int] = (),
    ) -> Composed:
        """Compose a burst of a label. Animals are pasted into blank frames, and into frames where another animal is."""
        places = self.blanks if label == "blank" or rng.random() < 0.5 else self.inhabited  # noqa: PLR2004 - half
        # By night real infrared backgrounds where there are any, else a day's frame made grey.
        fitting = [p for p in places if p.night == night or (night and rng.random() < 0.3)]  # noqa: PLR2004
        fitting = fitting or [p for p in places if not p.night or night] or places
        place = fitting[int(rng.integers(len(fitting)))]
        subjects: list[Cutout] = []
        if label != "blank":
            pool = self.pandas if label == "red_panda" else self.others
            subjects.append(pool[int(rng.integers(len(pool)))])
            if rng.random() < 0.07:  # noqa: PLR2004 - several at once
                subjects.append(self.others[int(rng.integers(len(self.others)))])
        conditions = sample(rng, night=night, frames=frames, widths=widths)
        return compose(_background(place.path), subjects, conditions, rng, place=place.group, gone=gone)


@cache
def _background(path: Path) -> Picture:
    image = Image.open(path).convert("RGB")
    image.thumbnail((_BACKGROUND_PX, _BACKGROUND_PX), reducing_gap=2.0)
    return np.asarray(image)


def main() -> None:
    """Draw a contact sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=BUILD_DIR / "composed.png")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    stock = Stock.of(pictures.read())
    rng = np.random.default_rng(arguments.seed)
    rows = []
    for label in ("red_panda", "red_panda", "other_animal", "blank"):
        for night in (False, True):
            cells = []
            for _ in range(6):
                composed = stock.burst(rng, label, night=night, frames=1, widths=(0.08, 0.6))
                cells.append(np.asarray(Image.open(BytesIO(composed.jpegs[0])).resize((320, 240))))
            rows.append(np.hstack(cells))
    Image.fromarray(np.vstack(rows)).save(arguments.out)


if __name__ == "__main__":
    main()
