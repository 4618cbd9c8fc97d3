"""What the page and the lamp say of each card, and of the gateway. Pure.

A card that is in, or was, is one of:

1. *error*: something is wrong with it, and a person has to do something;
2. *reading*: it is being read, with the time that is left;
3. *safe*: it may be wiped (the receipt says so, and headquarters has confirmed everything);
4. *wait*: it is read, but the link is too slow to wait for: leave it alone, put a spare into the camera;
5. *sending*: it is read, and what headquarters is owed is on its way.

The gateway is the first of these that any of its cards is (error, reading, sending, wait, safe), or *waiting*.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edge_module.domain import CardReceipt, Fate, ReadingState
from edge_module.places import CardSeen, PlaceState

WAIT_LONGEST_S: Final = 900.0
"""Nobody stands beside a gateway for longer than this."""
_PATIENCE_S: Final = 120.0
"""So long nothing need be confirmed before the link counts as slow."""
_RATE_AFTER_FILES: Final = 10
"""So many files tell how fast a card is read."""


class Word(StrEnum):
    """What a card, or the gateway, is at: the words that the lamp's command gets."""

    ERROR = "error"
    READING = "reading"
    SENDING = "sending"
    WAIT = "wait"
    SAFE = "safe"
    WAITING = "waiting"


_FIRST: Final = (Word.ERROR, Word.READING, Word.SENDING, Word.WAIT, Word.SAFE)


class Trouble(StrEnum):
    """What is wrong with a card; the page's catalogues have what to do about each."""

    HUNG = "hung"
    CONFLICT = "conflict"
    INTERRUPTED = "interrupted"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How what is owed gets to headquarters.

    Args:
        connected: whether the edge hub is there.
        owed_bytes: of messages that headquarters has not confirmed.
        bytes_per_s: that it has confirmed of late; 0 if none.
    """

    connected: bool
    owed_bytes: int
    bytes_per_s: float

    @property
    def left_s(self) -> float | None:
        """When headquarters will have it all, if it goes on like this; None if nothing goes on."""
        return self.owed_bytes / self.bytes_per_s if self.bytes_per_s > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardShown:
    """One card, as people are to see it.

    Args:
        name: of its folder while it is in; else its id. From the card: not to be trusted.
        here: whether it is in the gateway now.
        left_s: until it is read, or until what is owed is confirmed; None if nobody knows.
        unconfirmed: verdicts that headquarters has not confirmed.
        lost_by_wiping: files of which only the card has the original.
        why: technical details of a trouble, in English.
    """

    name: str
    here: bool
    word: Word
    trouble: Trouble | None = None
    done: int = 0
    total: int = 0
    left_s: float | None = None
    unconfirmed: int = 0
    pandas: int = 0
    lost_by_wiping: int = 0
    why: str = ""


def shown(
    seen: Sequence[CardSeen],
    receipts: Mapping[str, CardReceipt],
    link: Link,
    *,
    read_for_s: Mapping[str, float],
    now_s: float,
) -> list[CardShown]:
    """Say what each card is at: those that are in first, then those of other readings among `receipts`.

    Args:
        seen: the cards that are in.
        receipts: by reading: of those cards, and of others that were read lately.
        link: to headquarters.
        read_for_s: by reading, since when it has been known to be read.
        now_s: monotonic.
    """  # fmt: skip
    here = [
        _here(card, receipts.get(card.reading_id), link, read_for_s.get(card.reading_id, 0.0), now_s)
        for card in seen
        if card.state not in (PlaceState.EMPTY, PlaceState.TWICE)
    ]
    present = {card.card_id for card in seen}
    gone = [
        _read(receipt.card_id, receipt, link, read_for_s.get(reading_id, 0.0), here=False)
        for reading_id, receipt in receipts.items()
        if receipt.card_id not in present
    ]
    return here + gone


def of_all(cards: Sequence[CardShown], *, fault: bool = False) -> Word:
    """What the gateway is at: of the cards that are in."""
    words = {card.word for card in cards if card.here}
    return Word.ERROR if fault else next((word for word in _FIRST if word in words), Word.WAITING)


def _here(card: CardSeen, receipt: CardReceipt | None, link: Link, read_for_s: float, now_s: float) -> CardShown:
    match card.state:
        case PlaceState.HUNG:
            return CardShown(name=card.name, here=True, word=Word.ERROR, trouble=Trouble.HUNG)
        case PlaceState.CONFLICT:
            return CardShown(name=card.name, here=True, word=Word.ERROR, trouble=Trouble.CONFLICT, why=card.why)
        case PlaceState.FAILED:
            return CardShown(name=card.name, here=True, word=Word.ERROR, trouble=Trouble.INTERRUPTED, why=card.why)
        case PlaceState.READ if receipt is not None:
            return _read(card.name, receipt, link, read_for_s, here=True)
    return CardShown(
        name=card.name, here=True, word=Word.READING, done=card.done, total=card.total, left_s=_left_s(card, now_s)
    )


def _left_s(card: CardSeen, now_s: float) -> float | None:
    fresh = card.done - card.done_before
    if card.state is not PlaceState.READING or fresh < min(_RATE_AFTER_FILES, card.total):
        return None
    return (card.total - card.done) * max(0.0, now_s - card.began_s) / max(1, fresh)


def _read(name: str, receipt: CardReceipt, link: Link, read_for_s: float, *, here: bool) -> CardShown:
    word, trouble, left_s = Word.SENDING, None, None
    if receipt.safe_to_wipe:
        word = Word.SAFE
    elif receipt.state is not ReadingState.COMPLETE or receipt.pending:
        word, trouble = Word.ERROR, Trouble.INTERRUPTED
    elif receipt.unconfirmed:
        left_s = link.left_s
        slow = left_s is None or left_s > WAIT_LONGEST_S or not link.connected
        if slow and (read_for_s > _PATIENCE_S or (left_s or 0.0) > WAIT_LONGEST_S):
            word = Word.WAIT
    else:
        word, trouble = Word.ERROR, Trouble.INCOMPLETE
    return CardShown(
        name=name, here=here, word=word, trouble=trouble, left_s=left_s, unconfirmed=receipt.unconfirmed,
        total=receipt.seen, done=receipt.seen - receipt.pending, pandas=receipt.counts[Fate.PANDA],
        lost_by_wiping=receipt.destroyed_by_wiping, why="; ".join(receipt.blockers) if trouble else "",
    )  # fmt: skip
