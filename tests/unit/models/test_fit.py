"""Heads: fitted, rounded to int8, small enough for a twin."""

import numpy as np
import numpy.typing as npt
import pytest

from edge_module.head import HEAD_MAX_BYTES, Head
from edge_module.verdict import DayNight, Thresholds
from models.fit import cooled, fit, pack

ORDER = ("red_panda", "other_animal", "blank")
LIMITS = DayNight(day=Thresholds(panda=0.6, review=0.2), night=Thresholds(panda=0.5, review=0.1))


@pytest.fixture(scope="module")
def labelled() -> tuple[npt.NDArray[np.float32], list[str]]:
    rng = np.random.default_rng(5)
    kind = rng.integers(3, size=240)
    features = np.abs(rng.normal(0.3, 0.2, (240, 1280))).astype(np.float32)
    features[np.arange(240), kind] += 3
    return features, [ORDER[k] for k in kind]


def test_a_fitted_head_tells_the_labels_apart(labelled: tuple[npt.NDArray[np.float32], list[str]]) -> None:
    features, labels = labelled
    text = fit(
        features,
        labels,
        np.ones(240, np.float32),
        order=ORDER,
        inverse_regularisation=0.01,
        thresholds=LIMITS,
        backbone_sha256="ab" * 32,
    )
    head = Head.from_json(text)
    guessed = [ORDER[i] for i in head.probabilities(features).argmax(axis=1)]
    assert np.mean([g == label for g, label in zip(guessed, labels, strict=True)]) > 0.98
    assert head.thresholds == LIMITS
    assert head.backbone_sha256 == "ab" * 32
    assert len(text) <= HEAD_MAX_BYTES


def test_rounding_to_int8_hardly_moves_a_probability() -> None:
    rng = np.random.default_rng(6)
    weight, bias = rng.normal(0, 0.1, (3, 1280)), rng.normal(0, 1, 3)
    features = np.abs(rng.normal(0, 0.5, (50, 1280))).astype(np.float32)
    head = Head.from_json(pack(weight, bias, order=ORDER, thresholds=LIMITS, backbone_sha256="00" * 32))
    logits = features @ weight.T + bias
    exact = np.exp(logits - logits.max(axis=1, keepdims=True))
    exact /= exact.sum(axis=1, keepdims=True)
    assert np.abs(head.probabilities(features) - exact).max() < 0.03


def test_a_cooled_head_is_less_sure_and_decides_the_same() -> None:
    rng = np.random.default_rng(7)
    weight, bias = rng.normal(0, 0.1, (3, 1280)), rng.normal(0, 1, 3)
    hot = pack(weight, bias, order=ORDER, thresholds=LIMITS, backbone_sha256="00" * 32)
    features = np.abs(rng.normal(0, 0.5, (50, 1280))).astype(np.float32)
    sharper = DayNight(day=Thresholds(panda=0.7, review=0.3), night=Thresholds(panda=0.6, review=0.2))
    before, after = Head.from_json(hot), Head.from_json(cooled(hot, 3.0, sharper))
    assert after.thresholds == sharper
    said, cool = before.probabilities(features), after.probabilities(features)
    assert (said.argmax(axis=1) == cool.argmax(axis=1)).all()
    assert cool.max(axis=1).mean() < said.max(axis=1).mean()
