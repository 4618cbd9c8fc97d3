"""Which discards people look at all the same, so that headquarters can estimate what is being missed. Pure.

A sample of `other` and `blank`, by bands of the probability of a red panda: the higher the band, the likelier a panda
was missed, and the more of it is drawn. Whether a picture is drawn follows from its `media_id` alone (a SHA-256: as
good as random), so that a re-run, a new ledger or another gateway draws the same; each draw is independent of the
others (Poisson sampling). The record carries the probability with which it was drawn (Horvitz and Thompson 1952).
"""

import hashlib
from typing import Final

from edge_module.domain import Fate, Record

AUDITED_FATES: Final = frozenset({Fate.OTHER, Fate.BLANK})

BAND_FLOORS: Final = (0.0, 0.002, 0.01, 0.05)
"""Least probability of a red panda in each band; in the thousandths that scores are kept in."""

_TIMES_THE_LOWEST: Final = (1, 2, 4, 8)


def probability(panda: float, per_mille: float) -> float:
    """With which probability a discard is drawn.

    Args:
        panda: probability of a red panda that the model gave it.
        per_mille: of the lowest band, how many in a thousand.
    """
    band = max(i for i, floor in enumerate(BAND_FLOORS) if panda >= floor)
    return round(min(1.0, per_mille / 1000 * _TIMES_THE_LOWEST[band]), 6)


def drawn(record: Record, per_mille: float) -> float | None:
    """The probability with which a record was drawn; None where it was not, or is no discard."""
    if record.fate not in AUDITED_FATES or record.scores is None or record.stays_here or not record.media_id:
        return None
    chance = probability(record.scores.panda, per_mille)
    return chance if _lot(record.media_id) < chance else None


def _lot(media_id: str) -> float:
    """A number from 0 to below 1 that belongs to these bytes."""
    digest = hashlib.blake2b(bytes.fromhex(media_id), digest_size=6, person=b"ponya-audit").digest()
    return int.from_bytes(digest) / 2**48
