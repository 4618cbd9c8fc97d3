"""Models for gateways: from files to what is written into a twin."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from edge_module import model_store
from edge_module.errors import ModelError
from edge_module.head import Head
from edge_module.model_wire import WantedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A model to be sent: what is wanted, and the backbone that has to be published first, if any."""

    wanted: WantedModel
    backbone: bytes | None = None

    def with_link(self, url: str) -> "Made":
        """The same, with where the backbone is."""
        assert self.backbone is not None
        return replace(self, wanted=replace(self.wanted, backbone_url=url, backbone_bytes=len(self.backbone)))


def from_head(path: Path, expected: Mapping[str, str]) -> Made:
    """A head for a backbone that the gateways have.

    Args:
        path: a ``head.json``.
        expected: verdicts on golden frames that differ from the shipped model's.

    Raises:
        ModelError: it cannot be read, or is no head.
    """
    try:
        text = path.read_bytes()
    except OSError as exc:
        raise ModelError(f"{path}: {exc.strerror}") from exc
    return Made(wanted=_wanted(text, Head.from_json(text), expected))


def from_folder(folder: Path, expected: Mapping[str, str]) -> Made:
    """A model with its backbone.

    Raises:
        ModelError: a file is missing or is not what SHA256SUMS says.
    """
    model = model_store.load(folder)
    text = (folder / "head.json").read_bytes()
    return Made(wanted=_wanted(text, model.head, expected), backbone=model.backbone)


def _wanted(text: bytes, head: Head, expected: Mapping[str, str]) -> WantedModel:
    return WantedModel(
        request=f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}",
        head=text,
        backbone_sha256=head.backbone_sha256,
        expected=dict(expected),
    )
