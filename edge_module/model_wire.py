"""The desired property ``model``: a head in chunks and where its backbone is. Standard library only; docs/models.md.

A twin's string has at most 4 KB and all that is desired 32 KB: a head travels as slices of its text and is taken whole,
by its SHA-256, or not at all. A backbone is too large: it travels as a link.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from edge_module.errors import WireError
from edge_module.fields import Fields

CHUNK_MAX_BYTES: Final = 4000
_CHUNKS_MAX: Final = 6
BACKBONE_MAX_BYTES: Final = 32 * 2**20
_HEX: Final = re.compile("[0-9a-f]{64}")
_EXPECTED_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedModel:
    """A model that headquarters wants a gateway to use.

    Args:
        request: tells one sending from the next: the same twice is acted on once, even if it failed.
        head: the text of ``head.json``, with the SHA-256 of its bytes checked.
        backbone_sha256: of the backbone that the head was trained on.
        backbone_url: where it can be had; empty if the gateway has it.
        expected: verdicts on golden frames (by name, without suffix) that differ from those of the software's model.
    """

    request: str
    head: bytes
    backbone_sha256: str
    backbone_bytes: int = 0
    backbone_url: str = field(default="", repr=False)
    expected: Mapping[str, str] = field(default_factory=dict)

    @property
    def model_id(self) -> str:
        """As `scorer.Model.identify` makes it of the files."""
        both = bytes.fromhex(self.backbone_sha256) + hashlib.sha256(self.head).digest()
        return hashlib.sha256(both).hexdigest()[:12]

    def to_twin(self) -> dict[str, Any]:
        """The value of the desired property. A null takes back what an earlier model brought."""
        return {
            "request": self.request,
            "head": _chunks(self.head),
            "head_sha256": hashlib.sha256(self.head).hexdigest(),
            "backbone_sha256": self.backbone_sha256,
            "backbone_bytes": self.backbone_bytes if self.backbone_url else None,
            "backbone_url": self.backbone_url or None,
            "expected": [{"frame": frame, "verdict": verdict} for frame, verdict in self.expected.items()],
        }

    @classmethod
    def from_twin(cls, value: object) -> "WantedModel":
        """Read the desired property.

        Raises:
            WireError: a field is missing or wrong, or the chunks are not the head that was sent.
        """
        fields = Fields.of(value, "model")
        chunks = fields.column("head", str, None, nulls=False)
        if not 0 < len(chunks) <= _CHUNKS_MAX:
            raise WireError(f"model.head: must have 1 to {_CHUNKS_MAX} chunks")
        head = "".join(chunks).encode()
        wanted, found = _digest(fields, "head_sha256"), hashlib.sha256(head).hexdigest()
        if found != wanted:
            raise WireError(
                f"model.head: its {len(chunks)} chunks of {len(head)} bytes have SHA-256 {found[:12]}..., head_sha256"
                f" says {wanted[:12]}...; send the model again"
            )
        url, size = "", 0
        if fields.has("backbone_url"):
            url, size = fields.text("backbone_url", longest=4096), fields.integer("backbone_bytes", least=1)
            if size > BACKBONE_MAX_BYTES:
                raise WireError(f"model.backbone_bytes: {size}, at most {BACKBONE_MAX_BYTES} allowed")
        expected = [Fields.of(item, "model.expected") for item in fields.array("expected", [])]
        if len(expected) > _EXPECTED_MAX:
            raise WireError(f"model.expected: at most {_EXPECTED_MAX} frames")
        return cls(
            request=fields.text("request", longest=200),
            head=head,
            backbone_sha256=_digest(fields, "backbone_sha256"),
            backbone_bytes=size,
            backbone_url=url,
            expected={
                item.text("frame", longest=100): item.text("verdict", longest=20) for item in expected
            },
        )  # fmt: skip


def _digest(fields: Fields, name: str) -> str:
    text = fields.text(name, longest=64)
    if not _HEX.fullmatch(text):
        raise WireError(f"model.{name}: must be 64 lower-case hexadecimal digits")
    return text


def _chunks(head: bytes) -> list[str]:
    """Slices of a text, each within what a twin's string may hold, no character torn."""
    cuts = [0]
    while cuts[-1] < len(head):
        cut = min(cuts[-1] + CHUNK_MAX_BYTES, len(head))
        while cut < len(head) and head[cut] & 0xC0 == 0x80:  # noqa: PLR2004 - UTF-8: a byte within a character
            cut -= 1
        cuts.append(cut)
    return [head[a:b].decode() for a, b in pairwise(cuts)]
