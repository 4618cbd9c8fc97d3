"""Test frames: composed of pictures that a model was not trained on, and real trap frames of cameras it does not know.

`python -m models.exam --fold F` writes the frames of fold F under build/ and what is known of them: a paper that
`models.sit` answers. From the answers, which are numbers, `models.evaluate` computes every figure.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from edge_module.burst import bursts
from edge_module.errors import MediaError
from edge_module.frame import decode
from models import BUILD_DIR, pictures
from models.synthesise import Composed, Stock
from models.views import FOLDS

_WIDTHS = (0.06, 0.6)
_FRAMES = 3
_BURSTS = {"red_panda": 200, "other_animal": 240, "blank": 100}
"""Of each fold."""

_PASSING = 90
"""Bursts of each fold with a red panda on one frame only, and as many with it on two."""

PAPERS = ("composed", "passing", "real")
"""Kinds of test frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is known of one test frame.

    Args:
        name: file name, or what it was composed of.
        label: red_panda, other_animal, blank, human or vehicle.
        composed: not a real frame.
        night: whether it has hardly any colour: what the gateway takes for a night's.
        animal: where it is, where known: left, top, right, bottom in shares of the frame.
        animal_width: share of the frame's width, where known.
        visible: share of the animal that can be seen, where known.
        source: the picture or camera that intervals are clustered by.
        event: the burst it belongs to, by number: its frames are scored together, and follow each other.
        file: where the frame is.
    """

    name: str
    label: str
    composed: bool
    night: bool
    animal: tuple[float, float, float, float] | None
    animal_width: float | None
    visible: float | None
    source: str
    event: int
    file: str


def composed(labelled: list[pictures.Labelled], seed: int, folder: Path) -> Iterator[Question]:
    """All frames of many bursts, written into a folder; animals that are not red pandas are birds and mammals."""
    rng = np.random.default_rng(seed)
    stock = Stock.of([p for p in labelled if p.trap or p.warm_blooded])
    folder.mkdir(parents=True, exist_ok=True)
    event = 0
    for label, count in _BURSTS.items():
        for i in tqdm(range(count), desc=label, mininterval=10):
            burst = stock.burst(rng, label, night=i % 2 == 0, frames=_FRAMES, widths=_WIDTHS)
            yield from _written(burst, [label] * _FRAMES, folder / f"{label}_{i:03}", event)
            event += 1


def passing(labelled: list[pictures.Labelled], seed: int, folder: Path) -> Iterator[Question]:
    """Frames of bursts through which a red panda passes: on one or two of three, and gone from the others."""
    rng = np.random.default_rng(seed)
    stock = Stock.of([p for p in labelled if p.trap or p.warm_blooded])
    folder.mkdir(parents=True, exist_ok=True)
    for event in tqdm(range(2 * _PASSING), desc="passing", mininterval=10):
        gone = rng.permutation(_FRAMES)[1 + event % 2 :].tolist()
        burst = stock.burst(rng, "red_panda", night=event % 4 < 2, frames=_FRAMES, widths=_WIDTHS, gone=gone)  # noqa: PLR2004 - half
        labels = ["red_panda" if box else "blank" for box in burst.boxes]
        yield from _written(burst, labels, folder / f"passing_{event:03}", event)


def _written(burst: Composed, labels: list[str], stem: Path, event: int) -> Iterator[Question]:
    for at, (jpeg, label) in enumerate(zip(burst.jpegs, labels, strict=True)):
        file = stem.with_name(f"{stem.name}_{at}.jpg")
        file.write_bytes(jpeg)
        box = burst.boxes[at] if burst.boxes else None
        yield Question(
            name=f"{stem.name}/{at}: {' on '.join(reversed(burst.sources))}",
            label=label,
            composed=True,
            night=decode(jpeg).night,
            animal=(box.left, box.top, box.right, box.bottom) if box else None,
            animal_width=(box.right - box.left if box else 0.0) if burst.boxes else None,
            visible=burst.visible if burst.boxes else None,
            # An animal's frames are alike because of the animal, blank ones because of the place.
            source=burst.sources[1] if burst.boxes else burst.sources[0],
            event=event,
            file=str(file),
        )


def real(labelled: list[pictures.Labelled]) -> Iterator[Question]:
    """Every real trap frame; those of a burst together, as the gateway would."""
    trap = sorted((p for p in labelled if p.trap), key=lambda p: (p.burst or "", p.path))
    number = 0
    for folder, group in groupby(trap, key=lambda p: p.burst):
        together = list(group)
        for event in bursts(together) if folder else [[one] for one in together]:
            for p in event:
                try:
                    night = decode(p.path.read_bytes()).night
                except MediaError:
                    continue  # the gateway would not score it either
                yield Question(
                    name="/".join(p.path.parts[-2:]),
                    label=p.label,
                    composed=False,
                    night=night,
                    animal=None,
                    animal_width=None,
                    visible=None,
                    source=p.group,
                    event=number,
                    file=str(p.path),
                )
            number += 1


def set_papers(fold: int) -> None:
    """Make the test frames of a fold, unless they are there.

    Raises:
        PicturesAbsent: there are no labelled pictures here.
    """
    labelled = [p for p in pictures.read() if p.fold(FOLDS) == fold]
    frames = {kind: paper(fold, kind).with_suffix("") for kind in PAPERS}
    papers = {
        "composed": composed(labelled, 500 + fold, frames["composed"]),
        "passing": passing(labelled, 700 + fold, frames["passing"]),
        "real": real(labelled),
    }
    for kind, asked in papers.items():
        if not paper(fold, kind).exists():
            questions = [asdict(question) for question in asked]
            paper(fold, kind).write_text(json.dumps(questions))


def rehearse(labelled: list[pictures.Labelled], seed: int, stem: Path) -> list[dict[str, Any]]:
    """Frames like the test's, of pictures to learn from: for heads, which learn from what the gateway will look at."""
    path = stem.with_suffix(".json")
    if not path.exists():
        path.write_text(json.dumps([asdict(question) for question in composed(labelled, seed, stem)]))
    questions: list[dict[str, Any]] = json.loads(path.read_text())
    return questions


def paper(fold: int, kind: str, build_dir: Path = BUILD_DIR) -> Path:
    """What is known of a fold's test frames; `kind` is one of `PAPERS`."""
    return build_dir / f"exam_{fold}_{kind}.json"


def answers(fold: int, kind: str, folder: Path) -> Path:
    """Where a candidate's answers to a fold's test frames are."""
    return folder / f"exam_{fold}_{kind}.npz"


def main() -> int:
    """Make the frames of a fold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fold", type=int, required=True)
    try:
        set_papers(parser.parse_args().fold)
    except pictures.PicturesAbsent as exc:
        print(exc)  # noqa: T201 - a command line prints
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
