"""build/soak.png: what the gateway took, day by day."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl

from tests.soak.samples import Sample

mpl.use("Agg")

from matplotlib import pyplot as plt

_PANELS: Final = (
    ("memory_mb", "memory, MB"),
    ("descriptors", "descriptors"),
    ("threads", "threads"),
    ("ledger_mb", "ledger, MB"),
    ("disk_mb", "disk, MB"),
)


def draw(samples: Sequence[Sample], marks: Sequence[tuple[float, str]], path: Path) -> None:
    """Draw a panel for each measure.

    Args:
        samples: in order.
        marks: days and what happened then, such as restarts.
        path: the picture.
    """
    figure, panels = plt.subplots(len(_PANELS), 1, sharex=True, figsize=(11, 12), layout="constrained")
    days = [sample.day for sample in samples]
    for panel, (name, label) in zip(panels, _PANELS, strict=True):
        panel.plot(days, [getattr(sample, name) for sample in samples], linewidth=0.8)
        panel.set_ylabel(label)
        panel.set_ylim(bottom=0)
        for day, _ in marks:
            panel.axvline(day, color="0.7", linewidth=0.6, linestyle=":")
    for day, what in marks:
        panels[0].annotate(what, (day, 0), fontsize=6, rotation=90, va="bottom")
    panels[-1].set_xlabel("day")
    figure.savefig(path, dpi=110)
    plt.close(figure)
