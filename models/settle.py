"""Where to look closer, fitted to a network that no longer changes.

`python -m models.settle --weights MEAN.npz ...`: the weights of a cell's features by which `models.convert` tells where
in a picture a red panda is likeliest. For averaged networks the mean of their own will not do: it finds fewer animals.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models import lite0
from models.finetune import FEATURES, PART, Lessons, precision, where_loss
from models.network import Network

_STEPS, _RATE, _SEED = 400, 3e-3, 1
"""Of 32 views each; the learning rate falls evenly to nothing."""


def settle(network: Network, where: nn.Module, lessons: Lessons) -> None:
    """Fit `where` in place."""
    torch.manual_seed(_SEED)
    optimiser = torch.optim.AdamW(where.parameters(), lr=_RATE, weight_decay=1e-3)
    network.eval()
    for step in range(_STEPS):
        x, worth, known = lessons.seen(lessons.batch(step, _SEED))
        with torch.no_grad(), precision():
            maps = torch.cat([network.maps(part) for part in x.split(PART)]).float()
        optimiser.zero_grad()
        loss = where_loss(where(maps)[:, 0], worth, known)
        loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = _RATE * (1 - step / _STEPS)
        optimiser.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1} of {_STEPS}: loss {float(loss.detach()):.3f}", flush=True)  # noqa: T201 - a command line prints


def main() -> None:
    """Fit, and write the weights with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help=".npz of the network")
    parser.add_argument("--views", type=Path, nargs="+", required=True, help="stems of views")
    parser.add_argument("--out", type=Path, required=True, help=".npz to write")
    parser.add_argument("--fold", type=int, help="leave out views with a source in this fold")
    parser.add_argument("--folds", type=int, required=True, help="how many folds there are")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the other processor is at another fold
    with np.load(arguments.weights) as stored:
        weights = dict(stored)
    where = nn.Conv2d(FEATURES, 1, 1)
    nn.init.zeros_(where.weight)
    settle(Network(weights), where, Lessons.of(arguments.views, arguments.fold, arguments.folds))
    lite0.save(arguments.out, weights | {"_where.weight": where.weight.detach().numpy().reshape(-1)})


if __name__ == "__main__":
    main()
