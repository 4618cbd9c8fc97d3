"""Folding batch normalisation changes no output."""

import numpy as np

from models import lite0


def test_folding_a_normalisation_keeps_the_convolutions_output() -> None:
    rng = np.random.default_rng(1)
    names = [f"{b.name}{p}" for b in lite0.blocks() for p in ("_expand_conv", "_depthwise_conv", "_project_conv")]
    published = {f"{name}.weight": rng.normal(0, 1, (4, 2, 1, 1)) for name in ("_conv_stem", "_conv_head", *names)}
    norms = [f"{b.name}_bn{i}" for b in lite0.blocks() for i in range(3)]
    for norm in ("_bn0", "_bn1", *norms):
        published |= {
            f"{norm}.{part}": rng.uniform(0.5, 2, 4) for part in ("weight", "bias", "running_mean", "running_var")
        }
    folded = lite0.fold(published)

    x = rng.normal(0, 1, 2)
    plain = published["_blocks.3._project_conv.weight"][:, :, 0, 0] @ x
    mean, variance = published["_blocks.3._bn2.running_mean"], published["_blocks.3._bn2.running_var"]
    normal = (plain - mean) / np.sqrt(variance + lite0.BN_EPSILON)
    expected = normal * published["_blocks.3._bn2.weight"] + published["_blocks.3._bn2.bias"]
    weight, bias = folded["_blocks.3._project_conv.weight"], folded["_blocks.3._project_conv.bias"]
    assert np.allclose(weight[:, :, 0, 0] @ x + bias, expected)


def test_the_first_block_alone_does_not_expand() -> None:
    assert [b.expands for b in lite0.blocks()] == [False] + [True] * 15
    assert sum(b.stride == 2 for b in lite0.blocks()) == 4


def test_between_two_networks() -> None:
    published, tuned = {"a": np.float32([1, 2]), "_fc": np.float32([9])}, {"a": np.float32([3, 2])}
    assert lite0.between(published, tuned, 0.25)["a"].tolist() == [1.5, 2.0]
    assert lite0.mean([published, {"a": np.float32([3, 4]), "_fc": np.float32([7])}])["a"].tolist() == [2.0, 3.0]
