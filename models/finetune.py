"""Fine-tuning the backbone's last blocks on composed views. Runs in the model-building environment (torch).

The early blocks stay as published: their output is computed once, so that an epoch on one core takes minutes, not
hours. Interrupted, it goes on from the last whole epoch.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from models import lite0

FIRST_TRAINED_BLOCK = 11
"""The 192-channel stage and all after it: 85 % of the weights, a third of the multiplications."""

LABELS = ("red_panda", "other_animal", "blank")
_BATCH = 32
_FEATURES = 1280


class _Convolution(nn.Module):  # type: ignore[misc]
    """A folded convolution with TensorFlow's "same" padding, which is uneven where the stride is 2."""

    def __init__(self, weights: lite0.Weights, name: str, *, stride: int = 1, relu6: bool = True) -> None:
        super().__init__()
        self.name, self.stride, self.relu6 = name, stride, relu6
        self.weight = nn.Parameter(torch.tensor(weights[f"{name}.weight"]))
        self.bias = nn.Parameter(torch.tensor(weights[f"{name}.bias"]))
        self.groups = self.weight.shape[0] if "depthwise" in name else 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel, size = self.weight.shape[2], x.shape[2]
        pad = max((math.ceil(size / self.stride) - 1) * self.stride + kernel - size, 0)
        if pad:
            x = functional.pad(x, (pad // 2, pad - pad // 2) * 2)
        x = functional.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)
        return functional.relu6(x) if self.relu6 else x


class _Block(nn.Module):  # type: ignore[misc]
    def __init__(self, weights: lite0.Weights, block: lite0.Block) -> None:
        super().__init__()
        parts = [_Convolution(weights, f"{block.name}_expand_conv")] if block.expands else []
        parts.append(_Convolution(weights, f"{block.name}_depthwise_conv", stride=block.stride))
        parts.append(_Convolution(weights, f"{block.name}_project_conv", relu6=False))
        self.parts, self.skips = nn.Sequential(*parts), block.skips

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.parts(x)
        return x + y if self.skips else y


class Network(nn.Module):  # type: ignore[misc]
    """EfficientNet-Lite0 in two halves: `early` stays as it is, `late` is trained."""

    def __init__(self, weights: lite0.Weights) -> None:
        super().__init__()
        every = [_Block(weights, block) for block in lite0.blocks()]
        self.early = nn.Sequential(_Convolution(weights, "_conv_stem", stride=2), *every[:FIRST_TRAINED_BLOCK])
        self.late = nn.Sequential(*every[FIRST_TRAINED_BLOCK:], _Convolution(weights, "_conv_head"))

    def folded(self) -> dict[str, npt.NDArray[np.float32]]:
        """The weights, as `lite0.fold` names them."""
        found = {}
        for part in self.modules():
            if isinstance(part, _Convolution):
                found[f"{part.name}.weight"] = part.weight.detach().numpy().copy()
                found[f"{part.name}.bias"] = part.bias.detach().numpy().copy()
        return found


def _early(network: Network, stem: Path) -> npt.NDArray[np.float16]:
    """Output of the early blocks for all views of `stem`, from disk if it has been computed before."""
    kept = stem.with_name(f"{stem.name}_early.npy")
    if kept.exists():
        return np.load(kept, mmap_mode="r")  # type: ignore[no-any-return]
    pictures = np.load(stem.with_suffix(".npy"), mmap_mode="r")
    found = np.empty((len(pictures), 112, 14, 14), np.float16)
    with torch.inference_mode():
        for i in range(0, len(pictures), _BATCH):
            batch = torch.from_numpy(np.array(pictures[i : i + _BATCH])).permute(0, 3, 1, 2).float()
            batch = ((batch - 127) / 128).contiguous(memory_format=torch.channels_last)
            found[i : i + _BATCH] = network.early(batch).numpy()
    np.save(kept, found)
    return found


def _weights(rows: Sequence[dict[str, object]]) -> npt.NDArray[np.float32]:
    """Rare labels count more, nights a little more: they are what the trial found hardest."""
    labels = [row["label"] for row in rows]
    share = {label: labels.count(label) / len(labels) for label in LABELS}
    weight = [share[str(row["label"])] ** -0.5 * (1.2 if row["night"] else 1.0) for row in rows]
    return np.array(weight, np.float32) / np.float32(np.mean(weight))


def tune(network: Network, stems: Sequence[Path], *, epochs: int, seed: int, rate: float, checkpoint: Path) -> None:
    """Train the late blocks in place.

    Args:
        network: with the published weights.
        stems: views, as `models.views` stores them.
        epochs: over all views; the learning rate falls by a cosine to nothing at their end.
        seed: of order, flips and dropout.
        rate: learning rate to begin with.
        checkpoint: written after each epoch, read if it is there.
    """
    torch.manual_seed(seed)
    rows = [row for stem in stems for row in json.loads(stem.with_suffix(".json").read_text())]
    parts = [_early(network, stem) for stem in stems]
    starts = np.cumsum([0, *map(len, parts)])
    target = torch.tensor([LABELS.index(row["label"]) for row in rows])
    weight = torch.from_numpy(_weights(rows))
    head = nn.Linear(_FEATURES, len(LABELS))
    nn.init.zeros_(head.weight)
    optimiser = torch.optim.AdamW(
        [
            {"params": network.late.parameters(), "lr": rate, "weight_decay": 1e-3},
            {"params": head.parameters(), "lr": 5 * rate, "weight_decay": 1e-2},
        ]
    )
    steps = epochs * (len(rows) // _BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: min(1, (i + 1) / 50) * 0.5 * (1 + math.cos(math.pi * i / steps))
    )
    state = {"network": network, "head": head, "optimiser": optimiser, "schedule": schedule}
    done = 0
    if checkpoint.exists():
        stored = torch.load(checkpoint, weights_only=True)
        done = stored.pop("epoch")
        for name, part in state.items():
            part.load_state_dict(stored[name])
    for epoch in range(done, epochs):
        began, total = time.monotonic(), 0.0
        order = np.random.default_rng([seed, epoch]).permutation(len(rows))
        for i in range(0, len(order) - _BATCH + 1, _BATCH):
            chosen = order[i : i + _BATCH]
            stem = np.searchsorted(starts, chosen, side="right") - 1
            maps = np.stack([parts[s][j - starts[s]] for s, j in zip(stem, chosen, strict=True)])
            x = torch.from_numpy(maps).float().contiguous(memory_format=torch.channels_last)
            x = torch.where(torch.rand(_BATCH, 1, 1, 1) < 0.5, x.flip(3), x)  # noqa: PLR2004 - half are mirrored
            features = functional.dropout(network.late(x).mean((2, 3)), 0.2)
            loss = functional.cross_entropy(head(features), target[chosen], reduction="none", label_smoothing=0.04)
            mean = (loss * weight[chosen]).mean()
            optimiser.zero_grad()
            mean.backward()
            nn.utils.clip_grad_norm_(network.late.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            total += float(mean)
        line = f"epoch {epoch + 1}: loss {total / (len(order) // _BATCH):.4f}, {time.monotonic() - began:.0f} s"
        print(line, flush=True)  # noqa: T201 - a command line prints
        torch.save({"epoch": epoch + 1} | {n: p.state_dict() for n, p in state.items()}, checkpoint)


def main() -> None:
    """Tune and write folded weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help=".npz to start from")
    parser.add_argument("--views", type=Path, nargs="+", required=True, help="stems of views")
    parser.add_argument("--out", type=Path, required=True, help=".npz to write")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with np.load(arguments.weights) as weights:
        network = Network(weights)
    network.early.requires_grad_(requires_grad=False)
    checkpoint = arguments.out.with_suffix(".checkpoint")
    tune(
        network,
        arguments.views,
        epochs=arguments.epochs,
        seed=arguments.seed,
        rate=arguments.rate,
        checkpoint=checkpoint,
    )
    lite0.save(arguments.out, network.folded())


if __name__ == "__main__":
    main()
