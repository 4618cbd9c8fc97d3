"""What the models made of the test frames: stored answers (`models.exam`, `models.sit`) to scores of frames.

By strategy, so that what each view of a frame is worth can be told from one examination.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_module.domain import LABEL_PANDA
from edge_module.errors import PonyaError
from edge_module.head import Head
from edge_module.scorer import CLOSER, FULL, HOPE_MIN, MOTION, confirmed, pooled
from models import BUILD_DIR, exam
from models.metrics import Flags, Frames
from models.sit import TILE, Answers
from models.views import FOLDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """Which views of a frame are looked at, and how frames are scored.

    Args:
        views: names of views; the one in which a red panda is likeliest counts.
        hope: whether a closer look is spared where the looks before leave none (`edge_module.scorer`, rule 2).
        together: whether the frames of a burst draw each other towards their mean (rule 4).
        single: examined on one frame of each burst alone, as where there is no burst.
    """

    views: tuple[str, ...]
    hope: bool = False
    together: bool = False
    single: bool = False

    def uses(
        self, panda: npt.NDArray[Any], owner: npt.NDArray[Any], view: npt.NDArray[Any], event: npt.NDArray[Any]
    ) -> Flags:
        """Of all views of many frames, with what each says, those that are looked at."""
        used = np.isin(view, self.views)
        if self.hope:
            before, first = np.zeros(int(event.max()) + 1), used & (view != CLOSER)
            np.maximum.at(before, event[owner[first]], panda[first])
            moved = np.isin(owner, owner[view == MOTION])
            used &= (view != CLOSER) | ~moved | (before[event[owner]] >= HOPE_MIN)
        return np.asarray(used, bool)


ALONE = "full frame + motion crop + closer"
SHIPPED = "full frame, motion crop, closer where there is hope; burst together (shipped)"
STRATEGIES: Mapping[str, Strategy] = {
    "full frame": Strategy(views=(FULL,)),
    "full frame + motion crop": Strategy(views=(FULL, MOTION)),
    "full frame + closer": Strategy(views=(FULL, CLOSER)),
    ALONE: Strategy(views=(FULL, MOTION, CLOSER)),
    "the same, burst together": Strategy(views=(FULL, MOTION, CLOSER), together=True),
    SHIPPED: Strategy(views=(FULL, MOTION, CLOSER), hope=True, together=True),
    "single frames: full frame": Strategy(views=(FULL,), single=True),
    "single frames: full frame + closer (shipped)": Strategy(views=(FULL, CLOSER), single=True),
    "single frames: full frame + 6 tiles": Strategy(views=(FULL, TILE), single=True),
}


class NotExamined(PonyaError):  # noqa: N818 - says what is the case
    """There are no stored features to evaluate."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examined:
    """Test frames and what the models made of them, one element a frame.

    Args:
        questions: what is known of each frame, as `models.exam` stored it.
        best: by strategy, probabilities (n, labels) of the view in which a red panda is likeliest.
        invokes: by strategy, how often the backbone ran, on average.
        single: the frames that have been examined alone.
        looks: how often the backbone runs for each frame, by the shipped strategy.
    """

    questions: list[dict[str, Any]]
    best: Mapping[str, npt.NDArray[np.float32]]
    invokes: Mapping[str, float]
    single: Flags
    looks: npt.NDArray[np.int64]
    labels: tuple[str, ...]

    def column(self, name: str) -> npt.NDArray[Any]:
        """One thing known of all frames."""
        return np.array([np.nan if q[name] is None else q[name] for q in self.questions])

    def frames(self, strategy: str = SHIPPED) -> Frames:
        """Scores of a strategy, rounded as the gateway rounds them."""
        return Frames(
            panda=np.array([round(float(p), 3) for p in self.best[strategy][:, self.labels.index("red_panda")]]),
            label=self.column("label"),
            night=self.column("night").astype(bool),
            source=self.column("source"),
        )


