"""Looks at a frame, and the frames of a burst, are put together: rules 3 and 4 of scorer.py."""

import numpy as np
import pytest

from edge_module.scorer import confirmed, pooled

LABELS = ("red_panda", "other_animal", "blank")
SURE, DOUBT, EMPTY = (0.95, 0.04, 0.01), (0.4, 0.55, 0.05), (0.01, 0.09, 0.9)


def together(*rows: tuple[float, float, float], moved: tuple[bool, ...] | None = None) -> np.ndarray:
    return pooled(np.array(rows, np.float32), np.array(moved or (True,) * len(rows)), LABELS)


def test_a_closer_look_weakens_what_it_denies_and_strengthens_what_it_confirms() -> None:
    doubt, empty, sure = (np.array(row, np.float32) for row in (DOUBT, EMPTY, SURE))
    denied, confirmed_by = confirmed(doubt, empty), confirmed(doubt, sure)
    assert empty[0] < denied[0] < doubt[0] < confirmed_by[0] < sure[0]
    assert (denied.sum(), confirmed_by.sum()) == (pytest.approx(1), pytest.approx(1))
    assert confirmed(doubt, doubt) == pytest.approx(doubt)


def test_frames_in_doubt_are_helped_by_sure_ones() -> None:
    found = together(SURE, DOUBT, SURE)
    assert found[1, 0] > DOUBT[0] + 0.2
    assert np.allclose(found.sum(axis=1), 1)


def test_a_single_false_alarm_is_damped_by_its_neighbours() -> None:
    assert together(EMPTY, SURE, EMPTY)[1, 0] < 0.75


def test_the_only_frame_with_a_panda_is_not_outvoted_by_empty_ones() -> None:
    assert together(EMPTY, SURE, EMPTY)[1, 0] > 0.6


def test_frames_in_doubt_together_are_as_doubtful_as_their_mean() -> None:
    other = (0.1, 0.88, 0.02)
    found = together(DOUBT, other)
    assert found[0, 0] < DOUBT[0]
    assert found[1, 0] > other[0]
    assert found[1, 0] == pytest.approx(0.21, abs=0.01)


def test_the_empty_frame_after_a_panda_stays_empty() -> None:
    assert together(SURE, SURE, EMPTY)[2].argmax() == 2
    assert together(SURE, SURE, EMPTY)[2, 0] < 0.3


def test_where_nothing_moved_a_frame_stands_alone() -> None:
    found = together(SURE, DOUBT, SURE, moved=(True, False, True))
    assert found[1] == pytest.approx(DOUBT)
    alone = together(SURE, DOUBT, moved=(False, True))
    assert alone[1] == pytest.approx(DOUBT)
