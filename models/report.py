"""The evaluation's figures as a page for people: EVALUATION.md and its plots."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from models.answered import Examined
from models.evaluate import BAR, STRICT
from models.golden import write_sums
from models.metrics import Frames

mpl.use("Agg")
# The same figures give the same file, byte for byte.
mpl.rcParams.update({"svg.hashsalt": "ponya", "svg.fonttype": "none", "figure.figsize": (6, 3.6), "font.size": 9})

_INTRODUCTION = """# Evaluation of the red panda model

Written by `python -m models.evaluate`; do not edit. Use, data and limits: [MODEL_CARD.md](MODEL_CARD.md).

**There is no real camera-trap picture of a red panda in this evaluation: none could be found.** Recall is measured on
frames *composed* of cut-out photographs and real trap backgrounds (`models/synthesise.py`). Backbones are int8
throughout. Intervals are 95 %, by bootstrap over sources (photographs, cameras), not frames. Thresholds are chosen on
one half of the test's sources and applied to the other, except where the shipped ones are named.

"""

_CROSSED = """The sources are split into thirds. For each third examined here a model answers that was trained on the
other two; thirds examined: {folds} of 3. The shipped model is trained on all sources by the same recipe;
its own scores on these frames would flatter and are not given.

"""


def write(found: Mapping[str, Any], answers: Examined, folder: Path) -> None:
    """Write EVALUATION.md and plots into the model's folder, and its SHA256SUMS anew."""
    plots = folder / "evaluation"
    plots.mkdir(exist_ok=True)
    _curves(answers.frames(), plots / "curves.svg")
    _bars(found["by_width"], "animal's width / frame's width", plots / "width.svg")
    _bars(found["by_visible"], "share of the animal that can be seen", plots / "visible.svg")
    split = _CROSSED.format(folds=len(found["folds_examined"]))
    page = [_INTRODUCTION, split, "\n".join(_sections(found)), "\n"]
    (folder / "EVALUATION.md").write_text("".join(page))
    write_sums(folder)


def _sections(found: Mapping[str, Any]) -> list[str]:
    lines = ["## Composed frames", "", "### The bar", ""]
    for name, budget in (("bar", BAR), ("strict", STRICT)):
        lines += [
            (
                f"Thresholds such that at most {budget.blank:.0%} of blanks and {budget.other:.0%} of other animals "
                f"are passed on as `panda` or `review`, and {budget.other_as_panda:.0%} of other animals as `panda`; "
                "animals 10 to 50 % of the width:"
            ),
            "",
        ]
        lines += _table(found[name])
    lines += ["### Ranking", "", *_table(found["ranking"])]
    lines += ["![Recall against frames passed on](evaluation/curves.svg)", ""]
    lines += [
        "### Which views are looked at",
        "",
        "| strategy | invokes a frame | recall by day | by night |",
        "|---|---|---|---|",
    ]
    for strategy, row in found["strategies"].items():
        day, night = (_text(row[f"red panda recall, {light}"]) for light in ("day", "night"))
        lines.append(f"| {strategy} | {row['invokes']:.1f} | {day} | {night} |")
    cost = found["invokes"]
    lines += [
        "",
        (
            f"On a card of bursts of three, 70 % of them blank by wind: **{cost['card']:.2f} invokes a frame** (blank "
            f"frames {cost['blank']:.2f}, others {cost['others']:.2f})."
        ),
    ]
    if found["runtimes"]:
        row = found["runtimes"]
        lines += [
            "",
            "### The two runtimes",
            "",
            (
                f"Asked about {row['frames']} of the frames, ai-edge-litert and tflite-runtime 2.14 gave different "
                f"verdicts on {row['verdicts that differ']} ({row['verdicts that differ'] / row['frames']:.1%}); the "
                f"probability of a red panda differed by {row['largest difference of p(red panda)']:.3f} at most."
            ),
        ]
    lines += ["", "### By size and by how much is hidden", "", "![By width](evaluation/width.svg)", ""]
    lines += ["![By visible share](evaluation/visible.svg)", ""]
    lines += [
        "### Bursts through which a red panda passes",
        "",
        (
            "It is on one or two of three frames, 10 to 50 % of the width; thresholds of the first bar, on composed "
            "frames of the other half."
        ),
        "",
        "| | " + " | ".join(found["passing"]) + " |",
        "|---" * (len(found["passing"]) + 1) + "|",
    ]
    for name in next(iter(found["passing"].values())):
        lines.append(f"| {name} | " + " | ".join(_text(row[name]) for row in found["passing"].values()) + " |")
    lines += ["", "### Other animals passed on, by kind of source", "", *_table(found["by_kind"])]
    lines += ["### Verdicts", "", "| on the frame | panda | review | other | blank |", "|---|---|---|---|---|"]
    for label, row in found["confusion"].items():
        lines.append(f"| {label} | " + " | ".join(str(row[v]) for v in ("panda", "review", "other", "blank")) + " |")
    lines += ["", "## Real trap frames", ""]
    lines += [
        "No red panda among them. Of cameras the model never saw, at the shipped thresholds.",
        "",
    ]
    lines += ["| on the frame | frames | passed on |", "|---|---|---|"]
    lines += [f"| {name} | {row['frames']} | {row['passed_on']} |" for name, row in found["real"].items()]
    for title, name in (
        ("Worst misses, composed", "misses"),
        ("Worst false alarms, composed", "false_alarms"),
        ("False alarms on real frames", "real_false_alarms"),
    ):
        lines += ["", f"### {title}", "", "| frame | p(red panda) | night | animal's width |", "|---|---|---|---|"]
        for row in found[name]:
            width = "" if row["animal_width"] is None else f"{row['animal_width']:.2f}"
            lines.append(
                f"| {row['frame']} | {row['panda_probability']:.3f} | {'yes' if row['night'] else ''} | {width} |"
            )
    day, night = (found["thresholds"][light] for light in ("day", "night"))
    lines += ["", "## Thresholds shipped", "", "| | panda | review |", "|---|---|---|"]
    lines += [f"| {n} | {t['panda']:.3f} | {t['review']:.3f} |" for n, t in (("day", day), ("night", night))]
    return lines


