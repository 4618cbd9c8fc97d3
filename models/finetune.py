"""Fine-tuning the backbone's last blocks on composed views. Runs in the model-building environment (torch).

The early blocks stay as published: their output is computed once (`models.early`), so that an epoch on one core takes
minutes, not hours. Interrupted, it goes on from its last checkpoint.

There are few animals to learn from, so the network is also asked to go on telling the 1,000 classes it was published
for: what the published network says of the clean photograph it should say of the animal in the dark as well
(distillation, https://arxiv.org/abs/1503.02531).
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from models import lite0
from models.pictures import fold_of

LABELS = ("red_panda", "other_animal", "blank")
_BATCH = 32
_CHECKPOINT_STEPS = 50
_WARM_UP_STEPS = 50
_FEATURES, _CLASSES = 1280, 1000
_KEPT = 0.5
"""Of the way from the published weights to the tuned ones that is gone in the end (https://arxiv.org/abs/2109.01903):
what was tuned all the way was sure of red pandas in overexposed scenes that it had not seen."""

_CLASSES_SHARE = 0.35
"""Of the loss, for the 1,000 classes."""


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


def rows_of(stems: Sequence[Path], fold: int | None, folds: int) -> list[tuple[int, int, dict[str, Any]]]:
    """The views to learn from: number of the stem, row in it, what it is. None of their sources lies in `fold`."""
    return [
        (s, i, row)
        for s, stem in enumerate(stems)
        for i, row in enumerate(json.loads(stem.with_suffix(".json").read_text()))
        if fold is None or all(fold_of(group, folds) != fold for group in row["source"].split("+"))
    ]


def _teacher(rows: Sequence[dict[str, Any]], path: Path, weights: lite0.Weights) -> tuple[torch.Tensor, torch.Tensor]:
    """What the published network says of the clean photographs behind some views: classes (n, 1000), known (n)."""
    said = torch.zeros(len(rows), _CLASSES)
    known = torch.zeros(len(rows))
    with np.load(path) as features:
        photographs = {group: torch.from_numpy(features[group]) for group in features.files}
    layer = torch.from_numpy(weights["_fc.weight"]), torch.from_numpy(weights["_fc.bias"])
    classes = {g: functional.linear(f, *layer).softmax(1).mean(0) for g, f in photographs.items()}
    for i, row in enumerate(rows):
        behind = [group for group in row["source"].split("+") if group in classes]
        # Where there are several, the first one is what the label is about.
        if behind and row["label"] != "blank":
            said[i], known[i] = classes[behind[0]], 1.0
    return said, known


def _weights(rows: Sequence[dict[str, Any]]) -> npt.NDArray[np.float32]:
    """Rare labels count more, nights a little more: they are what the trial found hardest."""
    labels = [row["label"] for row in rows]
    share = {label: labels.count(label) / len(labels) for label in LABELS}
    weight = [share[str(row["label"])] ** -0.5 * (1.2 if row["night"] else 1.0) for row in rows]
    return np.array(weight, np.float32) / np.float32(np.mean(weight))


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How to train.

    Args:
        stems: views, as `models.views` stores them, and beside each what `models.early` made of it.
        fold: views with a source in it are left out; None for none.
        folds: how many folds there are.
        teacher: .npz of the published network's features (n, 1280) of the clean photographs, by group.
        steps: of 32 views each; the learning rate falls by a cosine to nothing.
        seed: of order, flips and dropout.
        rate: learning rate to begin with.
        checkpoint: written now and then, read if it is there.
    """

    stems: Sequence[Path]
    fold: int | None
    folds: int
    teacher: Path
    steps: int
    seed: int
    rate: float
    checkpoint: Path


def tune(late: Late, weights: lite0.Weights, course: Course) -> None:
    """Train the late blocks in place; they come with the published `weights`."""
    torch.manual_seed(course.seed)
    chosen = rows_of(course.stems, course.fold, course.folds)
    rows = [row for _, _, row in chosen]
    maps = [np.load(stem.with_name(f"{stem.name}_early.npy"), mmap_mode="r") for stem in course.stems]
    target = torch.tensor([LABELS.index(row["label"]) for row in rows])
    weight = torch.from_numpy(_weights(rows))
    said, known = _teacher(rows, course.teacher, weights)
    head, classes = nn.Linear(_FEATURES, len(LABELS)), nn.Linear(_FEATURES, _CLASSES)
    nn.init.zeros_(head.weight)
    classes.load_state_dict(
        {"weight": torch.from_numpy(weights["_fc.weight"]), "bias": torch.from_numpy(weights["_fc.bias"])}
    )
    late.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(
        [
            {"params": late.parameters(), "lr": course.rate, "weight_decay": 1e-3},
            {"params": head.parameters(), "lr": 5 * course.rate, "weight_decay": 1e-2},
            {"params": classes.parameters(), "lr": course.rate, "weight_decay": 1e-3},
        ]
    )

    def pace(step: int) -> float:
        return min(1, (step + 1) / _WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / max(1, course.steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, pace)
    state = {"late": late, "head": head, "classes": classes, "optimiser": optimiser, "schedule": schedule}
    done, recent, began = 0, 1.0, time.monotonic()
    if course.checkpoint.exists():
        stored = torch.load(course.checkpoint, weights_only=True)
        done = stored.pop("step")
        for name, part in state.items():
            part.load_state_dict(stored[name])
    late.train()
    print(f"{len(rows)} views, {course.steps} steps", flush=True)  # noqa: T201 - a command line prints
    for step in range(done, course.steps):
        batch = _batch(step, len(rows), course.seed)
        seen = np.stack([maps[chosen[i][0]][chosen[i][1]] for i in batch])
        x = torch.from_numpy(seen).float().permute(0, 3, 1, 2)
        x = torch.where(torch.rand(_BATCH, 1, 1, 1) < 0.5, x.flip(3), x)  # noqa: PLR2004 - half are mirrored
        features = functional.dropout(late(x.contiguous(memory_format=torch.channels_last)), 0.2)
        loss = functional.cross_entropy(head(features), target[batch], reduction="none", label_smoothing=0.04)
        finer = functional.cross_entropy(classes(features), said[batch], reduction="none") * known[batch]
        mean = ((loss + _CLASSES_SHARE * finer) * weight[batch]).mean()
        optimiser.zero_grad()
        mean.backward()
        nn.utils.clip_grad_norm_(late.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        recent += 0.05 * (float(loss.detach().mean()) - recent)
        if (step + 1) % _CHECKPOINT_STEPS == 0 or step + 1 == course.steps:
            line = f"step {step + 1} of {course.steps}: loss {recent:.3f}, {time.monotonic() - began:.0f} s"
            print(line, flush=True)  # noqa: T201 - a command line prints
            torch.save({"step": step + 1} | {n: p.state_dict() for n, p in state.items()}, course.checkpoint)


def _batch(step: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """The rows of one step: every epoch is another order of all rows."""
    epoch, at = divmod(step, count // _BATCH)
    return np.random.default_rng([seed, epoch]).permutation(count)[at * _BATCH : (at + 1) * _BATCH]


def main() -> None:
    """Tune and write folded weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help=".npz to start from")
    parser.add_argument("--views", type=Path, nargs="+", required=True, help="stems of views")
    parser.add_argument("--teacher", type=Path, required=True, help=".npz of features of the clean photographs")
    parser.add_argument("--out", type=Path, required=True, help=".npz to write")
    parser.add_argument("--fold", type=int, help="leave out views with a source in this fold")
    parser.add_argument("--folds", type=int, required=True, help="how many folds there are")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with np.load(arguments.weights) as published:
        weights = dict(published)
    late = Late(weights)
    course = Course(
        stems=arguments.views,
        fold=arguments.fold,
        folds=arguments.folds,
        teacher=arguments.teacher,
        steps=arguments.steps,
        seed=arguments.seed,
        rate=arguments.rate,
        checkpoint=arguments.out.with_suffix(".checkpoint"),
    )
    tune(late, weights, course)
    tuned = late.folded()
    half_way = {name: weights[name] + np.float32(_KEPT) * (tuned[name] - weights[name]) for name in tuned}
    lite0.save(arguments.out, weights | half_way)


if __name__ == "__main__":
    main()
