"""Figures: thresholds keep to their budget, intervals know of sources."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.metrics import (
    Budget,
    Frames,
    average_precision,
    blanks_rejected,
    choose,
    judged_panda,
    over_sources,
    passed,
    share,
)

BUDGET = Budget(blank=0.02, other=0.10, other_as_panda=0.02)


def frames_of(panda: list[float], label: list[str], night: list[bool] | None = None) -> Frames:
    return Frames(
        panda=np.round(np.array(panda), 3),
        label=np.array(label),
        night=np.array(night or [False] * len(panda)),
        source=np.array([str(i) for i in range(len(panda))]),
    )


scored = st.lists(
    st.tuples(st.floats(0, 0.998), st.sampled_from(["red_panda", "other_animal", "blank"]), st.booleans()),
    min_size=1,
    max_size=200,
)


@given(scored)
def test_thresholds_keep_to_the_budget(rows: list[tuple[float, str, bool]]) -> None:
    frames = frames_of([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
    thresholds = choose(frames, BUDGET)
    on, sure = passed(frames, thresholds), judged_panda(frames, thresholds)
    assert not (sure & ~on).any()
    for night in (False, True):
        for label, limit in (("blank", 0.02), ("other_animal", 0.10)):
            chosen = (frames.label == label) & (frames.night == night)
            assert on[chosen].sum() <= limit * chosen.sum()
        others = (frames.label == "other_animal") & (frames.night == night)
        assert sure[others].sum() <= 0.02 * others.sum()


def test_no_lower_threshold_would_keep_to_it() -> None:
    rng = np.random.default_rng(1)
    frames = frames_of(list(rng.random(500)), ["other_animal"] * 500)
    review = choose(frames, BUDGET).day.review
    assert (frames.panda >= review - 0.01).mean() > BUDGET.other


def test_an_interval_is_wider_where_frames_share_sources() -> None:
    rng = np.random.default_rng(2)
    flags = np.repeat(rng.random(20) < 0.7, 25)
    apart = share(flags, np.arange(500).astype(str))
    together = share(flags, np.repeat(np.arange(20), 25).astype(str))
    assert apart.value == together.value == flags.mean()
    assert together.high - together.low > 3 * (apart.high - apart.low)
    assert together.low <= together.value <= together.high


def test_no_frames_give_no_figure_rather_than_a_perfect_one() -> None:
    figure = share(np.array([], bool), np.array([], str))
    assert np.isnan(figure.value)
    assert str(figure) == "no frames"


def test_a_perfect_ranking_is_perfect() -> None:
    frames = frames_of([0.9, 0.8, 0.3, 0.2], ["red_panda", "red_panda", "other_animal", "blank"])
    assert average_precision(frames) == pytest.approx(1.0)
    assert blanks_rejected(frames, 0.96) == 1.0
    assert over_sources(frames, average_precision, draws=20).frames == 4


def test_blanks_above_the_weakest_panda_are_not_rejected() -> None:
    frames = frames_of([0.9, 0.5, 0.7, 0.1], ["red_panda", "red_panda", "blank", "blank"])
    assert blanks_rejected(frames, 0.96) == 0.5