def _table(figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    lines = ["| | value | 95 % interval | frames |", "|---|---|---|---|"]
    for name, f in figures.items():
        lines.append(f"| {name} | {f['value']:.3f} | {f['low']:.3f} to {f['high']:.3f} | {f['frames']:.0f} |")
    return [*lines, ""]


def _text(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.2f} [{figure['low']:.2f}, {figure['high']:.2f}]"


def _curves(frames: Frames, path: Path) -> None:
    """Recall of red pandas against the share of other frames passed on, as the threshold moves."""
    figure, axes = plt.subplots(layout="constrained")
    for light, night, style in (("day", False, "-"), ("night", True, "--")):
        part = frames.where(frames.night == night)
        cuts = np.unique(part.panda)
        recall = [(part.panda[part.label == "red_panda"] >= c).mean() for c in cuts]
        for label, colour in (("other_animal", "tab:orange"), ("blank", "tab:blue")):
            false = [(part.panda[part.label == label] >= c).mean() for c in cuts]
            axes.plot(false, recall, style, color=colour, label=f"{label}, {light}")
    axes.set(xlabel="share of frames without a red panda passed on", ylabel="recall of red pandas", xlim=(0, 0.3))
    axes.legend()
    axes.grid(alpha=0.3)
    _save(figure, path)


def _bars(table: Mapping[str, Mapping[str, float]], quantity: str, path: Path) -> None:
    figure, axes = plt.subplots(layout="constrained")
    for offset, light, colour in ((-0.2, "day", "tab:orange"), (0.2, "night", "tab:gray")):
        rows = {name.split(",")[0]: f for name, f in table.items() if name.endswith(f", {light}") and f["frames"]}
        at = np.arange(len(rows)) + offset
        value = np.array([f["value"] for f in rows.values()])
        spread = np.array([(f["value"] - f["low"], f["high"] - f["value"]) for f in rows.values()]).clip(0).T
        axes.bar(at, value, 0.38, yerr=spread, capsize=2, color=colour, label=light)
        axes.set_xticks(np.arange(len(rows)), list(rows))
    axes.set(xlabel=quantity, ylabel="recall of red pandas", ylim=(0, 1.02))
    axes.legend(loc="lower right")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
