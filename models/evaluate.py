"""How good the model is: `python -m models.evaluate` writes models/red_panda/EVALUATION.md and its plots.

Everything is computed from stored features (`models.exam`): of each fold by the model that never saw it, and with
thresholds chosen on the other half of the test sources. `--json` prints the figures for machines. `--folder DIR` judges
anyone's own labelled pictures with the shipped model instead (see `models.folders`).
"""

import argparse
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_module.domain import LABEL_PANDA, Fate, Scores
from edge_module.errors import PonyaError
from edge_module.head import Head
from edge_module.model_store import SHIPPED_MODEL_DIR
from edge_module.verdict import DayNight, judge
from models import BUILD_DIR, exam
from models.answered import ALONE, SHIPPED, STRATEGIES, Examined, examined, folds_examined, scored
from models.kinds import kind_of
from models.metrics import (
    Budget,
    Figure,
    Flags,
    Frames,
    Numbers,
    average_precision,
    blanks_rejected,
    choose,
    judged_panda,
    over_sources,
    passed,
    share,
)
from models.sit import TILE, Answers

logger = logging.getLogger(__name__)

BAR = Budget(blank=0.02, other=0.10, other_as_panda=0.02)
STRICT = Budget(blank=0.02, other=0.05, other_as_panda=0.02)
"""The two operating points of the project's bar."""

_OTHER_SHARE, _SURE_SHARE = 0.9, 0.4
"""Thresholds are chosen for so much of what is allowed of other animals to be passed on, and to be judged `panda`: the
frames that reach them are of a few sources, and other sources exceed what was allowed."""

BAR_WIDTHS = (0.10, 0.50)
_WIDTH_EDGES = (0.06, 0.10, 0.15, 0.22, 0.32, 0.50, 1.01)


OTHER_RUNTIME_EVERY = 3
"""tflite-runtime takes ten times as long: every third burst is asked about."""


def other_runtime(fold: int, folder: Path) -> Path:
    """Where the answers by the other runtime are, to every `OTHER_RUNTIME_EVERY`-th burst."""
    return folder / f"exam_{fold}_composed_tflite.npz"


def _runtimes(thresholds: DayNight, build_dir: Path) -> dict[str, float]:
    """Verdicts by the two runtimes compared, at the shipped thresholds; empty where the other was not asked."""
    frames = differ = 0
    most = 0.0
    for fold in folds_examined(build_dir):
        folder = build_dir / "candidates" / f"without_{fold}"
        if not other_runtime(fold, folder).exists():
            continue
        asked = json.loads(exam.paper(fold, "composed", build_dir).read_text())
        head = Head.from_json((folder / "head.json").read_bytes())
        ours, theirs = (Answers.load(p) for p in (exam.answers(fold, "composed", folder), other_runtime(fold, folder)))
        panda = head.labels.index(LABEL_PANDA)
        said, frames_of = [], np.unique(theirs.owner)
        for answers in (ours, theirs):
            of_these = np.isin(answers.owner, frames_of) & (answers.view != TILE)
            owner = np.searchsorted(frames_of, answers.owner[of_these])
            event = np.array([asked[i]["event"] for i in frames_of])
            probabilities = head.probabilities(answers.features[of_these])
            said.append(
                scored(STRATEGIES[SHIPPED], probabilities, owner, answers.view[of_these], event, labels=head.labels)
            )
        night = np.array([asked[i]["night"] for i in frames_of])
        verdicts = [_verdicts(probabilities, night, head.labels, thresholds) for probabilities in said]
        frames += len(frames_of)
        differ += sum(a is not b for a, b in zip(*verdicts, strict=True))
        most = max(most, float(np.abs(said[0][:, panda] - said[1][:, panda]).max()))
    if not frames:
        return {}
    return {"frames": frames, "verdicts that differ": differ, "largest difference of p(red panda)": most}


def _verdicts(
    probabilities: npt.NDArray[np.float32], night: Flags, labels: Sequence[str], thresholds: DayNight
) -> list[Fate]:
    rounded = np.round(probabilities, 3).tolist()
    return [
        judge(Scores(probabilities=dict(zip(labels, row, strict=True)), night=bool(dark), view=""), thresholds)
        for row, dark in zip(rounded, night, strict=True)
    ]


def _cost(answers: Examined) -> dict[str, float]:
    """Invokes a frame on the cards that the project's bar is about: 70 % blank by wind, bursts of 3."""
    blank = answers.column("label") == "blank"
    empty, others = float(answers.looks[blank].mean()), float(answers.looks[~blank].mean())
    return {"blank": empty, "others": others, "card": 0.7 * empty + 0.3 * others}


def thresholds_to_ship(build_dir: Path = BUILD_DIR) -> DayNight:
    """Thresholds for the bar's first operating point, chosen on all composed test frames."""
    return _chosen(examined("composed", build_dir).frames(), BAR)


