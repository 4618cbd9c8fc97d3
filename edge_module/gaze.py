"""Where to look closer: what a glance at the whole frame found suspicious, an animal that sits still among it."""

from typing import Final

import numpy as np
import numpy.typing as npt

from edge_module.domain import Box

_SIDE: Final = 1 / 3
"""Of the frame: what is 10 % of the width becomes a third of the picture, and the peak may be off by a cell."""


def closer(where: npt.NDArray[np.float32]) -> Box:
    """The part of a frame in which a red panda is likeliest: around the peak and what is high beside it.

    The middle moves with the heights and does not jump from cell to cell: two runtimes round them differently. It is
    rounded itself, for a hair's breadth makes another picture of the part.

    Args:
        where: how likely one is in each part, shape (rows, columns), as `backbone.Look` has it.
    """
    rows, columns = where.shape
    row, column = divmod(int(np.argmax(where)), columns)
    beside = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
    weight = np.exp(where[beside] - where[row, column])
    y, x = (np.indices(where.shape)[:, beside[0], beside[1]] * weight).sum(axis=(1, 2)) / weight.sum() + 0.5
    return Box.square(round(float(x) / columns, 3), round(float(y) / rows, 3), _SIDE)
