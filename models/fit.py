"""Features and labels to a head: multinomial logistic regression, rounded to int8, as `edge_module.head` reads it."""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from edge_module.head import Head
from edge_module.verdict import DayNight

_INT8_MAX = 127


def fit(
    features: npt.NDArray[np.float32],
    labels: Sequence[str],
    weights: npt.NDArray[np.float32],
    *,
    order: Sequence[str],
    inverse_regularisation: float,
    thresholds: DayNight,
    backbone_sha256: str,
) -> bytes:
    """Fit a head.

    Args:
        features: shape (n, 1280).
        labels: of each row.
        weights: of each row, about 1.
        order: the labels in the order the head shall have them.
        inverse_regularisation: scikit-learn's C, for standardised features.
        thresholds: to write into the head.
        backbone_sha256: of the TFLite file that made the features.

    Returns:
        `head.json`, checked by reading it back.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-2
    target = [list(order).index(label) for label in labels]
    model = LogisticRegression(C=inverse_regularisation, max_iter=300)
    model.fit((features - mean) / spread, target, sample_weight=weights)
    # Standardisation folds into weights and bias: the gateway multiplies once.
    weight = model.coef_ / spread
    bias = model.intercept_ - weight @ mean
    return pack(weight, bias, order=order, thresholds=thresholds, backbone_sha256=backbone_sha256)


def cooled(head_json: bytes, temperature: float, thresholds: DayNight) -> bytes:
    """The head with its logits divided, so that probabilities mean what they say on frames never seen.

    https://arxiv.org/abs/1706.04599

    Args:
        head_json: as `fit` made it.
        temperature: what to divide by.
        thresholds: for the cooled head.
    """
    content = json.loads(head_json)
    content["scale"] = [float(f"{s / temperature:.6g}") for s in content["scale"]]
    content["bias"] = [round(b / temperature, 4) for b in content["bias"]]
    content["thresholds"] = asdict(thresholds)
    text = json.dumps(content, indent=1).encode() + b"\n"
    Head.from_json(text)
    return text


def pack(
    weight: npt.NDArray[np.float64],
    bias: npt.NDArray[np.float64],
    *,
    order: Sequence[str],
    thresholds: DayNight,
    backbone_sha256: str,
) -> bytes:
    """Round weights (labels, 1280) to int8 with a scale a label, and write `head.json`."""
    scale = np.abs(weight).max(axis=1) / _INT8_MAX
    rounded = np.round(weight / scale[:, None]).astype(np.int8)
    content = {
        "version": 1,
        "backbone_sha256": backbone_sha256,
        "labels": list(order),
        "weights": base64.b64encode(rounded.tobytes()).decode(),
        "scale": [float(f"{s:.6g}") for s in scale],
        "bias": [round(float(b), 4) for b in bias],
        "thresholds": asdict(thresholds),
    }
    text = json.dumps(content, indent=1).encode() + b"\n"
    Head.from_json(text)
    return text
