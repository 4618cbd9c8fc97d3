"""EfficientNet-Lite0 in torch, from folded weights. Runs in the model-building environment."""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from models import lite0


class Convolution(nn.Module):  # type: ignore[misc]
    """A folded convolution with TensorFlow's "same" padding, which is uneven where the stride is 2."""

    def __init__(self, weights: lite0.Weights, name: str, *, stride: int = 1, relu6: bool = True) -> None:
        super().__init__()
        self.name, self.stride, self.relu6 = name, stride, relu6
        self.weight = nn.Parameter(torch.tensor(weights[f"{name}.weight"]))
        self.bias = nn.Parameter(torch.tensor(weights[f"{name}.bias"]))
        self.groups = self.weight.shape[0] if "depthwise" in name else 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, height, width) to the same with other channels, height and width divided by the stride."""
        kernel, size = self.weight.shape[2], x.shape[2]
        pad = max((math.ceil(size / self.stride) - 1) * self.stride + kernel - size, 0)
        if pad % 2:
            x, pad = functional.pad(x, (pad // 2, pad - pad // 2) * 2), 0
        if self.groups > 1:
            # The gradient of a depthwise convolution takes three times as long in bfloat16 as in float.
            with torch.autocast("cpu", enabled=False):
                x = functional.conv2d(x.float(), self.weight, self.bias, self.stride, pad // 2, 1, self.groups)
            return functional.relu6(x)
        x = functional.conv2d(x, self.weight, self.bias, self.stride, pad // 2, 1, self.groups)
        return functional.relu6(x) if self.relu6 else x


class _Block(nn.Module):  # type: ignore[misc]
    def __init__(self, weights: lite0.Weights, block: lite0.Block) -> None:
        super().__init__()
        parts = [Convolution(weights, f"{block.name}_expand_conv")] if block.expands else []
        parts.append(Convolution(weights, f"{block.name}_depthwise_conv", stride=block.stride))
        parts.append(Convolution(weights, f"{block.name}_project_conv", relu6=False))
        self.parts, self.skips = nn.Sequential(*parts), block.skips

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.parts(x)
        return x + y if self.skips else y


class Network(nn.Module):  # type: ignore[misc]
    """Pictures to features."""

    def __init__(self, weights: lite0.Weights) -> None:
        super().__init__()
        blocks = [_Block(weights, block) for block in lite0.blocks()]
        self.parts = nn.Sequential(
            Convolution(weights, "_conv_stem", stride=2), *blocks, Convolution(weights, "_conv_head")
        )
        self.to(memory_format=torch.channels_last)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, 224, 224), as `prepared`, to (n, 1280, 7, 7)."""
        maps: torch.Tensor = self.parts(x)
        return maps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, 224, 224), as `prepared`, to (n, 1280): the means of the maps."""
        return self.maps(x).mean((2, 3))

    def folded(self) -> dict[str, npt.NDArray[np.float32]]:
        """The weights, as `lite0.fold` names them."""
        found = {}
        for part in self.modules():
            if isinstance(part, Convolution):
                found[f"{part.name}.weight"] = part.weight.detach().numpy().copy()
                found[f"{part.name}.bias"] = part.bias.detach().numpy().copy()
        return found


def prepared(pictures: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Pictures uint8 (n, 224, 224, 3) to what the network takes: (x - 127) / 128, channels first."""
    x = (torch.from_numpy(pictures).float() - 127) / 128
    return x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
