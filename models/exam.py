"""Test frames: composed of pictures a model was not trained on, and real trap frames of cameras it does not know.

`python -m models.exam --fold F --backbone FILE` makes the frames of fold F and stores their features: numbers from
which `models.evaluate` answers every question without looking at a picture again.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from edge_module.backbone import Backbone
from edge_module.burst import bursts, motion
from edge_module.domain import Box
from edge_module.errors import MediaError
from edge_module.frame import Frame, decode, to_input
from edge_module.scorer import views
from models import pictures
from models.synthesise import BUILD_DIR, Stock
from models.views import FOLDS

_WIDTHS = (0.06, 0.6)
_FRAMES = 3
_BURSTS = {"red_panda": 200, "other_animal": 240, "blank": 100}
"""Of each fold."""

_WIDER = 1.7

TILES = tuple((x / 4, y / 3, (x + 2) / 4, (y + 2) / 3) for y in (0, 1) for x in (0, 1, 2))
"""Six overlapping parts of a frame, each half as wide and two thirds as high: left, top, right, bottom in shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is known of one test frame.

    Args:
        name: file name, or what it was composed of.
        label: red_panda, other_animal, blank, human or vehicle.
        composed: not a real frame.
        night: whether it has hardly any colour: what the gateway takes for a night's.
        animal_width: share of the frame's width, where known.
        visible: share of the animal that can be seen, where known.
        source: the picture or camera that intervals are clustered by.
        event: the burst it belongs to, by number: its frames are scored together.
    """

    name: str
    label: str
    composed: bool
    night: bool
    animal_width: float | None
    visible: float | None
    source: str
    event: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """One view of a test frame, for the backbone: uint8 (224, 224, 3).

    `name` is full or motion, as the gateway looks; mirrored_full, mirrored_motion; wide (more around the motion); tile.
    """

    name: str
    picture: npt.NDArray[np.uint8]


def looks(frames: Sequence[Frame], *, tiles: bool) -> list[list[Look]]:
    """For each frame of a burst what the gateway would look at, and more to compare with; tiles of the middle one."""
    found = []
    boxes = motion([frame.whole for frame in frames])
    for at, (frame, seen) in enumerate(zip(frames, views(frames), strict=True)):
        image, box = frame.image, boxes[at]
        width, height = image.size
        of_frame = [Look(name=view.name, picture=view.picture) for view in seen]
        of_frame += [Look(name=f"mirrored_{view.name}", picture=view.picture[:, ::-1]) for view in seen]
        if box is not None:
            of_frame.append(Look(name="wide", picture=to_input(image, _wider(box).pixels(width, height))))
        if tiles and at == len(frames) // 2:
            for left, top, right, bottom in TILES:
                tile = to_input(image, (left * width, top * height, right * width, bottom * height))
                of_frame.append(Look(name="tile", picture=tile))
        found.append(of_frame)
    return found


def _wider(box: Box) -> Box:
    half = min((box.right - box.left) * _WIDER, 1.0) / 2
    x = min(max((box.left + box.right) / 2, half), 1 - half)
    y = min(max((box.top + box.bottom) / 2, half), 1 - half)
    return Box(left=x - half, top=y - half, right=x + half, bottom=y + half)


def composed(labelled: list[pictures.Labelled], seed: int) -> Iterator[tuple[Question, list[Look]]]:
    """All frames of many bursts; animals that are not red pandas are birds and mammals."""
    rng = np.random.default_rng(seed)
    stock = Stock.of([p for p in labelled if p.trap or p.warm_blooded])
    event = 0
    for label, count in _BURSTS.items():
        for i in tqdm(range(count), desc=label, mininterval=10):
            burst = stock.burst(rng, label, night=i % 2 == 0, frames=_FRAMES, widths=_WIDTHS)
            frames = [decode(jpeg) for jpeg in burst.jpegs]
            for at, of_frame in enumerate(looks(frames, tiles=True)):
                box = burst.boxes[at] if burst.boxes else None
                question = Question(
                    name=f"{label}_{i}/{at}: {' on '.join(reversed(burst.sources))}",
                    label=label,
                    composed=True,
                    night=frames[at].night,
                    animal_width=(box.right - box.left if box else 0.0) if burst.boxes else None,
                    visible=burst.visible if burst.boxes else None,
                    # An animal's frames are alike because of the animal, blank ones because of the place.
                    source=burst.sources[1] if burst.boxes else burst.sources[0],
                    event=event,
                )
                yield question, of_frame
            event += 1


def real(labelled: list[pictures.Labelled]) -> Iterator[tuple[Question, list[Look]]]:
    """Every real trap frame; those of a burst together, as the gateway would."""
    trap = sorted((p for p in labelled if p.trap), key=lambda p: (p.burst or "", p.path))
    number = 0
    for folder, group in groupby(trap, key=lambda p: p.burst):
        together = list(group)
        for event in bursts(together) if folder else [[one] for one in together]:
            try:
                frames = [decode(p.path.read_bytes()) for p in event]
            except MediaError:
                continue  # the gateway would not score it either
            for p, frame, of_frame in zip(event, frames, looks(frames, tiles=False), strict=True):
                question = Question(
                    name="/".join(p.path.parts[-2:]),
                    label=p.label,
                    composed=False,
                    night=frame.night,
                    animal_width=None,
                    visible=None,
                    source=p.group,
                    event=number,
                )
                yield question, of_frame
            number += 1


def set_papers(fold: int) -> None:
    """Make the test frames of a fold: their looks (.npy), and what they are of (.json). Both stay under build/.

    Raises:
        PicturesAbsent: there are no labelled pictures here.
    """
    labelled = [p for p in pictures.read() if p.fold(FOLDS) == fold]
    for kind, asked in (("composed", composed(labelled, seed=500 + fold)), ("real", real(labelled))):
        questions: list[dict[str, Any]] = []
        owner: list[int] = []
        names: list[str] = []
        seen: list[npt.NDArray[np.uint8]] = []
        for question, found in asked:
            owner += [len(questions)] * len(found)
            names += [look.name for look in found]
            seen += [look.picture for look in found]
            questions.append(asdict(question))
        np.save(paper(fold, kind).with_suffix(".npy"), np.stack(seen))
        paper(fold, kind).with_suffix(".json").write_text(
            json.dumps({"questions": questions, "owner": owner, "view": names})
        )


def paper(fold: int, kind: str, build_dir: Path = BUILD_DIR) -> Path:
    """Stem of a fold's test frames; `kind` is composed or real."""
    return build_dir / f"exam_{fold}_{kind}"


def sit(fold: int, backbone: Path) -> None:
    """Run a backbone over a fold's test frames and store the features beside it."""
    network = Backbone.open(backbone)
    for kind in ("composed", "real"):
        seen = np.load(paper(fold, kind).with_suffix(".npy"), mmap_mode="r")
        found = [network.features(np.array(look)).astype(np.float16) for look in tqdm(seen, mininterval=10)]
        np.save(answers(fold, kind, backbone.parent), np.stack(found))


def answers(fold: int, kind: str, folder: Path) -> Path:
    """Where a candidate's features of a fold's test frames are."""
    return folder / f"{paper(fold, kind).name}.npy"


def main() -> int:
    """Make the frames of a fold unless they are there, then run a backbone over them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--backbone", type=Path, help="without it, frames are made and that is all")
    arguments = parser.parse_args()
    try:
        if not paper(arguments.fold, "real").with_suffix(".json").exists():
            set_papers(arguments.fold)
    except pictures.PicturesAbsent as exc:
        print(exc)  # noqa: T201 - a command line prints
        return 2
    if arguments.backbone:
        sit(arguments.fold, arguments.backbone)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
