"""Is there a person in a picture that is about to leave? A small detector, asked about `panda` and `review` only.

An int8 single-shot detector in TFLite (see "People" in models/red_panda/MODEL_CARD.md): input uint8 (1, 300, 300, 3),
RGB; output float32 (1, n, 2), the logits of background and person at n places of the frame. Where the person stands is
not asked, so boxes are left out of the file.
"""

import threading
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_module import model_store
from edge_module.backbone import interpreter
from edge_module.errors import MediaError, ModelError
from edge_module.frame import decode

INPUT_PX: Final = 300

DOUBT_MIN: Final = 0.2
"""From this probability on a person may be there. Low, for a person sent by mistake cannot be called back: of 9 real
trap frames with people the lowest scores 0.36; none of 176 with other animals and of 44 blank ones reaches it."""


def to_input(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Resize a picture, RGB of any size, to the detector's input: uint8, shape (300, 300, 3)."""
    return np.asarray(image.resize((INPUT_PX, INPUT_PX), Image.Resampling.BILINEAR, reducing_gap=1.1))


class People:
    """One interpreter. Threads take turns at it: few pictures are asked about.

    Raises:
        ModelError: the content is not a TFLite file of the expected shape.
    """

    def __init__(self, content: bytes, *, name: str) -> None:
        try:
            self._model: Any = interpreter(content)
            self._model.allocate_tensors()
            (source,) = self._model.get_input_details()
            targets = self._model.get_output_details()
        except (ValueError, RuntimeError) as exc:
            raise ModelError(f"{name}: not a usable TFLite model ({exc})") from exc
        expected = [1, INPUT_PX, INPUT_PX, 3]
        shapes = [list(target["shape"]) for target in targets]
        if list(source["shape"]) != expected or source["dtype"] != np.uint8 or [s[::2] for s in shapes] != [[1, 2]]:
            raise ModelError(f"{name}: needs uint8 input {expected} and one output [1, n, 2], has {shapes}")
        self._input, self._output = int(source["index"]), int(targets[0]["index"])
        self._lock = threading.Lock()

    def probability(self, image: Image.Image) -> float:
        """How likely the likeliest person is. `image`: RGB, upright, of any size."""
        picture = to_input(image)
        with self._lock:
            self._model.set_tensor(self._input, picture[None])
            self._model.invoke()
            logit = float(self._model.get_tensor(self._output)[0, :, 1].max())
        return float(1 / (1 + np.exp(-logit)))

    def perhaps(self, image: Image.Image) -> bool:
        """Whether there may be a person."""
        return self.probability(image) >= DOUBT_MIN


@cache
def shipped() -> People:
    """The detector that comes with the software, opened when it is first needed.

    Raises:
        ModelError: it cannot be trusted.
    """
    return People(model_store.people(), name=model_store.PEOPLE)


def perhaps_in(content: bytes) -> bool:
    """Whether there may be a person in a file's bytes; not in what cannot be decoded: no picture is made of that.

    Raises:
        ModelError: the detector cannot be trusted.
    """
    try:
        frame = decode(content)
    except MediaError:
        return False
    return shipped().perhaps(frame.image)
