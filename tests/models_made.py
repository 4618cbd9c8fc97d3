"""Models for tests, made of the shipped one: as good with another id, or wrong in a way of their own."""

import base64
import hashlib
import json
from typing import Any

import numpy as np

from edge_module.head import FEATURES
from edge_module.model_store import SHIPPED_MODEL_DIR
from edge_module.model_wire import WantedModel

HEAD = SHIPPED_MODEL_DIR.joinpath("head.json").read_bytes()
BACKBONE = SHIPPED_MODEL_DIR.joinpath("backbone.tflite").read_bytes()
BACKBONE_SHA256 = hashlib.sha256(BACKBONE).hexdigest()


def head(nudge: float = 0.001, **changes: Any) -> bytes:
    """The shipped head, its bias nudged by so little that no verdict changes."""
    raw = json.loads(HEAD)
    raw["bias"] = [b + nudge for b in raw["bias"]]
    return json.dumps(raw | changes).encode()


def blind_head() -> bytes:
    """A head of the right form to which every frame is blank."""
    labels = json.loads(HEAD)["labels"]
    weights = np.zeros((len(labels), FEATURES), np.int8)
    bias = [20.0 if label == "blank" else 0.0 for label in labels]
    return head(weights=base64.b64encode(weights.tobytes()).decode(), bias=bias)


def wanted(head_json: bytes, request: str = "1", **more: Any) -> WantedModel:
    """A request for a head on the shipped backbone, unless told otherwise."""
    return WantedModel(**{"request": request, "head": head_json, "backbone_sha256": BACKBONE_SHA256} | more)


def on_backbone(head_json: bytes, backbone: bytes) -> bytes:
    """The head, as if it had been trained on another backbone."""
    digest = hashlib.sha256(backbone).hexdigest()
    return json.dumps(json.loads(head_json) | {"backbone_sha256": digest}).encode()