def temperature(build_dir: Path = BUILD_DIR) -> float:
    """What to divide logits by so that probabilities fit the composed test frames best (least log loss)."""
    answers = examined("composed", build_dir)
    rows = np.arange(len(answers.questions))
    truth = np.array([answers.labels.index(label) for label in answers.column("label")])
    logits = np.log(answers.best[SHIPPED].astype(np.float64) + 1e-12)

    def loss(divisor: float) -> float:
        scaled = logits / divisor
        return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[rows, truth]).mean())

    return float(min(np.arange(1.0, 8.01, 0.25), key=loss))


def _half(source: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    return np.array([sha256(s.encode()).digest()[1] % 2 for s in source])


def _chosen(frames: Frames, budget: Budget) -> DayNight:
    other, sure = _OTHER_SHARE * budget.other, _SURE_SHARE * budget.other_as_panda
    return choose(frames, replace(budget, other=other, other_as_panda=sure))


def _cross(
    frames: Frames, budget: Budget, decide: Callable[[Frames, DayNight], Flags], by: Frames | None = None
) -> Flags:
    """Decide on each half of the sources by thresholds chosen on the other half, of `by` where that is given."""
    half, decided, chosen_on = _half(frames.source), np.zeros(len(frames.panda), bool), by or frames
    for h in (0, 1):
        thresholds = _chosen(chosen_on.where(_half(chosen_on.source) != h), budget)
        decided[half == h] = decide(frames.where(half == h), thresholds)
    return decided


def _bar(answers: Examined, strategy: str, budget: Budget) -> dict[str, Figure]:
    frames, width = answers.frames(strategy), answers.column("animal_width").astype(np.float64)
    if STRATEGIES[strategy].single:
        frames, width = frames.where(answers.single), width[answers.single]
    on = _cross(frames, budget, passed)
    sure = _cross(frames, budget, judged_panda)
    wide = (width >= BAR_WIDTHS[0]) & (width <= BAR_WIDTHS[1])
    found = {}
    for name, light in (("day", ~frames.night), ("night", frames.night)):
        pandas = (frames.label == "red_panda") & wide & light
        found[f"red panda recall, {name}"] = share(on[pandas], frames.source[pandas])
        for label in ("blank", "other_animal"):
            chosen = (frames.label == label) & light
            found[f"{label} passed on, {name}"] = share(on[chosen], frames.source[chosen])
        others = (frames.label == "other_animal") & light
        found[f"other_animal judged panda, {name}"] = share(sure[others], frames.source[others])
    return found


def _passing(answers: Examined, passing: Examined, strategy: str) -> dict[str, Figure]:
    """Bursts with a red panda on some of the three frames only: none may be lost among the empty ones."""
    frames, width = passing.frames(strategy), passing.column("animal_width").astype(np.float64)
    on = _cross(frames, BAR, passed, by=answers.frames(strategy))
    there, times = frames.label == LABEL_PANDA, []
    for _, burst in groupby(passing.questions, key=itemgetter("event")):
        labels = [question["label"] for question in burst]
        times += [labels.count(LABEL_PANDA)] * len(labels)
    wide = there & (width >= BAR_WIDTHS[0]) & (width <= BAR_WIDTHS[1])
    chosen = {f"found on {n} of 3": wide & (np.array(times) == n) for n in (1, 2)} | {"empty, passed on": ~there}
    return {
        f"{name}, {light}": share(on[rows & lit], frames.source[rows & lit])
        for name, rows in chosen.items()
        for light, lit in (("day", ~frames.night), ("night", frames.night))
    }


def figures(build_dir: Path = BUILD_DIR) -> dict[str, Any]:
    """Every figure of the report, as plain values."""
    answers, passing, trap = (examined(kind, build_dir) for kind in exam.PAPERS)
    frames = answers.frames()
    on = _cross(frames, BAR, passed)
    positive = frames.label == "red_panda"
    width, visible = (answers.column(name).astype(np.float64) for name in ("animal_width", "visible"))
    shipped = thresholds_to_ship(build_dir)
    real = trap.frames()
    real_on = passed(real, shipped)
    precision = on & ((width >= BAR_WIDTHS[0]) | ~positive)
    return {
        "folds_examined": folds_examined(build_dir),
        "thresholds": asdict(shipped),
        "bar": {name: asdict(f) for name, f in _bar(answers, SHIPPED, BAR).items()},
        "strict": {name: asdict(f) for name, f in _bar(answers, SHIPPED, STRICT).items()},
        "ranking": {
            "precision on the test's mix": asdict(share(positive[precision], frames.source[precision])),
            "blanks rejected at 96 % recall": asdict(
                over_sources(_wide(frames, width), lambda f: blanks_rejected(f, 0.96))
            ),
            "average precision, day": asdict(over_sources(frames.where(~frames.night), average_precision)),
            "average precision, night": asdict(over_sources(frames.where(frames.night), average_precision)),
        },
        "by_width": _by(width, _WIDTH_EDGES, on, frames, positive),
        "by_visible": _by(visible, (0.0, 0.4, 0.6, 0.8, 1.01), on, frames, positive),
        "by_kind": _by_kind(frames, on),
        "strategies": {
            strategy: {"invokes": answers.invokes[strategy]}
            | {name: asdict(f) for name, f in _bar(answers, strategy, BAR).items() if name.startswith("red panda")}
            for strategy in STRATEGIES
        },
        "passing": {
            name: {row: asdict(f) for row, f in _passing(answers, passing, strategy).items()}
            for name, strategy in (("each frame alone", ALONE), ("together (shipped)", SHIPPED))
        },
        "real": {
            f"{label}, {name}": {"frames": int(chosen.sum()), "passed_on": int(real_on[chosen].sum())}
            for label in ("blank", "other_animal", "human", "vehicle")
            for name, light in (("day", ~real.night), ("night", real.night))
            if (chosen := (real.label == label) & light).any()
        },
        "invokes": _cost(answers),
        "runtimes": _runtimes(shipped, build_dir),
        "confusion": _confusion(answers, shipped),
        "misses": _worst(answers, positive & ~on, ascending=True),
        "false_alarms": _worst(answers, ~positive & on, ascending=False),
        "real_false_alarms": _worst(trap, real_on, ascending=False),
    }


def _wide(frames: Frames, width: Numbers) -> Frames:
    inside = (width >= BAR_WIDTHS[0]) & (width <= BAR_WIDTHS[1])
    return frames.where(inside | (frames.label != "red_panda"))


def _by(
    quantity: Numbers, edges: Sequence[float], on: Flags, frames: Frames, positive: Flags
) -> dict[str, dict[str, Any]]:
    table = {}
    for low, high in pairwise(edges):
        for name, light in (("day", ~frames.night), ("night", frames.night)):
            chosen = positive & light & (quantity >= low) & (quantity < high)
            table[f"{low:.2f}-{min(high, 1.0):.2f}, {name}"] = asdict(share(on[chosen], frames.source[chosen]))
    return table


def _by_kind(frames: Frames, on: Flags) -> dict[str, dict[str, Any]]:
    """What is passed on of other animals, by what they are."""
    kinds = np.array([kind_of(source) for source in frames.source])
    others = frames.label == "other_animal"
    return {
        f"{kind}, {name}": asdict(share(on[chosen], frames.source[chosen]))
        for kind in sorted(set(kinds[others]))
        for name, light in (("day", ~frames.night), ("night", frames.night))
        if (chosen := others & light & (kinds == kind)).any()
    }


def _confusion(answers: Examined, thresholds: DayNight) -> dict[str, dict[str, int]]:
    frames = answers.frames()
    rest = [answers.labels.index(label) for label in ("other_animal", "blank")]
    likelier = np.array(["other", "blank"])[answers.best[SHIPPED][:, rest].argmax(axis=1)]
    verdict = np.where(passed(frames, thresholds), "review", likelier)
    verdict = np.where(judged_panda(frames, thresholds), "panda", verdict)
    return {
        label: {v: int(((frames.label == label) & (verdict == v)).sum()) for v in ("panda", "review", "other", "blank")}
        for label in ("red_panda", "other_animal", "blank")
    }


def _worst(answers: Examined, chosen: Flags, *, ascending: bool) -> list[dict[str, Any]]:
    panda = answers.frames().panda
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(panda[rows] if ascending else -panda[rows], kind="stable")][:15]
    return [
        {
            "frame": answers.questions[i]["name"],
            "panda_probability": float(panda[i]),
            "night": answers.questions[i]["night"],
            "animal_width": answers.questions[i]["animal_width"],
        }
        for i in rows
    ]


def main() -> int:
    """Evaluate."""
    from models import folders, report  # noqa: PLC0415 - matplotlib is slow to load and seldom wanted

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print figures for machines")
    parser.add_argument("--folder", type=Path, help="labelled pictures of your own")
    parser.add_argument("--build", type=Path, default=BUILD_DIR, help="where models.train left its work")
    parser.add_argument("--out", type=Path, default=SHIPPED_MODEL_DIR, help="the model's folder to write the page into")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        found = folders.judge_folder(arguments.folder) if arguments.folder else figures(arguments.build)
    except PonyaError as exc:
        logger.error("%s", exc)  # noqa: TRY400 - the reason is in the words, not in a traceback
        return 2
    if arguments.json:
        print(json.dumps(found, indent=1))  # noqa: T201 - a command line prints
    elif arguments.folder:
        print(folders.as_text(found))  # noqa: T201
    else:
        report.write(found, examined("composed", arguments.build), arguments.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
