"""The values of the domain: frozen, checked where they are made, without input or output.

The words are design's: a *card* holds *media*; each becomes a *frame*, is scored, gets a *verdict*. Ecology's words are
Camtrap DP's (https://camtrap-dp.tdwg.org, version 1.0.2).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import StrEnum

LABEL_PANDA = "red_panda"
LABEL_BLANK = "blank"
LABEL_HUMAN = "human"

UTC_OFFSET_MAX_MIN = 14 * 60
"""No place on Earth is further from UTC."""


class Fate(StrEnum):
    """What became of one file of a reading: a verdict on what it shows, or why it has none of its own."""

    PANDA = "panda"
    REVIEW = "review"
    OTHER = "other"
    BLANK = "blank"
    HUMAN = "human"
    UNREADABLE = "unreadable"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"


class Variant(StrEnum):
    """A picture made of an original, or the original itself."""

    CROP = "crop"
    """What moved, or all of the frame, in at most 20 KB."""
    FRAME = "frame"
    """Long edge at most 1,600 px, at most 400 KB."""
    ORIGINAL = "original"
    """The file, byte for byte."""
    AUDIT = "audit"
    """A discard that was drawn for people to look at: 160 px."""
    WITHHELD = "withheld"
    """What stays on the gateway, so small that nobody can be known by it: 48 px."""


KEPT_FATES = frozenset({Fate.PANDA, Fate.REVIEW})
"""Whose originals are copied to the gateway before a card may be called safe to wipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A file on a card, as a listing saw it.

    `path` is relative to the card's root, in the file system's own bytes: names need not be UTF-8.
    """

    path: bytes
    size_bytes: int
    mtime_ns: int

    @property
    def name(self) -> str:
        """The path as people and JSON can have it; bytes that are not UTF-8 appear as hexadecimal escapes."""
        return self.path.decode("utf-8", "backslashreplace")

    @property
    def folder(self) -> bytes:
        """The folder part of the path, empty at the root."""
        return os.path.dirname(self.path)  # noqa: PTH120 - bytes, for which pathlib has no type


class OffsetSource(StrEnum):
    """Where a capture time's offset from UTC came from."""

    EXIF = "exif"
    SETTING = "setting"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureTime:
    """When the camera says it took a picture. The raw text is evidence and is never corrected.

    Args:
        exif_time: EXIF DateTimeOriginal as written, ``YYYY:MM:DD HH:MM:SS``.
        local: the same, parsed, without a zone.
        utc_offset_min: minutes east of UTC (Nepal: 345).
        offset_source: whether the camera wrote that offset or a setting supplied it.
    """

    exif_time: str
    local: datetime
    utc_offset_min: int
    offset_source: OffsetSource

    def __post_init__(self) -> None:
        if not -UTC_OFFSET_MAX_MIN <= self.utc_offset_min <= UTC_OFFSET_MAX_MIN:
            raise ValueError(f"utc_offset_min must be within {UTC_OFFSET_MAX_MIN} of 0, not {self.utc_offset_min}")

    @property
    def at(self) -> datetime:
        """The aware instant, keeping the offset."""
        return self.local.replace(tzinfo=timezone(timedelta(minutes=self.utc_offset_min)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Exif:
    """What a picture's EXIF says that the project uses. Everything may be absent."""

    captured: CaptureTime | None = None
    camera_make: str | None = None
    camera_model: str | None = None
    camera_serial: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A part of an upright frame, in fractions of its width and height."""

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1):
            raise ValueError(f"a box must have an inside, within the frame: {self}")

    @classmethod
    def square(cls, x: float, y: float, side: float) -> "Box":
        """A square in fractions, so of the frame's aspect, around a point: moved inside where it would stick out."""
        half = side / 2
        x, y = min(max(x, half), 1 - half), min(max(y, half), 1 - half)
        return cls(left=x - half, top=y - half, right=x + half, bottom=y + half)

    def pixels(self, width_px: int, height_px: int) -> tuple[float, float, float, float]:
        """The same in pixels of a picture of that size: left, top, right, bottom."""
        return self.left * width_px, self.top * height_px, self.right * width_px, self.bottom * height_px

    def rounded(self) -> "Box":
        """The same in thousandths, as the ledger and the wire have it."""
        return Box(
            left=round(self.left, 3), top=round(self.top, 3), right=round(self.right, 3), bottom=round(self.bottom, 3)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What the model thinks of one frame.

    Args:
        probabilities: one probability a label, in the model's order, in thousandths, summing to about 1.
        night: whether the frame has (almost) no colour, as under infrared light.
        view: which view of the frame these are of: ``full``, ``motion`` or ``closer``.
        box: what that view shows of the frame, in thousandths; absent where it shows all of it.
    """

    probabilities: Mapping[str, float]
    night: bool
    view: str
    box: Box | None = None

    def __post_init__(self) -> None:
        total = sum(self.probabilities.values())
        if LABEL_PANDA not in self.probabilities or not 0.98 < total < 1.02:  # noqa: PLR2004 - rounding
            raise ValueError(f"probabilities must name {LABEL_PANDA} and sum to 1, not {total}")

    @property
    def panda(self) -> float:
        """Probability of a red panda."""
        return self.probabilities[LABEL_PANDA]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The gateway's words about one file of a card: what the ledger keeps, headquarters is owed, and people see.

    Known everywhere by (`card_id`, `path`, `media_id`, `model_id`); scoring again with another model adds a record.

    Args:
        reading_id: the reading of the card that first met the file.
        path: `Media.name`.
        media_id: SHA-256 of the file's bytes, hexadecimal; empty for what was not read (`ignored`).
        model_id: `scorer.Model.model_id`; empty where no model looked at the file.
        event_id: shared by the frames of one event on one card (Camtrap DP ``eventID``); empty outside events.
        reason: why the model did not decide the fate; empty where it did.
        scores: absent where the picture could not be scored.
        exif: as read from the file.
        withheld: whether there may be a person in the picture, so that it never leaves the gateway. Of a picture whose
            fate is `human` it need not be said.
        audit_probability: with which probability a discard was drawn for people to look at; absent where it was not.
    """

    card_id: str
    reading_id: str
    path: str
    media_id: str
    model_id: str
    event_id: str = ""
    fate: Fate
    reason: str = ""
    scores: Scores | None = None
    exif: Exif = field(default_factory=Exif)
    size_bytes: int
    withheld: bool = False
    audit_probability: float | None = None

    def __post_init__(self) -> None:
        if self.audit_probability is not None and not 0 < self.audit_probability <= 1:
            raise ValueError(f"audit_probability must be above 0 and at most 1, not {self.audit_probability}")

    @property
    def stays_here(self) -> bool:
        """Whether no picture of it may leave the gateway."""
        return self.withheld or self.fate == Fate.HUMAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card, or a folder that is read like one.

    Args:
        card_id: stable for as long as the card keeps its marker or file system.
        source: what the identity rests on: ``marker``, ``filesystem`` or ``folder``.
    """

    card_id: str
    source: str


class ReadingState(StrEnum):
    """Where a reading of a card stands."""

    READING = "reading"
    INTERRUPTED = "interrupted"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFile:
    """A file that a receipt names, with why."""

    path: str
    fate: Fate | None
    reason: str


class BelongingSource(StrEnum):
    """What says which deployment a card belongs to."""

    NONE = ""
    SERIAL = "serial"
    MARKER = "marker"
    VOLUME = "volume"
    HEADQUARTERS = "headquarters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Belonging:
    """Which deployment a card belongs to, and by what; without one it is unassigned, and `why` says the reason."""

    deployment_key: str | None = None
    source: BelongingSource = BelongingSource.NONE
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardReceipt:
    """What a reading of a card came to (design, guarantee 1).

    Args:
        counts: files by fate; every fate is present.
        pending: files listed and not yet settled; 0 in a complete reading.
        unconfirmed: verdicts of this reading that headquarters has not confirmed.
        originals_owed: pictures whose original is to be on this gateway's disk before the card is wiped, and is not.
        destroyed_by_wiping: files of which only the card has the original.
        blockers: why it is not safe to wipe, for people; empty when it is.
        named: files without a verdict from the model, each with its reason; at most `NAMED_FILES_MAX`.
        named_omitted: how many more there are; the ledger and ``scan --json`` name them all.
        cameras: how many pictures each camera's serial number accounts for.
        belonging: the deployment that the whole card belongs to (whose.py).
    """

    card_id: str
    reading_id: str
    state: ReadingState
    counts: Mapping[Fate, int]
    pending: int
    unconfirmed: int
    originals_owed: int
    destroyed_by_wiping: int
    blockers: tuple[str, ...]
    named: tuple[NamedFile, ...]
    named_omitted: int
    cameras: Mapping[str, int]
    belonging: Belonging = Belonging()

    @property
    def seen(self) -> int:
        """Every file that the listing found."""
        return sum(self.counts.values()) + self.pending

    @property
    def safe_to_wipe(self) -> bool:
        """Whether the card may be wiped without losing anything that is owed."""
        return not self.blockers
