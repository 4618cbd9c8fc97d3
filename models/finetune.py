"""Fine-tuning the backbone's last blocks on composed views. Runs in the model-building environment (torch).

The early blocks stay as published: their output is computed once (`models.early`), so that an epoch on one core takes
minutes, not hours. Interrupted, it goes on from its last checkpoint.
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

LABELS = ("red_panda", "other_animal", "blank")
_BATCH = 32
_CHECKPOINT_STEPS = 50
_WARM_UP_STEPS = 50
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


class Late(nn.Module):  # type: ignore[misc]
    """The blocks that are trained: the early part's output to 1,280 features."""

    def __init__(self, weights: lite0.Weights) -> None:
        super().__init__()
        last = [_Block(weights, b) for b in list(lite0.blocks())[lite0.FIRST_TRAINED_BLOCK :]]
        self.parts = nn.Sequential(*last, _Convolution(weights, "_conv_head"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 192, 7, 7) to (n, 1280)."""
        features: torch.Tensor = self.parts(x).mean((2, 3))
        return features

    def folded(self) -> dict[str, npt.NDArray[np.float32]]:
        """The weights, as `lite0.fold` names them."""
        found = {}
        for part in self.modules():
            if isinstance(part, _Convolution):
                found[f"{part.name}.weight"] = part.weight.detach().numpy().copy()
                found[f"{part.name}.bias"] = part.bias.detach().numpy().copy()
        return found


def _features(late: Late, stem: Path) -> npt.NDArray[np.float32]:
    """What the tuned blocks make of the views of `stem`, for the head to be fitted on: (n, 1280)."""
    maps = np.load(stem.with_name(f"{stem.name}_early.npy"), mmap_mode="r")
    with torch.inference_mode():
        parts = [
            late(torch.from_numpy(np.array(maps[i : i + _BATCH])).float().permute(0, 3, 1, 2)).numpy()
            for i in range(0, len(maps), _BATCH)
        ]
    return np.concatenate(parts)


def _weights(rows: Sequence[dict[str, object]]) -> npt.NDArray[np.float32]:
    """Rare labels count more, nights a little more: they are what the trial found hardest."""
    labels = [row["label"] for row in rows]
    share = {label: labels.count(label) / len(labels) for label in LABELS}
    weight = [share[str(row["label"])] ** -0.5 * (1.2 if row["night"] else 1.0) for row in rows]
    return np.array(weight, np.float32) / np.float32(np.mean(weight))


def tune(late: Late, stems: Sequence[Path], *, epochs: float, seed: int, rate: float, checkpoint: Path) -> None:
    """Train the late blocks in place.

    Args:
        late: with the published weights.
        stems: views, as `models.views` stores them, and beside each what `models.early` made of it.
        epochs: how often all views are seen, 0 for not at all; the learning rate falls by a cosine to nothing.
        seed: of order, flips and dropout.
        rate: learning rate to begin with.
        checkpoint: written now and then, read if it is there.
    """
    torch.manual_seed(seed)
    rows = [row for stem in stems for row in json.loads(stem.with_suffix(".json").read_text())]
    parts = [np.load(stem.with_name(f"{stem.name}_early.npy"), mmap_mode="r") for stem in stems]
    starts = np.cumsum([0, *map(len, parts)])
    target = torch.tensor([LABELS.index(row["label"]) for row in rows])
    weight = torch.from_numpy(_weights(rows))
    head = nn.Linear(_FEATURES, len(LABELS))
    nn.init.zeros_(head.weight)
    optimiser = torch.optim.AdamW(
        [
            {"params": late.parameters(), "lr": rate, "weight_decay": 1e-3},
            {"params": head.parameters(), "lr": 5 * rate, "weight_decay": 1e-2},
        ]
    )
    steps = int(epochs * len(rows) / _BATCH)

    def pace(step: int) -> float:
        return min(1, (step + 1) / _WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, pace)
    state = {"late": late, "head": head, "optimiser": optimiser, "schedule": schedule}
    done, recent, began = 0, 1.0, time.monotonic()
    if checkpoint.exists():
        stored = torch.load(checkpoint, weights_only=True)
        done = stored.pop("step")
        for name, part in state.items():
            part.load_state_dict(stored[name])
    for step in range(done, steps):
        chosen = _batch(step, len(rows), seed)
        stem = np.searchsorted(starts, chosen, side="right") - 1
        maps = np.stack([parts[s][j - starts[s]] for s, j in zip(stem, chosen, strict=True)])
        x = torch.from_numpy(maps).float().permute(0, 3, 1, 2)
        x = torch.where(torch.rand(_BATCH, 1, 1, 1) < 0.5, x.flip(3), x)  # noqa: PLR2004 - half are mirrored
        features = functional.dropout(late(x), 0.2)
        loss = functional.cross_entropy(head(features), target[chosen], reduction="none", label_smoothing=0.04)
        mean = (loss * weight[chosen]).mean()
        optimiser.zero_grad()
        mean.backward()
        nn.utils.clip_grad_norm_(late.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        recent += 0.05 * (float(mean.detach()) - recent)
        if (step + 1) % _CHECKPOINT_STEPS == 0 or step + 1 == steps:
            line = f"step {step + 1} of {steps}: loss {recent:.3f}, {time.monotonic() - began:.0f} s"
            print(line, flush=True)  # noqa: T201 - a command line prints
            torch.save({"step": step + 1} | {n: p.state_dict() for n, p in state.items()}, checkpoint)


def _batch(step: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """The rows of one step: every epoch is another order of all rows."""
    epoch, at = divmod(step, count // _BATCH)
    return np.random.default_rng([seed, epoch]).permutation(count)[at * _BATCH : (at + 1) * _BATCH]


def main() -> None:
    """Tune and write folded weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help=".npz to start from")
    parser.add_argument("--views", type=Path, nargs="+", required=True, help="stems of views")
    parser.add_argument("--out", type=Path, required=True, help=".npz to write")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with np.load(arguments.weights) as published:
        weights = dict(published)
    late = Late(weights)
    tune(
        late,
        arguments.views,
        epochs=arguments.epochs,
        seed=arguments.seed,
        rate=arguments.rate,
        checkpoint=arguments.out.with_suffix(".checkpoint"),
    )
    lite0.save(arguments.out, weights | late.folded())
    for stem in arguments.views:
        np.save(arguments.out.with_name(f"{stem.name}_features.npy"), _features(late, stem))


if __name__ == "__main__":
    main()
