"""Composed frames, here of drawings: what a burst shows is what its labels say."""

from dataclasses import replace

import numpy as np
import pytest

from edge_module.frame import decode
from models.cutout import Cutout
from models.draw import Animal, Shot, draw, figure
from models.synthesise import Composed, Conditions, compose, sample
from models.views import of_burst

PLAIN = Conditions(
    night=False,
    frames=3,
    animal_width=0.4,
    hidden=0.0,
    at_edge=False,
    step=0.1,
    sway_px=0.0,
    shift_px=0.0,
    flicker=0.0,
    blur_px=0.0,
    streak_px=0,
    fog=0.0,
    noise_levels=0.0,
    gain=1.0,
    quality=90,
    banner=False,
)


@pytest.fixture(scope="module")
def panda() -> Cutout:
    return Cutout(rgba=figure(Animal.RED_PANDA, 1), label="red_panda", group="drawn", cut=(False,) * 4)


@pytest.fixture(scope="module")
def forest() -> np.ndarray:
    return draw(Shot(seed=9, width_px=800, height_px=600))


def composed(panda: Cutout, forest: np.ndarray, conditions: Conditions = PLAIN, seed: int = 1) -> Composed:
    return compose(forest, [panda], conditions, np.random.default_rng(seed), place="drawn forest")


def test_the_same_seed_gives_the_same_bytes(panda: Cutout, forest: np.ndarray) -> None:
    assert composed(panda, forest).jpegs == composed(panda, forest).jpegs
    assert composed(panda, forest).jpegs != composed(panda, forest, seed=2).jpegs


def test_the_box_is_where_the_animal_is(panda: Cutout, forest: np.ndarray) -> None:
    burst = composed(panda, forest)
    blank = compose(forest, [], PLAIN, np.random.default_rng(1), place="drawn forest")
    assert (blank.label, blank.boxes, burst.label) == ("blank", [], "red_panda")
    first, second = (decode(jpeg).whole.astype(int) for jpeg in burst.jpegs[:2])
    _, columns = np.nonzero(np.abs(first - second).sum(axis=2) > 60)
    left = min(box.left for box in burst.boxes[:2]) * 224
    right = max(box.right for box in burst.boxes[:2]) * 224
    assert left - 4 <= columns.min()
    assert columns.max() <= right + 4


def test_leaves_in_front_hide_part_of_it(panda: Cutout, forest: np.ndarray) -> None:
    free, hidden = composed(panda, forest), composed(panda, forest, replace(PLAIN, hidden=0.4))
    assert hidden.visible < free.visible - 0.2


def test_a_night_has_no_colour(panda: Cutout, forest: np.ndarray) -> None:
    for jpeg in composed(panda, forest, replace(PLAIN, night=True)).jpegs:
        assert decode(jpeg).night


def test_the_animal_of_a_near_view_fills_it(panda: Cutout, forest: np.ndarray) -> None:
    views = {view.name: view for view in of_burst(composed(panda, forest), np.random.default_rng(1))}
    assert views["full"].label == views["near"].label == "red_panda"
    assert views["near"].picture.shape == (224, 224, 3)


def test_an_animal_too_small_to_see_teaches_nothing(panda: Cutout, forest: np.ndarray) -> None:
    tiny = composed(panda, forest, replace(PLAIN, animal_width=0.07))
    assert "full" not in {view.name for view in of_burst(tiny, np.random.default_rng(1))}


def test_conditions_cover_what_traps_meet() -> None:
    rng = np.random.default_rng(1)
    drawn = [sample(rng, night=True, frames=3, widths=(0.07, 0.6)) for _ in range(300)]
    assert min(c.animal_width for c in drawn) < 0.09
    assert max(c.animal_width for c in drawn) > 0.5
    assert {c.step == 0 for c in drawn} == {True, False}
    assert {c.hidden == 0 for c in drawn} == {True, False}
    assert min(c.quality for c in drawn) < 45
