"""A backbone answers test frames: features of every view that some strategy may look at.

`python -m models.sit --paper STEM --network FILE --out FILE` does it for either runtime: nothing is imported but the
gateway's own code.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edge_module.backbone import Backbone
from edge_module.burst import motion
from edge_module.domain import Box
from edge_module.frame import decode
from edge_module.gaze import closer
from edge_module.scorer import CLOSER, FULL, MOTION, part

_ALL = Box(left=0, top=0, right=1, bottom=1)
TILE = "tile"
TILES = tuple(Box(left=x / 4, top=y / 3, right=(x + 2) / 4, bottom=(y + 2) / 3) for y in (0, 1) for x in (0, 1, 2))
"""Six overlapping parts of a frame, each half as wide and two thirds as high: to compare with."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """What a backbone made of the frames of a paper, one element a view.

    Args:
        owner: number of the frame, shape (n).
        view: full, closer, motion or tile, shape (n).
        box: what it shows of the frame, shape (n, 4): left, top, right, bottom in shares.
        features: shape (n, 1280).
    """

    owner: npt.NDArray[np.int64]
    view: npt.NDArray[np.str_]
    box: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `store` wrote."""
        with np.load(path) as stored:
            return cls(
                owner=stored["owner"],
                view=stored["view"],
                box=stored["box"],
                features=stored["features"].astype(np.float32),
            )

    def store(self, path: Path) -> None:
        """Write as .npz, features in half precision."""
        np.savez(path, owner=self.owner, view=self.view, box=self.box, features=self.features.astype(np.float16))


def sit(questions: Sequence[dict[str, Any]], network: Backbone, *, every: int = 1, tiles: bool = False) -> Answers:
    """Look at all frames of a paper.

    Args:
        questions: as `models.exam` stored them, with the files of the frames; those of an event follow each other.
        network: the backbone.
        every: only every n-th event is looked at.
        tiles: also look at tiles of the middle frame of each event.
    """
    owner, view, box, features = zip(*_looked_at(questions, network, every=every, tiles=tiles), strict=True)
    edges = [(b.left, b.top, b.right, b.bottom) for b in box]
    return Answers(
        owner=np.array(owner), view=np.array(view), box=np.array(edges, np.float32), features=np.stack(features)
    )


_Seen = tuple[int, str, Box, npt.NDArray[np.float32]]


def _looked_at(questions: Sequence[dict[str, Any]], network: Backbone, *, every: int, tiles: bool) -> Iterator[_Seen]:
    for number, group in groupby(enumerate(questions), key=lambda each: each[1]["event"]):
        if number % every:
            continue
        asked = list(group)
        frames = [decode(Path(question["file"]).read_bytes()) for _, question in asked]
        moved = motion([frame.whole for frame in frames])
        for at, ((owner, _), frame, box) in enumerate(zip(asked, frames, moved, strict=True)):
            glance = network.look(frame.whole)
            yield owner, FULL, _ALL, glance.features
            closely = [(CLOSER, closer(glance.where))]
            closely += [(MOTION, box)] if box else []
            closely += [(TILE, tile) for tile in TILES] if tiles and at == len(asked) // 2 else []
            for name, seen in closely:
                yield owner, name, seen, network.look(part(name, frame, seen).picture).features


def main() -> None:
    """Store a network's answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", type=Path, required=True, help=".json of test frames")
    parser.add_argument("--network", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="which events: every n-th")
    parser.add_argument("--tiles", action="store_true", help="look at tiles, too")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    questions = json.loads(arguments.paper.read_text())
    sit(questions, Backbone.open(arguments.network), every=arguments.every, tiles=arguments.tiles).store(arguments.out)


if __name__ == "__main__":
    main()
