"""The frames of a burst are scored together: rule 4 of scorer.py."""

import numpy as np
import pytest

from edge_module.scorer import pooled

SURE, DOUBT, EMPTY = (0.95, 0.04, 0.01), (0.4, 0.55, 0.05), (0.01, 0.09, 0.9)


def together(*rows: tuple[float, float, float], moved: tuple[bool, ...] | None = None) -> np.ndarray:
    return pooled(np.array(rows, np.float32), np.array(moved or (True,) * len(rows)))


def test_frames_in_doubt_are_helped_by_sure_ones() -> None:
    found = together(SURE, DOUBT, SURE)
    assert found[1, 0] > DOUBT[0] + 0.2
    assert np.allclose(found.sum(axis=1), 1)


def test_a_single_false_alarm_is_damped_by_its_neighbours() -> None:
    assert together(EMPTY, SURE, EMPTY)[1, 0] < 0.75


def test_the_empty_frame_after_a_panda_stays_empty() -> None:
    assert together(SURE, SURE, EMPTY)[2].argmax() == 2
    assert together(SURE, SURE, EMPTY)[2, 0] < 0.3


def test_where_nothing_moved_a_frame_stands_alone() -> None:
    found = together(SURE, DOUBT, SURE, moved=(True, False, True))
    assert found[1] == pytest.approx(DOUBT)
    alone = together(SURE, DOUBT, moved=(False, True))
    assert alone[1] == pytest.approx(DOUBT)
