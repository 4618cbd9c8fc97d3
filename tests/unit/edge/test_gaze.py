"""Where the gateway looks closer."""

import numpy as np
import pytest

from edge_module.gaze import closer


def peak(row: int, column: int) -> np.ndarray:
    where = np.full((7, 7), -3.0, np.float32)
    where[row, column] = 2.0
    return where


def test_it_looks_where_a_red_panda_is_likeliest() -> None:
    box = closer(peak(3, 5))
    assert (box.left + box.right) / 2 == pytest.approx(round(5.5 / 7, 3))
    assert (box.top + box.bottom) / 2 == pytest.approx(round(3.5 / 7, 3))


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 6), (6, 0), (6, 6), (3, 3)])
def test_it_stays_within_the_frame_and_sees_the_likeliest_part_whole(row: int, column: int) -> None:
    box = closer(peak(row, column))
    assert box.left <= column / 7
    assert box.right >= (column + 1) / 7 - 1e-9
    assert box.top <= row / 7
    assert box.bottom >= (row + 1) / 7 - 1e-9
    assert box.right - box.left == pytest.approx(box.bottom - box.top) == pytest.approx(1 / 3)


def test_between_two_cells_it_looks_in_the_middle() -> None:
    where = peak(3, 2)
    where[3, 3] = where[3, 2] - 1e-6
    box = closer(where)
    where[3, 3] = where[3, 2] + 1e-6
    other = closer(where)
    assert (box.left + box.right) / 2 == pytest.approx(3 / 7, abs=0.01)
    assert box.left == pytest.approx(other.left, abs=0.01), "a last digit moves nothing"


def test_where_nothing_is_likelier_than_anything_it_still_looks_somewhere() -> None:
    assert closer(np.zeros((7, 7), np.float32)).right > 0
