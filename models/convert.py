"""Weights to an int8 TFLite file. Runs in the model-building environment; `python -m models.build` calls it.

Input uint8 (1, 224, 224, 3), RGB; (x - 127) / 128 is part of the model. Outputs float32: the features (1, 1280), and
where in the picture a red panda is likeliest (1, 7, 7), of which the order counts, not the height.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.lite.python.util import modify_model_io_type

from models import lite0

INPUT_PX = 224


def _network(weights: lite0.Weights, *, plain: bool) -> tf.keras.Model:
    layers = tf.keras.layers

    def convolve(x: tf.Tensor, name: str, stride: int = 1) -> tf.Tensor:
        kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        if "depthwise" in name:
            layer = layers.DepthwiseConv2D(kernel.shape[2], strides=stride, padding="same")
            kernel = kernel.transpose(2, 3, 0, 1)
        else:
            layer = layers.Conv2D(kernel.shape[0], kernel.shape[2], strides=stride, padding="same")
            kernel = kernel.transpose(2, 3, 1, 0)
        y = layer(x)
        layer.set_weights([kernel, bias])
        return y

    def relu6(x: tf.Tensor) -> tf.Tensor:
        return layers.ReLU(max_value=6.0)(x)

    image = layers.Input((INPUT_PX, INPUT_PX, 3), dtype=tf.uint8 if plain else tf.float32)
    # In int8 the same is done by how the input is quantised.
    x = (tf.cast(image, tf.float32) - 127) / 128 if plain else image
    x = relu6(convolve(x, "_conv_stem", stride=2))
    for block in lite0.blocks():
        y = relu6(convolve(x, f"{block.name}_expand_conv")) if block.expands else x
        y = relu6(convolve(y, f"{block.name}_depthwise_conv", stride=block.stride))
        y = convolve(y, f"{block.name}_project_conv")
        x = layers.Add()([x, y]) if block.skips else y
    x = relu6(convolve(x, "_conv_head"))
    # As a mean of products, not as a convolution: see below which operations stay in float.
    gain = (weights["_where.weight"] * len(weights["_where.weight"])).astype(np.float32)
    where = tf.reduce_mean(x * gain, axis=3)
    return tf.keras.Model(image, [layers.GlobalAveragePooling2D()(x), where])


def convert(weights: lite0.Weights, calibration: npt.NDArray[np.uint8] | None) -> bytes:
    """Convert to TFLite.

    Args:
        weights: folded, see `lite0.fold`.
        calibration: pictures (n, 224, 224, 3) to measure the ranges of activations on; None converts to float32, to
            measure what int8 loses.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(_network(weights, plain=calibration is None))
    if calibration is not None:

        def samples() -> Iterator[list[npt.NDArray[np.float32]]]:
            for picture in calibration:
                yield [((picture.astype(np.float32) - 127) / 128)[None]]

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        # The means over the last map are taken in float: rounded to int8 a feature would have some ten levels, and what
        # two runtimes round differently would weigh the more (docs/decisions/0020). So for where.
        options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=["MEAN", "MUL"])
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=samples, debug_options=options
        )
        return bytes(modify_model_io_type(debugger.get_nondebug_quantized_model(), tf.uint8, tf.float32))
    return bytes(converter.convert())


def main() -> None:
    """Read arrays from files, write a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help=".npz of folded weights")
    parser.add_argument("--calibration", type=Path, help=".npy, uint8 (n, 224, 224, 3); without it, float32")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    calibration = np.load(arguments.calibration) if arguments.calibration else None
    with np.load(arguments.weights) as weights:
        arguments.out.write_bytes(convert(weights, calibration))


if __name__ == "__main__":
    main()
