"""The backbone: a picture's 1,280 features, and where in it to look closer. The only file that knows TFLite's runtimes.

`ai-edge-litert` where it has wheels (x86-64, arm64), `tflite-runtime` 2.14 on arm32v7; both must give the same verdicts
on the golden frames (tests/integration/test_runtimes.py).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_module.errors import ModelError
from edge_module.frame import INPUT_PX
from edge_module.head import FEATURES

CELLS: Final = 7
"""The network's last map has so many rows and columns."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """What the network makes of one picture.

    Args:
        features: shape (1280,).
        where: how likely a red panda is in each part of the picture, shape (7, 7); of no certain unit.
    """

    features: npt.NDArray[np.float32]
    where: npt.NDArray[np.float32]


def interpreter(content: bytes, *, quick: bool = False) -> Any:
    """Open a TFLite file with the runtime that is installed.

    Args:
        content: the file.
        quick: by the kernels that are fastest here, which may round otherwise than a gateway's; never for verdicts.

    Raises:
        ModelError: none is.
        ValueError, RuntimeError: the runtime's own, of a file that is none.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType  # noqa: PLC0415 - whichever is installed
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter, OpResolverType  # noqa: PLC0415
        except ImportError as exc:
            raise ModelError("no TFLite runtime: install ai-edge-litert, or tflite-runtime on arm32v7") from exc
    return Interpreter(
        model_content=content,
        # One thread: the pipeline runs an interpreter a worker, which scales better than threads inside one frame.
        num_threads=1,
        # The kernels that both runtimes have, for the same features to the last bit but one: docs/decisions/0056.
        experimental_op_resolver_type=(
            OpResolverType.AUTO if quick else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ),
    )


class Backbone:
    """One interpreter. Not shared between threads: make one for each.

    Raises:
        ModelError: the content is not a TFLite file of the expected shape.
    """

    def __init__(self, content: bytes, *, name: str, quick: bool = False) -> None:
        try:
            self._model = interpreter(content, quick=quick)
            self._model.allocate_tensors()
            (source,) = self._model.get_input_details()
            outputs = {tuple(o["shape"]): int(o["index"]) for o in self._model.get_output_details()}
        except (ValueError, RuntimeError) as exc:
            raise ModelError(f"{name}: not a usable TFLite model ({exc})") from exc
        expected = [1, INPUT_PX, INPUT_PX, 3]
        wanted = (1, FEATURES), (1, CELLS, CELLS)
        if list(source["shape"]) != expected or source["dtype"] != np.uint8 or outputs.keys() != set(wanted):
            shapes = " and ".join(str(list(shape)) for shape in wanted)
            raise ModelError(f"{name}: needs uint8 input {expected} and outputs {shapes}")
        self._input = int(source["index"])
        self._features, self._where = (outputs[shape] for shape in wanted)

    @classmethod
    def open(cls, path: Path) -> "Backbone":
        """Read a backbone from a file."""
        return cls(path.read_bytes(), name=path.name)

    def look(self, picture: npt.NDArray[np.uint8]) -> Look:
        """Run the network once.

        Args:
            picture: RGB, shape (224, 224, 3), as `frame.to_input` makes it. (x - 127) / 128 is part of the model.
        """
        self._model.set_tensor(self._input, picture[None])
        self._model.invoke()
        features, where = (self._model.get_tensor(index)[0] for index in (self._features, self._where))
        return Look(features=features, where=where)
