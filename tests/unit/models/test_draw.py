"""Drawn frames: what the golden frames, the demo card and CI's cards are made of."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edge_module.burst import motion
from edge_module.frame import frame_of
from models.draw import Animal, Shot, burst, draw

SMALL = Shot(seed=3, width_px=480, height_px=360)


def test_the_same_shot_gives_the_same_pixels() -> None:
    shot = replace(SMALL, animal=Animal.RED_PANDA, night=True, leaves=True)
    assert np.array_equal(draw(shot), draw(shot))
    assert not np.array_equal(draw(shot), draw(replace(shot, seed=4)))


@pytest.mark.parametrize("night", [False, True])
def test_a_night_is_told_from_a_day(night: bool) -> None:
    frame = frame_of(Image.fromarray(draw(replace(SMALL, night=night))))
    assert frame.night == night


@pytest.mark.parametrize("animal", Animal)
def test_an_animal_stands_where_it_was_put(animal: Animal) -> None:
    empty, inhabited = draw(SMALL).astype(int), draw(replace(SMALL, animal=animal, at=(0.25, 0.5))).astype(int)
    changed = np.abs(inhabited - empty).sum(axis=2) > 0
    _, columns = np.nonzero(changed)
    assert changed.mean() > 0.01
    assert columns.max() < 0.5 * SMALL.width_px


def test_an_animal_outside_the_frame_is_cut_off() -> None:
    assert draw(replace(SMALL, animal=Animal.DEER, at=(1.0, 0.5))).shape == (360, 480, 3)
    assert np.array_equal(draw(replace(SMALL, animal=Animal.DEER, at=(3.0, 0.5))), draw(SMALL))


def test_the_motion_crop_finds_the_animal_of_a_burst() -> None:
    shot = replace(SMALL, animal=Animal.RED_PANDA, at=(0.4, 0.6), animal_width=0.3)
    boxes = motion([frame_of(Image.fromarray(frame)).whole for frame in burst(shot, step=0.15)])
    middle = boxes[1]
    assert middle is not None
    assert middle.left < 0.4 < middle.right
    assert middle.top < 0.6 < middle.bottom