def folds_examined(build_dir: Path = BUILD_DIR) -> list[int]:
    """The folds about which a model that never saw them has been asked.

    Raises:
        NotExamined: there is none.
    """
    found = [f for f in range(FOLDS) if exam.answers(f, "real", build_dir / "candidates" / f"without_{f}").exists()]
    if not found:
        raise NotExamined(f"{build_dir / 'candidates'}: no fold has been examined; run python -m models.train first")
    return found


def best_views(panda: npt.NDArray[np.float32], owner: npt.NDArray[Any], frames: int) -> npt.NDArray[np.int64]:
    """For each frame the row of its view in which a red panda is likeliest, as the gateway's scorer has it."""
    order = np.lexsort((-panda, owner))
    first = np.searchsorted(owner[order], np.arange(frames))
    return np.asarray(order[first], np.int64)


def examined(kind: str, build_dir: Path = BUILD_DIR) -> Examined:
    """Load the stored answers of all folds that have been examined on a kind of paper (`exam.PAPERS`).

    Raises:
        NotExamined: none has.
    """
    questions: list[dict[str, Any]] = []
    best: dict[str, list[npt.NDArray[np.float32]]] = {strategy: [] for strategy in STRATEGIES}
    invokes: dict[str, list[float]] = {strategy: [] for strategy in STRATEGIES}
    single: list[Flags] = []
    looks: list[npt.NDArray[np.int64]] = []
    labels: tuple[str, ...] = ()
    for fold in folds_examined(build_dir):
        folder = build_dir / "candidates" / f"without_{fold}"
        asked = json.loads(exam.paper(fold, kind, build_dir).read_text())
        answers = Answers.load(exam.answers(fold, kind, folder))
        head = Head.from_json((folder / "head.json").read_bytes())
        probabilities, labels = head.probabilities(answers.features), head.labels
        questions += asked
        owner, view = answers.owner, answers.view
        event = np.array([question["event"] for question in asked])
        alone = np.isin(np.arange(len(event)), owner[view == TILE])
        single.append(alone)
        panda = labels.index(LABEL_PANDA)
        shipped = STRATEGIES[SHIPPED].uses(probabilities[:, panda], owner, view, event)
        looks.append(np.bincount(owner[shipped], minlength=len(event)))
        for name, strategy in STRATEGIES.items():
            best[name].append(scored(strategy, probabilities, owner, view, event, labels=labels))
            counted = strategy.uses(probabilities[:, panda], owner, view, event)
            counted &= alone[owner] if strategy.single and alone.any() else True
            invokes[name].append(counted.sum() / len(np.unique(owner[counted])))
    return Examined(
        questions=questions,
        best={strategy: np.concatenate(rows) for strategy, rows in best.items()},
        invokes={strategy: float(np.mean(counts)) for strategy, counts in invokes.items()},
        single=np.concatenate(single),
        looks=np.concatenate(looks),
        labels=labels,
    )


def scored(
    strategy: Strategy,
    probabilities: npt.NDArray[np.float32],
    owner: npt.NDArray[Any],
    view: npt.NDArray[Any],
    event: npt.NDArray[Any],
    *,
    labels: Sequence[str],
) -> npt.NDArray[np.float32]:
    """Probabilities of views to those of frames, as the gateway's scorer has them.

    Args:
        strategy: which views count.
        probabilities: of views, shape (n, labels).
        owner: the frame of each view.
        view: the name of each view.
        event: the burst of each frame.
        labels: the columns of `probabilities`.

    Returns:
        Shape (frames, labels).
    """
    panda = labels.index(LABEL_PANDA)
    used = strategy.uses(probabilities[:, panda], owner, view, event)
    seen, frame, name = probabilities[used], owner[used], view[used]
    likeliest = best_views(seen[:, panda], frame, len(event))
    best = seen[likeliest]
    closely = np.full(len(event), -1)
    closely[frame[name == CLOSER]] = np.flatnonzero(name == CLOSER)
    again = (name[likeliest] == FULL) & (closely >= 0)
    best[again] = confirmed(best[again], seen[closely[again]])
    if strategy.together:
        moved = np.isin(np.arange(len(event)), owner[view == MOTION])
        for number in np.unique(event):
            chosen = event == number
            best[chosen] = pooled(best[chosen], moved[chosen], labels)
    return best
