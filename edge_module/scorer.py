"""Frames to scores: which views of a frame the model looks at. The same for the gateway, headquarters and training.

1. The whole frame is looked at, and in a burst a crop of what moved.
2. A frame's scores are those of the view in which a red panda is most probable: a panda seen in one view is not
   outvoted by the forest in the other.
3. Frames of one burst in which something moved are of one animal, mostly: the scores of each are drawn halfway towards
   their mean (of log-probabilities). Halfway, so that the empty frame after a panda has left stays empty; a frame in
   which nothing moved takes no part.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_module.backbone import Backbone
from edge_module.burst import motion
from edge_module.domain import LABEL_PANDA, Box, Scores
from edge_module.frame import Frame, to_input
from edge_module.head import Head

FULL: Final = "full"
MOTION: Final = "motion"

_DRAWN: Final = np.float32(0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One picture for the backbone, and what it shows of the frame where that is not all of it."""

    name: str
    picture: npt.NDArray[np.uint8]
    box: Box | None = None


def views(frames: Sequence[Frame]) -> Iterator[list[View]]:
    """The views of each frame of a burst: uint8 (224, 224, 3) each, the whole frame first."""
    for frame, box in zip(frames, motion([f.whole for f in frames]), strict=True):
        looks = [View(name=FULL, picture=frame.whole)]
        if box is not None:
            looks.append(View(name=MOTION, picture=to_input(frame.image, box.pixels(*frame.image.size)), box=box))
        yield looks


def pooled(probabilities: npt.NDArray[np.float32], moved: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Rule 3.

    Args:
        probabilities: of the frames of one burst, shape (n, labels).
        moved: in which of them something moved, shape (n).
    """
    if moved.sum() < 2:  # noqa: PLR2004 - one alone has no company
        return probabilities
    logs = np.log(np.maximum(probabilities[moved], np.float32(1e-6)))
    mixed = np.exp(logs + _DRAWN * (logs.mean(axis=0) - logs))
    found = probabilities.copy()
    found[moved] = mixed / mixed.sum(axis=1, keepdims=True)
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """An installed model: verified bytes of the backbone and a head that belongs to it."""

    backbone: bytes
    head: Head
    model_id: str

    @staticmethod
    def identify(backbone: bytes, head: bytes) -> str:
        """First 12 hexadecimal digits of the SHA-256 over both files: changes whenever a score could."""
        return hashlib.sha256(hashlib.sha256(backbone).digest() + hashlib.sha256(head).digest()).hexdigest()[:12]


class Scorer:
    """Scores bursts with one interpreter. Not shared between threads: make one for each."""

    def __init__(self, model: Model) -> None:
        self._backbone = Backbone(model.backbone, name="backbone.tflite")
        self._head = model.head

    def score(self, frames: Sequence[Frame]) -> list[Scores]:
        """Score the frames of one burst together.

        Args:
            frames: one or more frames of one camera, in the order they were taken; at most `burst.BURST_FRAMES_MAX`
                at a time keeps memory bounded.

        Returns:
            Scores of each frame, in the same order.
        """
        looked = list(views(frames))
        best = [self._best(looks) for looks in looked]
        moved = np.array([any(look.name == MOTION for look in looks) for looks in looked])
        rows = pooled(np.stack([row for row, _ in best]), moved)
        return [
            Scores(
                probabilities=dict(zip(self._head.labels, (round(float(p), 3) for p in row), strict=True)),
                night=frame.night,
                view=view.name,
                box=box.rounded() if (box := view.box) else None,
            )
            for frame, row, (_, view) in zip(frames, rows, best, strict=True)
        ]

    def _best(self, looks: Sequence[View]) -> tuple[npt.NDArray[np.float32], View]:
        features = np.stack([self._backbone.features(look.picture) for look in looks])
        probabilities = self._head.probabilities(features)
        best = int(np.argmax(probabilities[:, self._head.labels.index(LABEL_PANDA)]))
        return probabilities[best], looks[best]
