"""The backbone: a picture's 1,280 features. The only file that knows the TFLite runtimes.

`ai-edge-litert` where it has wheels (x86-64, arm64), `tflite-runtime` 2.14 on arm32v7; both must give the same verdicts
on the golden frames (tests/integration/test_runtimes.py).
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_module.errors import ModelError
from edge_module.frame import INPUT_PX
from edge_module.head import FEATURES


def interpreter(content: bytes) -> Any:
    """Open a TFLite file with the runtime that is installed.

    Raises:
        ModelError: none is.
        ValueError, RuntimeError: the runtime's own, of a file that is none.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - one of two, whichever is installed
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter  # noqa: PLC0415
        except ImportError as exc:
            raise ModelError("no TFLite runtime: install ai-edge-litert, or tflite-runtime on arm32v7") from exc
    # One thread: the pipeline runs an interpreter a worker, which scales better than threads inside one frame.
    return Interpreter(model_content=content, num_threads=1)


class Backbone:
    """One interpreter. Not shared between threads: make one for each.

    Raises:
        ModelError: the content is not a TFLite file of the expected shape.
    """

    def __init__(self, content: bytes, *, name: str) -> None:
        try:
            self._model = interpreter(content)
            self._model.allocate_tensors()
            (source,) = self._model.get_input_details()
            outputs = [o for o in self._model.get_output_details() if list(o["shape"]) == [1, FEATURES]]
        except (ValueError, RuntimeError) as exc:
            raise ModelError(f"{name}: not a usable TFLite model ({exc})") from exc
        expected = [1, INPUT_PX, INPUT_PX, 3]
        if list(source["shape"]) != expected or source["dtype"] != np.uint8 or len(outputs) != 1:
            raise ModelError(f"{name}: needs uint8 input {expected} and one output [1, {FEATURES}]")
        self._input = int(source["index"])
        self._output = int(outputs[0]["index"])

    @classmethod
    def open(cls, path: Path) -> "Backbone":
        """Read a backbone from a file."""
        return cls(path.read_bytes(), name=path.name)

    def features(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Run the network once.

        Args:
            picture: RGB, shape (224, 224, 3), as `frame.to_input` makes it. (x - 127) / 128 is part of the model.

        Returns:
            Shape (1280,).
        """
        self._model.set_tensor(self._input, picture[None])
        self._model.invoke()
        features: npt.NDArray[np.float32] = self._model.get_tensor(self._output)[0]
        return features
