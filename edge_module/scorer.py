"""Frames to scores: which views of a frame the model looks at. The same for the gateway, headquarters and training.

Strategy of version 1: the whole frame, and in a burst a crop of what moved. A frame's scores are those of the view in
which a red panda is most probable: a panda seen in one view is not outvoted by the forest in the other.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_module.backbone import Backbone
from edge_module.burst import motion
from edge_module.domain import LABEL_PANDA, Box, Scores
from edge_module.frame import Frame, to_input
from edge_module.head import Head


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One picture for the backbone, and what it shows of the frame where that is not all of it."""

    name: str
    picture: npt.NDArray[np.uint8]
    box: Box | None = None


def views(frames: Sequence[Frame]) -> Iterator[list[View]]:
    """The views of each frame of a burst: uint8 (224, 224, 3) each, the whole frame first."""
    for frame, box in zip(frames, motion([f.whole for f in frames]), strict=True):
        looks = [View(name="full", picture=frame.whole)]
        if box is not None:
            looks.append(View(name="motion", picture=to_input(frame.image, box.pixels(*frame.image.size)), box=box))
        yield looks


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
        return [self._best(frame, looks) for frame, looks in zip(frames, views(frames), strict=True)]

    def _best(self, frame: Frame, looks: Sequence[View]) -> Scores:
        features = np.stack([self._backbone.features(look.picture) for look in looks])
        probabilities = self._head.probabilities(features)
        best = int(np.argmax(probabilities[:, self._head.labels.index(LABEL_PANDA)]))
        return Scores(
            probabilities=dict(zip(self._head.labels, (round(float(p), 3) for p in probabilities[best]), strict=True)),
            night=frame.night,
            view=looks[best].name,
            box=box.rounded() if (box := looks[best].box) else None,
        )
