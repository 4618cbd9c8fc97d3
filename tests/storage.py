"""A storage for tests, with the contract of `blobs.Blobs` (tests/integration/gateway/test_store_contract.py)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_module.budget import PUT_HEADER_BYTES
from edge_module.errors import BlocksForgotten, CredentialRefused, NotSent, TransientDelivery


@dataclass
class SimulatedStore:
    """Blobs in memory. While there is a `fault`, every request ends in it, once what was sent has been counted."""

    has_credential: bool = True
    blobs: dict[str, bytes] = field(default_factory=dict)
    blocks: dict[str, dict[str, bytes]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    fault: TransientDelivery | None = None
    throws_blocks_away: bool = False
    sent_bytes: int = 0
    requests: int = 0

    def put(self, name: str, content: bytes, *, content_type: str) -> None:
        self._meet(len(content))
        self.blobs.setdefault(name, content)
        self.types.setdefault(name, content_type)

    def put_block(self, name: str, block_id: str, content: bytes) -> None:
        self._meet(len(content))
        self.blocks.setdefault(name, {})[block_id] = content

    def commit(self, name: str, block_ids: Sequence[str], *, content_type: str) -> None:
        self._meet(40 * len(block_ids))
        if name in self.blobs:
            return
        there = {} if self.throws_blocks_away else self.blocks.get(name, {})
        if set(block_ids) - set(there):
            raise BlocksForgotten(f"blob {name}: InvalidBlockList")
        self.blobs[name] = b"".join(there[block_id] for block_id in block_ids)
        self.types[name] = content_type

    def _meet(self, size_bytes: int) -> None:
        self.requests += 1
        if not isinstance(self.fault, NotSent):
            self.sent_bytes += size_bytes + PUT_HEADER_BYTES
        if self.fault is not None:
            raise self.fault
        if not self.has_credential:
            raise CredentialRefused("no upload credential yet")
