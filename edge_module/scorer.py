"""Frames to scores: which views of a frame the model looks at. The same for the gateway, headquarters and training.

1. The whole frame is looked at, and in a burst the crop of what moved (`burst.motion`).
2. Then the part of the frame in which a red panda is likeliest (`gaze`), closer: that finds what sits still. Not so in
   a burst in which something moved and no look has left much hope: most frames are wind, and end there.
3. A frame's scores are those of the view in which a red panda is most probable: a panda seen in one view is not
   outvoted by the forest in another. But what the whole frame says is drawn towards what the closer look says, which is
   at what the whole frame found suspicious.
4. Frames of one burst in which something moved are of one animal, mostly: each is drawn to their mean (of
   log-probabilities), wholly where that makes a red panda likelier, else halfway, so that the one frame with a panda is
   not outvoted by the empty ones after it. Each so far as there seems to be an animal on it: the empty frames stay
   empty. A frame in which nothing moved takes no part.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_module.backbone import Backbone, Look
from edge_module.burst import motion
from edge_module.domain import LABEL_BLANK, LABEL_PANDA, Box, Scores
from edge_module.frame import Frame, to_input
from edge_module.gaze import closer
from edge_module.head import Head

FULL: Final = "full"
CLOSER: Final = "closer"
MOTION: Final = "motion"

HOPE_MIN: Final = 0.12
"""Rule 2: the probability of a red panda, in any look at a burst, that makes a closer one worth its while."""

_DRAWN_CLOSER: Final = np.float32(0.4)
"""Rule 3: the share of the way."""

_DRAWN_DOWN: Final = np.float32(0.5)
"""Rule 4: the share of the way to the burst's mean, where that makes a red panda less likely."""

_FLOOR: Final = np.float32(1e-6)
"""Of a probability before its logarithm."""


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


def pooled(
    probabilities: npt.NDArray[np.float32], moved: npt.NDArray[np.bool_], labels: Sequence[str]
) -> npt.NDArray[np.float32]:
    """Rule 4.

    Args:
        probabilities: of the frames of one burst, shape (n, labels).
        moved: in which of them something moved, shape (n).
        labels: a red panda's among them.
    """
    if moved.sum() < 2:  # noqa: PLR2004 - one alone has no company
        return probabilities
    together = _logs(probabilities[moved]).mean(axis=0)
    panda = labels.index(LABEL_PANDA)
    up = probabilities[moved, panda] < np.exp(together[panda])
    share = np.where(up, np.float32(1), _DRAWN_DOWN)
    if LABEL_BLANK in labels:
        share *= 1 - probabilities[moved, labels.index(LABEL_BLANK)]
    found = probabilities.copy()
    found[moved] = _drawn(probabilities[moved], together, share[:, None])
    return found


def confirmed(whole: npt.NDArray[np.float32], closely: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rule 3, of a frame the whole of which is likelier to show a red panda than any part.

    Args:
        whole: probabilities by it, shape (..., labels).
        closely: probabilities by the closer look, of the same shape.
    """
    return _drawn(whole, _logs(closely), _DRAWN_CLOSER)


def _logs(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.log(np.maximum(probabilities, _FLOOR))


def _drawn(
    probabilities: npt.NDArray[np.float32], towards: npt.NDArray[np.float32], share: npt.ArrayLike
) -> npt.NDArray[np.float32]:
    """Probabilities (..., labels), drawn a share of the way towards log-probabilities."""
    logs = _logs(probabilities)
    mixed = np.exp(logs + np.asarray(share, np.float32) * (towards - logs))
    drawn: npt.NDArray[np.float32] = mixed / mixed.sum(axis=-1, keepdims=True)
    return drawn


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
        looks = self.looks(frames, boxes)
        best = [max(of_frame, key=self._panda) for of_frame in looks]
        said = np.stack([seen.probabilities for seen in best])
        for row, seen, of_frame in zip(said, best, looks, strict=True):
            if seen.view.name == FULL and of_frame[-1].view.name == CLOSER:
                row[:] = confirmed(row, of_frame[-1].probabilities)
        moved = np.array([box is not None for box in boxes])
        rows = pooled(said, moved, self._head.labels)
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
            For each frame what was looked at: the whole of it first, the closer look last.
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
