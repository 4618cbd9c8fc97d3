"""Animals come out of photographs whole, firm, and without what a matte is in doubt about."""

from pathlib import Path

import numpy as np
import pytest

from models.cutout import cut_out
from models.pictures import Labelled

PHOTOGRAPH = Labelled(path=Path("x.jpg"), label="red_panda", trap=False, night=False, group="red_panda_x", burst=None)
RGB = np.full((300, 400, 3), 120, np.uint8)


def matte(*parts: tuple[int, int, int, int, int]) -> np.ndarray:
    grey = np.zeros((300, 400), np.uint8)
    for top, bottom, left, right, level in parts:
        grey[top:bottom, left:right] = level
    return grey


def test_the_largest_part_is_the_animal_and_nothing_else():
    cut = cut_out(PHOTOGRAPH, RGB, matte((100, 200, 100, 300, 255), (20, 40, 20, 40, 255)))
    assert cut is not None
    assert cut.rgba.shape == (280, 560, 4)  # as wide as cut-outs are, trimmed to the animal
    assert (cut.rgba[..., 3] == 255).all()
    assert cut.label == "red_panda"
    assert cut.group == "red_panda_x"


def test_what_the_matte_doubts_is_left_out():
    cut = cut_out(PHOTOGRAPH, RGB, matte((100, 200, 100, 300, 255), (80, 100, 100, 300, 60)))
    assert cut is not None
    assert cut.rgba.shape == (280, 560, 4)


@pytest.mark.parametrize(
    ("part", "cut_off"),
    [
        ((100, 200, 100, 300, 255), (False, False, False, False)),
        ((100, 300, 100, 300, 255), (False, False, False, True)),
        ((0, 200, 0, 300, 255), (True, True, False, False)),
        ((100, 200, 100, 400, 255), (False, False, True, False)),
    ],
)
def test_sides_that_cut_the_animal_off_are_known(part, cut_off):
    cut = cut_out(PHOTOGRAPH, RGB, matte(part))
    assert cut is not None
    assert cut.cut == cut_off


@pytest.mark.parametrize("part", [(100, 110, 100, 110, 255), (0, 300, 0, 400, 255), (0, 0, 0, 0, 255)])
def test_a_speck_or_the_whole_picture_is_no_animal(part):
    assert cut_out(PHOTOGRAPH, RGB, matte(part)) is None
