"""Fine-tuning the backbone on composed views. Runs in the model-building environment (torch).

All of the network is trained, its early blocks at a slower rate, in bfloat16 where the processor has it. Interrupted,
it goes on from its last checkpoint.

There are few animals to learn from, so the network is also asked to go on telling the 1,000 classes it was published
for: what the published network says of the clean photograph it should say of the animal in the dark as well
(distillation, https://arxiv.org/abs/1503.02531). What is written lies part of the way from the published weights to
the tuned ones (`lite0.between`).

Beside the features the network learns to tell *where* in a picture a red panda is likeliest, for each of 7 x 7 cells:
that is where the gateway looks closer (`edge_module.scorer`). By which weights that is told `models.settle` fits last.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from models import lite0
from models.network import Network, prepared
from models.pictures import fold_of

LABELS = ("red_panda", "other_animal", "blank")
_BATCH, PART = 32, 8
"""Views of a step; so many go through the network at once, for their maps stay in the processor's cache: half the time
in float."""

_CHECKPOINT_STEPS = 50
_WARM_UP_STEPS = 100
FEATURES, _CLASSES = 1280, 1000
_EARLY_BLOCKS, _EARLY_PACE = 9, 0.3
"""The stem and so many blocks know edges and textures: they learn at a fraction of the rate."""

_CLASSES_SHARE, _WHERE_SHARE = 0.35, 0.5
"""Of the loss, for the 1,000 classes, and for where."""

_OTHER_WORTH = 0.3
"""Where there is no red panda, another animal is worth a closer look, too: it might be one."""

_CELLS, _FINE = 7, 8
_MISSING = 0.25
"""How often a part of a picture is covered."""


def rows_of(stems: Sequence[Path], fold: int | None, folds: int) -> list[tuple[int, int, dict[str, Any]]]:
    """The views to learn from: number of the stem, row in it, what it is. None of their sources lies in `fold`."""
    return [
        (s, i, row)
        for s, stem in enumerate(stems)
        for i, row in enumerate(json.loads(stem.with_suffix(".json").read_text()))
        if all(fold_of(group, folds) != fold for group in row["source"].split("+"))
    ]


def _teacher(rows: Sequence[dict[str, Any]], path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """What the published network says of the clean photographs behind some views: classes (n, 1000), known (n)."""
    said = torch.zeros(len(rows), _CLASSES)
    known = torch.zeros(len(rows))
    with np.load(path) as kept:
        classes = {group: torch.from_numpy(kept[group]) for group in kept.files}
    for i, row in enumerate(rows):
        behind = [group for group in row["source"].split("+") if group in classes]
        # Where there are several, the first one is what the label is about.
        if behind and row["label"] != "blank":
            said[i], known[i] = classes[behind[0]], 1.0
    return said, known


def _weights(rows: Sequence[dict[str, Any]]) -> npt.NDArray[np.float32]:
    """Rare labels count more, nights a little more: they are what the trial found hardest. Where unsure, nothing."""
    labels = [row["label"] for row in rows]
    share = {label: labels.count(label) / len(labels) for label in LABELS}
    weight = [
        share[label] ** -0.5 * (1.2 if row["night"] else 1.0) if (label := str(row["label"])) in share else 0.0
        for row in rows
    ]
    return np.array(weight, np.float32) / np.float32(np.mean(weight))


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How to train.

    Args:
        stems: views, as `models.views` stores them.
        fold: views with a source in it are left out.
        folds: how many folds there are.
        teacher: .npz of what the published network says of the clean photographs, (1000) by group.
        steps: of 32 views each; the learning rate falls by a cosine to nothing.
        seed: of order, changes of pictures and dropout.
        rate: learning rate to begin with.
        checkpoint: written now and then, read if it is there.
    """

    stems: Sequence[Path]
    fold: int
    folds: int
    teacher: Path
    steps: int
    seed: int
    rate: float
    checkpoint: Path


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lessons:
    """All views a network may learn from, and what is known of them."""

    views: Sequence[npt.NDArray[np.uint8]]
    rows: Sequence[tuple[int, int, dict[str, Any]]]

    @classmethod
    def of(cls, stems: Sequence[Path], fold: int | None, folds: int) -> Self:
        """The views stored under some stems, but those with a source in `fold`."""
        return cls(
            views=[np.load(stem.with_suffix(".npy"), mmap_mode="r") for stem in stems],
            rows=rows_of(stems, fold, folds),
        )

    def batch(self, step: int, seed: int) -> npt.NDArray[np.int64]:
        """The rows of one step: every epoch is another order of all rows."""
        epoch, at = divmod(step, len(self.rows) // _BATCH)
        order = np.random.default_rng([seed, epoch]).permutation(len(self.rows))
        return order[at * _BATCH : (at + 1) * _BATCH]

    def seen(self, batch: npt.NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pictures, changed; what each of 7 x 7 cells is worth (n, 7, 7); whether that is known (n)."""
        chosen = [self.rows[i] for i in batch]
        x, worth = changed(
            prepared(np.stack([self.views[stem][row] for stem, row, _ in chosen])),
            torch.stack([_worth(row) for _, _, row in chosen]),
        )
        return x, worth, torch.tensor([float(row["known"]) for _, _, row in chosen])


def _worth(row: dict[str, Any]) -> torch.Tensor:
    """1 where a red panda is, less where another animal is: (56, 56)."""
    side = _CELLS * _FINE
    worth = torch.zeros(side, side)
    if row["animal"]:
        left, top, right, bottom = (round(v * side) for v in row["animal"])
        panda = any(group.startswith("red_panda") for group in row["source"].split("+"))
        worth[top : max(bottom, top + 1), left : max(right, left + 1)] = 1.0 if panda else _OTHER_WORTH
    return worth


def where_loss(said: torch.Tensor, worth: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Cross entropy of cells; those with an animal count as much as all the others."""
    loss = functional.binary_cross_entropy_with_logits(said, worth, reduction="none") * known[:, None, None]
    with_animal = (worth > 0.1).float() * known[:, None, None]  # noqa: PLR2004 - a tenth of a cell
    without = known[:, None, None] - with_animal
    return (loss * with_animal).sum() / with_animal.sum().clamp(min=1) + (loss * without).sum() / without.sum().clamp(
        min=1
    )


def precision() -> torch.autocast:
    """Where the processor must imitate bfloat16, it takes ten times as long as float."""
    return torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu.get_capabilities()["avx512_bf16"])


def tune(network: Network, weights: lite0.Weights, lessons: Lessons, course: Course) -> None:
    """Train the network in place; it comes with the published `weights`."""
    torch.manual_seed(course.seed)
    rows = [row for _, _, row in lessons.rows]
    target = torch.tensor([LABELS.index(row["label"]) if row["label"] in LABELS else 0 for row in rows])
    weight = torch.from_numpy(_weights(rows))
    said, known = _teacher(rows, course.teacher)
    head, classes = nn.Linear(FEATURES, len(LABELS)), nn.Linear(FEATURES, _CLASSES)
    nn.init.zeros_(head.weight)
    classes.load_state_dict(
        {"weight": torch.from_numpy(weights["_fc.weight"]), "bias": torch.from_numpy(weights["_fc.bias"])}
    )
    where = nn.Conv2d(FEATURES, 1, 1)
    early, late = network.parts[: 1 + _EARLY_BLOCKS], network.parts[1 + _EARLY_BLOCKS :]
    optimiser = torch.optim.AdamW(
        [
            {"params": early.parameters(), "lr": _EARLY_PACE * course.rate, "weight_decay": 1e-3},
            {"params": late.parameters(), "lr": course.rate, "weight_decay": 1e-3},
            {"params": [*head.parameters(), *where.parameters()], "lr": 5 * course.rate, "weight_decay": 1e-2},
            {"params": classes.parameters(), "lr": course.rate, "weight_decay": 1e-3},
        ]
    )

    def pace(step: int) -> float:
        return min(1, (step + 1) / _WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / max(1, course.steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, pace)
    state = {
        "network": network, "head": head, "classes": classes, "where": where, "optimiser": optimiser,
        "schedule": schedule,
    }  # fmt: skip
    done, recent, began = 0, 1.0, time.monotonic()
    if course.checkpoint.exists():
        stored = torch.load(course.checkpoint, weights_only=True)
        done = stored.pop("step")
        for name, part in state.items():
            part.load_state_dict(stored[name])
    network.train()
    print(f"{len(rows)} views, {course.steps} steps", flush=True)  # noqa: T201 - a command line prints
    for step in range(done, course.steps):
        optimiser.zero_grad()
        losses = []
        for batch in np.split(lessons.batch(step, course.seed), _BATCH // PART):
            x, worth, told = lessons.seen(batch)
            with precision():
                maps = network.maps(x)
                features = functional.dropout(maps.mean((2, 3)), 0.2)
                coarse, fine, place = head(features).float(), classes(features).float(), where(maps)[:, 0].float()
            loss = functional.cross_entropy(coarse, target[batch], reduction="none", label_smoothing=0.04)
            finer = functional.cross_entropy(fine, said[batch], reduction="none") * known[batch]
            mean = ((loss + _CLASSES_SHARE * finer) * weight[batch]).mean() + _WHERE_SHARE * where_loss(
                place, worth, told
            )
            (mean * (PART / _BATCH)).backward()
            losses.append(float(loss.detach().mean()))
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        recent += 0.05 * (sum(losses) / len(losses) - recent)
        if (step + 1) % _CHECKPOINT_STEPS == 0 or step + 1 == course.steps:
            line = f"step {step + 1} of {course.steps}: loss {recent:.3f}, {time.monotonic() - began:.0f} s"
            print(line, flush=True)  # noqa: T201 - a command line prints
            torch.save({"step": step + 1} | {n: p.state_dict() for n, p in state.items()}, course.checkpoint)


def changed(x: torch.Tensor, worth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each picture a little otherwise: mirrored, zoomed, shifted, lit; some with a part missing.

    Args:
        x: (n, 3, 224, 224)
        worth: (n, 56, 56)

    Returns:
        x, and what became of worth, in cells: (n, 7, 7).
    """
    n = len(x)
    zoom = torch.empty(n).uniform_(0.75, 1.05)
    turn = torch.zeros(n, 2, 3)
    turn[:, 0, 0] = zoom * torch.where(torch.rand(n) < 0.5, -1.0, 1.0)  # noqa: PLR2004 - half are mirrored
    turn[:, 1, 1] = zoom * torch.empty(n).uniform_(0.9, 1.1)
    turn[:, :, 2] = torch.empty(n, 2).uniform_(-1, 1) * (1 - zoom.clamp(max=1.0))[:, None] * 0.8
    grid = functional.affine_grid(turn, list(x.shape), align_corners=False)
    x = functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    fine = functional.affine_grid(turn, [n, 1, *worth.shape[1:]], align_corners=False)
    worth = functional.grid_sample(worth[:, None], fine, align_corners=False)
    x = x * torch.empty(n, 1, 1, 1).uniform_(0.75, 1.25) + torch.empty(n, 1, 1, 1).uniform_(-0.15, 0.15)
    for i in (torch.rand(n) < _MISSING).nonzero().flatten().tolist():
        size, at = torch.randint(30, 90, (2,)), torch.randint(0, 160, (2,))
        x[i, :, at[0] : at[0] + size[0], at[1] : at[1] + size[1]] = float(torch.empty(1).uniform_(-0.8, 0.6))
    x = x.clamp(-1, 1).contiguous(memory_format=torch.channels_last)
    return x, functional.avg_pool2d(worth, _FINE)[:, 0]


def main() -> None:
    """Tune and write folded weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help=".npz to start from")
    parser.add_argument("--views", type=Path, nargs="+", required=True, help="stems of views")
    parser.add_argument("--teacher", type=Path, required=True, help=".npz of what the published network says")
    parser.add_argument("--out", type=Path, required=True, help=".npz to write")
    parser.add_argument("--fold", type=int, required=True, help="leave out views with a source in this fold")
    parser.add_argument("--folds", type=int, required=True, help="how many folds there are")
    parser.add_argument("--kept", type=float, required=True, help="of the way to the tuned weights: 0 to 1")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the other processor trains the other fold
    with np.load(arguments.weights) as published:
        weights = dict(published)
    network = Network(weights)
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
    lessons = Lessons.of(course.stems, course.fold, course.folds)
    tune(network, weights, lessons, course)
    lite0.save(arguments.out, weights | lite0.between(weights, network.folded(), arguments.kept))


if __name__ == "__main__":
    main()
