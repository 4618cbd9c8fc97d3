"""The bandwidth ladder: which pictures of a verdict travel, and which go first. Pure.

1. What stays here sends nothing but, if that is set, the whole frame at 48 px.
2. What could not be scored sends nothing unasked: nobody knows what a picture of it would show.
3. A crop is owed of each fate in `Policy.crop_of`, a frame of those in `frame_of`, the original of `original_of`.
4. A discard that was drawn for the audit owes its thumbnail.

Pictures of one rung go in the order of their worth: the likeliest red panda first.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from edge_module.domain import Box, Fate, Record, Variant
from edge_module.settings import Settings


class Rung(IntEnum):
    """What goes before what: all of a lower number first."""

    PANDA_CROP = 0
    ASKED = 1
    """Somebody at headquarters waits for it."""
    REVIEW_CROP = 2
    PANDA_FRAME = 3
    REVIEW_FRAME = 4
    AUDIT = 5
    WITHHELD = 6
    ASKED_ORIGINAL = 7
    ORIGINAL = 8


_OF: Final = {
    "none": frozenset[Fate](),
    "panda": frozenset({Fate.PANDA}),
    "panda_and_review": frozenset({Fate.PANDA, Fate.REVIEW}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What travels unasked.

    Args:
        crop_of: fates.
        frame_of: fates.
        original_of: fates.
        withheld: whether pictures that stay here go as 48 px.
        audit_per_mille: of the least likely discards, how many in a thousand are drawn (audit.py).
    """

    crop_of: frozenset[Fate]
    frame_of: frozenset[Fate]
    original_of: frozenset[Fate]
    withheld: bool
    audit_per_mille: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The policy that is set."""
        return cls(
            crop_of=_OF[settings.crop_of],
            frame_of=_OF[settings.frame_of],
            original_of=_OF[settings.original_of],
            withheld=settings.withheld_pictures,
            audit_per_mille=settings.audit_per_mille,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A picture that headquarters is owed.

    Args:
        worth: within its rung, 0 to 1.
        box: what of the frame a crop shows; all of it unless given.
        picture: the JPEG itself, where no original is kept to make it of.
    """

    variant: Variant
    rung: Rung
    worth: float
    box: Box | None = None
    picture: bytes | None = None


def wanted(record: Record, policy: Policy, thumbnail: bytes | None = None) -> tuple[Want, ...]:
    """The pictures that are owed of a record, by the rules above.

    Args:
        record: with its fate.
        policy: what travels unasked.
        thumbnail: of a picture that was drawn for the audit, or that stays here.
    """
    worth = record.scores.panda if record.scores else 0.0
    if record.stays_here:
        if thumbnail is None or not policy.withheld:
            return ()
        return (Want(variant=Variant.WITHHELD, rung=Rung.WITHHELD, worth=worth, picture=thumbnail),)
    if record.reason:
        return ()
    wants = []
    panda = record.fate is Fate.PANDA
    if record.fate in policy.crop_of:
        rung = Rung.PANDA_CROP if panda else Rung.REVIEW_CROP
        box = record.scores.box if record.scores else None
        wants.append(Want(variant=Variant.CROP, rung=rung, worth=worth, box=box))
    if record.fate in policy.frame_of:
        rung = Rung.PANDA_FRAME if panda else Rung.REVIEW_FRAME
        wants.append(Want(variant=Variant.FRAME, rung=rung, worth=worth))
    if record.fate in policy.original_of:
        wants.append(Want(variant=Variant.ORIGINAL, rung=Rung.ORIGINAL, worth=worth))
    if record.audit_probability is not None and thumbnail is not None:
        wants.append(Want(variant=Variant.AUDIT, rung=Rung.AUDIT, worth=worth, picture=thumbnail))
    return tuple(wants)
