"""Frames to scores: which views of a frame the model looks at. The same for the gateway, headquarters and training.

1. The whole frame is looked at, and in a burst the crop of what moved (`burst.motion`).
2. Then the part of the frame in which a red panda is likeliest (`gaze`), closer: that finds what sits still. Not so in
   a burst in which something moved and no look has left much hope: most frames are wind, and end there.
3. A frame's scores are those of the view in which a red panda is most probable: a panda seen in one view is not
   outvoted by the forest in another.
4. Frames of one burst in which something moved are of one animal, mostly: the scores of each are drawn halfway towards
   their mean (of log-probabilities). Halfway, so that the empty frame after a panda has left stays empty; a frame in
   which nothing moved takes no part.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_module.backbone import Backbone, Look
from edge_module.burst import motion
from edge_module.domain import LABEL_PANDA, Box, Scores
from edge_module.frame import Frame, to_input
from edge_module.gaze import closer
from edge_module.head import Head

FULL: Final = "full"
CLOSER: Final = "closer"
MOTION: Final = "motion"

HOPE_MIN: Final = 0.12
"""Rule 2: the probability of a red panda, in any look at a burst, that makes a closer one worth its while."""

_DRAWN: Final = np.float32(0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One picture for the backbone, and what it shows of the frame where that is not all of it."""

    name: str
    picture: npt.NDArray[np.uint8]
    box: Box | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """A view, and the probabilities of the head's labels, in its order."""

    view: View
    probabilities: npt.NDArray[np.float32]


def pooled(probabilities: npt.NDArray[np.float32], moved: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Rule 4.

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
        boxes = motion([frame.whole for frame in frames])
        best = [max(seen, key=self._panda) for seen in self.looks(frames, boxes)]
        moved = np.array([box is not None for box in boxes])
        rows = pooled(np.stack([seen.probabilities for seen in best]), moved)
        return [
            Scores(
                probabilities=dict(zip(self._head.labels, (round(float(p), 3) for p in row), strict=True)),
                night=frame.night,
                view=seen.view.name,
                box=box.rounded() if (box := seen.view.box) else None,
            )
            for frame, row, seen in zip(frames, rows, best, strict=True)
        ]

    def looks(self, frames: Sequence[Frame], boxes: Sequence[Box | None]) -> list[list[Seen]]:
        """Rules 1 and 2: look at the frames of a burst.

        Args:
            frames: as in `score`.
            boxes: what moved in each, where something did.

        Returns:
            For each frame what was looked at, the whole of it first.
        """
        glances = [self._backbone.look(frame.whole) for frame in frames]
        looks = [
            [self._seen(View(name=FULL, picture=frame.whole), glance)]
            for frame, glance in zip(frames, glances, strict=True)
        ]
        for frame, box, seen in zip(frames, boxes, looks, strict=True):
            if box is not None:
                seen.append(self._look(MOTION, frame, box))
        hope = max(self._panda(seen) for of_frame in looks for seen in of_frame) >= HOPE_MIN
        for frame, box, glance, seen in zip(frames, boxes, glances, looks, strict=True):
            if hope or box is None:
                seen.append(self._look(CLOSER, frame, closer(glance.where)))
        return looks

    def _look(self, name: str, frame: Frame, box: Box) -> Seen:
        view = part(name, frame, box)
        return self._seen(view, self._backbone.look(view.picture))

    def _seen(self, view: View, look: Look) -> Seen:
        return Seen(view=view, probabilities=self._head.probabilities(look.features[None])[0])

    def _panda(self, seen: Seen) -> float:
        return float(seen.probabilities[self._head.labels.index(LABEL_PANDA)])


def part(name: str, frame: Frame, box: Box) -> View:
    """The view of a part of a frame."""
    return View(name=name, picture=to_input(frame.image, box.pixels(*frame.image.size)), box=box)
