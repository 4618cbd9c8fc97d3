"""Composed frames, here of drawings: what a burst shows is what its labels say."""

from dataclasses import replace

import numpy as np
import pytest

from edge_module.domain import Box
from edge_module.frame import decode
from models import foliage
from models.conditions import Conditions, sample
from models.cutout import Cutout
from models.draw import Animal, Shot, draw, figure
from models.synthesise import Composed, compose
from models.views import UNSURE, of_burst

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
    rain=0,
    highlights=255.0,
    eyes=0.0,
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


def test_an_animal_that_has_left_leaves_an_empty_frame(panda: Cutout, forest: np.ndarray) -> None:
    whole = composed(panda, forest)
    passing = compose(forest, [panda], PLAIN, np.random.default_rng(1), place="drawn forest", gone=[0, 2])
    blank = compose(forest, [], PLAIN, np.random.default_rng(1), place="drawn forest")
    assert passing.boxes == [None, whole.boxes[1], None]
    assert passing.visible == pytest.approx(1.0)
    there, empty = (np.asarray(decode(jpeg).whole, int) for jpeg in passing.jpegs[1:])
    nobody = np.asarray(decode(blank.jpegs[2]).whole, int)
    assert np.abs(empty - nobody).mean() < 3 < np.abs(there - nobody).mean()


def test_leaves_in_front_hide_part_of_it(panda: Cutout, forest: np.ndarray) -> None:
    free, hidden = composed(panda, forest), composed(panda, forest, replace(PLAIN, hidden=0.4))
    assert hidden.visible < free.visible - 0.2


def test_plants_grow_until_they_hide_what_was_asked_for(forest: np.ndarray) -> None:
    scene, box = forest.astype(np.float32), Box(left=0.4, top=0.4, right=0.6, bottom=0.6)
    for seed in range(12):
        veil = foliage.grow(scene, box, 0.3, np.random.default_rng(seed))
        left, top, right, bottom = (int(v) for v in box.pixels(*scene.shape[1::-1]))
        assert veil.alpha[top:bottom, left:right].mean() > 0.2
        assert veil.alpha.mean() < 0.5


def test_a_camera_exposes_for_the_highlights(panda: Cutout, forest: np.ndarray) -> None:
    dark, bright = (
        np.quantile(decode(composed(panda, forest, replace(PLAIN, highlights=level)).jpegs[0]).whole, 0.97)
        for level in (130.0, 240.0)
    )
    assert dark < 145
    assert bright > 180


def test_eyes_shine_at_night(panda: Cutout, forest: np.ndarray) -> None:
    night = replace(PLAIN, night=True, highlights=120.0)
    without, shining = (
        np.asarray(decode(composed(panda, forest, replace(night, eyes=eyes)).jpegs[0]).image).astype(int)
        for eyes in (0.0, 1.0)
    )
    brighter = (shining - without).max(axis=2) > 60
    assert 0 < brighter.sum() < 0.01 * brighter.size


def test_a_night_has_no_colour(panda: Cutout, forest: np.ndarray) -> None:
    for jpeg in composed(panda, forest, replace(PLAIN, night=True)).jpegs:
        assert decode(jpeg).night


def test_the_animal_of_a_near_view_fills_it(panda: Cutout, forest: np.ndarray) -> None:
    views = {view.name: view for view in of_burst(composed(panda, forest), np.random.default_rng(1))}
    assert views["full"].label == views["near"].label == "red_panda"
    assert views["near"].picture.shape == (224, 224, 3)


def test_an_animal_too_small_to_tell_teaches_where_it_is_and_not_what(panda: Cutout, forest: np.ndarray) -> None:
    tiny = composed(panda, forest, replace(PLAIN, animal_width=0.07))
    full = next(view for view in of_burst(tiny, np.random.default_rng(1)) if view.name == "full")
    assert full.label == UNSURE
    assert full.known
    assert full.animal in tiny.boxes


def test_of_a_part_it_is_told_where_the_animal_is_in_that_part(panda: Cutout, forest: np.ndarray) -> None:
    near = next(v for v in of_burst(composed(panda, forest), np.random.default_rng(1)) if v.name == "near")
    assert near.animal is not None
    assert near.animal.right - near.animal.left > 0.4
    blank = compose(forest, [], PLAIN, np.random.default_rng(1), place="drawn forest")
    assert {(view.animal, view.known) for view in of_burst(blank, np.random.default_rng(1))} == {(None, True)}


def test_conditions_cover_what_traps_meet() -> None:
    rng = np.random.default_rng(1)
    drawn = [sample(rng, night=True, frames=3, widths=(0.07, 0.6)) for _ in range(300)]
    assert min(c.animal_width for c in drawn) < 0.09
    assert max(c.animal_width for c in drawn) > 0.5
    assert {c.step == 0 for c in drawn} == {True, False}
    assert {c.hidden == 0 for c in drawn} == {True, False}
    assert min(c.quality for c in drawn) < 45
