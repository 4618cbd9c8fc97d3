"""What came of the card, as headquarters knows it: asked from its database and from Blob Storage, of nobody else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from azure.storage.blob import ContainerClient
from sqlalchemy import func, select

from cloud_sync import schema
from cloud_sync.database import transaction
from cloud_sync.store import Store
from edge_module.domain import KEPT_FATES, Fate, Variant

_OF_KEPT: Final = (Variant.CROP, Variant.FRAME)
_records, _media = schema.records.c, schema.media.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a gateway's card has come.

    Args:
        activity: what the gateway says it does.
        receipt: the newest; empty until there is one.
        recorded: rows of the record.
        owed: pictures that headquarters is owed of what is recorded so far.
        stored: of these, how many headquarters says it has.
    """

    activity: str
    receipt: Mapping[str, Any]
    recorded: int
    owed: int
    stored: int

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to come: all is recorded and stored, and the gateway knows it."""
        receipt = self.receipt
        if not receipt or receipt["state"] != "complete" or self.recorded < receipt["seen"] or self.stored < self.owed:
            return False
        # Whatever else stands in the way of wiping stays, such as a folder that cannot be read.
        passing = sum(receipt[what] > 0 for what in ("unconfirmed", "originals_owed", "pending"))
        return bool(receipt["safe_to_wipe"]) or len(receipt["blockers"]) > passing

    @property
    def line(self) -> str:
        """For people."""
        seen = self.receipt.get("seen")
        parts = [self.activity] if self.activity and not seen else []
        parts.append(f"recorded {self.recorded}{f' of {seen} files' if seen else ''}")
        parts.append(f"pictures stored {self.stored} of {self.owed}")
        if seen:
            parts.append("SAFE TO WIPE" if self.receipt["safe_to_wipe"] else "not safe to wipe yet")
        return ", ".join(parts)


def progress(store: Store, gateway_id: str) -> Progress:
    """Ask headquarters' database."""
    own = _records.gateway_id == gateway_id
    kept = own & _records.fate.in_(KEPT_FATES) & _records.panda_probability.is_not(None) & _records.withheld.is_(False)
    receipts, status = schema.receipts.c, schema.status.c
    newest = select(receipts.receipt).where(receipts.gateway_id == gateway_id).order_by(receipts.sequence.desc())
    with transaction(store.engine, writing=False) as connection:
        measures = connection.execute(select(status.measures).where(status.gateway_id == gateway_id)).scalar()
        return Progress(
            activity=str((measures or {}).get("activity", "")),
            receipt=connection.execute(newest.limit(1)).scalar() or {},
            recorded=int(connection.execute(select(func.count()).where(own)).scalar_one()),
            owed=int(connection.execute(select(func.count(_records.media_id.distinct())).where(kept)).scalar_one()),
            stored=int(
                connection.execute(
                    select(func.count(_media.media_id.distinct())).where(
                        _media.gateway_id == gateway_id, _media.variant.in_(_OF_KEPT)
                    )
                ).scalar_one()
            ),
        )


COUNTED: Final = (
    Fate.PANDA,
    Fate.REVIEW,
    Fate.OTHER,
    Fate.BLANK,
    Fate.HUMAN,
    Fate.UNREADABLE,
    Fate.DUPLICATE,
    Fate.IGNORED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The balance of the card.

    Args:
        counts: of the receipt: ``seen``, and files by fate.
        recorded: rows of the record.
        uploaded: distinct pictures that were found in Blob Storage, of those that are owed.
        safe_to_wipe: what the receipt says.
        faults: why it does not balance; empty if it does.
    """

    counts: Mapping[str, int]
    recorded: int
    uploaded: int
    safe_to_wipe: bool
    faults: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The last line of ``--once``."""
        return {
            **self.counts,
            "recorded": self.recorded,
            "uploaded": self.uploaded,
            "safe_to_wipe": self.safe_to_wipe,
        }


def outcome(store: Store, container: ContainerClient, gateway_id: str) -> Outcome:
    """Read the record row by row, and look each picture up in Blob Storage."""
    receipt = progress(store, gateway_id).receipt
    recorded, owed = 0, set()
    for row in store.observations():
        if row.gateway_id == gateway_id:
            recorded += 1
            if row.fate in KEPT_FATES and row.panda_probability is not None and not row.withheld:
                owed.add(row.media_id)
    uploaded = owed & _stored(store, container, gateway_id)
    counts = {name: int(receipt.get(name, 0)) for name in ("seen", *COUNTED)}
    accounted = sum(counts[fate] for fate in COUNTED)
    checks = (
        (not receipt, "there is no receipt"),
        (accounted != counts["seen"], f"{counts['seen']} files were seen and {accounted} are accounted for"),
        (recorded != counts["seen"], f"{counts['seen']} files were seen and {recorded} are recorded"),
        (uploaded != owed, f"{len(owed)} pictures are owed and {len(uploaded)} are in Blob Storage"),
    )
    return Outcome(
        counts=counts,
        recorded=recorded,
        uploaded=len(uploaded),
        safe_to_wipe=bool(receipt.get("safe_to_wipe")),
        faults=tuple(text for holds, text in checks if holds),
    )


def _stored(store: Store, container: ContainerClient, gateway_id: str) -> set[str]:
    """The pictures of which each variant that was said to be stored lies there with the size that was said."""
    query = select(_media.media_id, _media.blob_name, _media.size_bytes).where(_media.gateway_id == gateway_id)
    with transaction(store.engine, writing=False) as connection:
        rows = connection.execute(query).all()
    # Looked for afterwards: a frame may come while somebody counts.
    there = {blob.name: blob.size for blob in container.list_blobs()}
    lacking = {row.media_id for row in rows if there.get(row.blob_name) != row.size_bytes}
    return {row.media_id for row in rows} - lacking
