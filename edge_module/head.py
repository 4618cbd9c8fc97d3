"""The head: features to probabilities. Small enough to travel in a device twin, and trained in seconds.

File format (JSON, version 1)::

    {"version": 1, "backbone_sha256": HEX, "labels": [L names, "red_panda" among them],
     "weights": BASE64 of int8, row-major (L, 1280), "scale": [L], "bias": [L],
     "thresholds": {"day": {"panda": p, "review": p}, "night": {"panda": p, "review": p}}}

logits = (weights * scale) @ features + bias; probabilities = softmax(logits).
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edge_module.domain import LABEL_PANDA
from edge_module.errors import ModelError
from edge_module.verdict import DayNight, Thresholds

FEATURES = 1280
"""Width of the backbone's feature vector (EfficientNet-Lite0)."""

HEAD_MAX_BYTES = 10_240
"""A head travels in twin chunks; models/red_panda/MODEL_CARD.md holds it to this."""

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """A multinomial logistic model on the backbone's features."""

    labels: tuple[str, ...]
    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    thresholds: DayNight
    backbone_sha256: str

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Read a head.

        Raises:
            ModelError: the text is not a head of a known version, or its parts do not fit together.
        """
        if len(text) > HEAD_MAX_BYTES:
            raise ModelError(f"head: {len(text)} bytes, at most {HEAD_MAX_BYTES} allowed")
        try:
            raw: dict[str, Any] = json.loads(text)
            if raw["version"] != _VERSION:
                raise ModelError(f"head: version {raw['version']!r} is not known, {_VERSION} is")
            labels = tuple(str(label) for label in raw["labels"])
            int8 = np.frombuffer(base64.b64decode(raw["weights"], validate=True), dtype=np.int8)
            weights = int8.reshape(len(labels), FEATURES) * np.asarray(raw["scale"], np.float32).reshape(len(labels), 1)
            head = cls(
                labels=labels,
                weights=weights.astype(np.float32),
                bias=np.asarray(raw["bias"], np.float32).reshape(len(labels)),
                thresholds=DayNight(
                    day=Thresholds(**raw["thresholds"]["day"]), night=Thresholds(**raw["thresholds"]["night"])
                ),
                backbone_sha256=str(raw["backbone_sha256"]),
            )
        except (KeyError, TypeError, ValueError, binascii.Error, RecursionError, OverflowError) as exc:
            raise ModelError(f"head: not a valid head file ({type(exc).__name__}: {exc})") from exc
        if LABEL_PANDA not in labels or len(set(labels)) != len(labels):
            raise ModelError(f"head: labels {labels} must be distinct and contain {LABEL_PANDA!r}")
        if not (np.isfinite(head.weights).all() and np.isfinite(head.bias).all()):
            raise ModelError("head: weights and bias must be finite numbers")
        return head

    def probabilities(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Turn features into probabilities.

        Args:
            features: shape (n, 1280).

        Returns:
            Shape (n, len(labels)); each row sums to 1.
        """
        logits = features @ self.weights.T + self.bias
        exp = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: npt.NDArray[np.float32] = exp / exp.sum(axis=1, keepdims=True)
        return probabilities
