"""What headquarters holds of a ledger -> what it confirms. Pure.

A gateway counts its messages from 1. `wire.Confirmed` has to fit a desired property, so its lists are bounded, always
on the safe side: `highest` ends before the first missing range and the first parked message that are not listed.
"""

from collections.abc import Iterable
from typing import Final

from edge_module.wire import Confirmed

FIRST_SEQUENCE: Final = 1
MISSING_MAX: Final = 64
PARKED_MAX: Final = 128
"""With these, the property is under 5 KB of the 32 that a twin allows even if each sequence takes 16 digits."""


def confirmed(
    ledger_id: str, *, through: int, held: Iterable[int], highest: int, parked: Iterable[int]
) -> tuple[Confirmed, int]:
    """Say what is confirmed.

    Args:
        ledger_id: of the gateway.
        through: every sequence up to this one is known to be held; 0 for none.
        held: the sequences above `through` that are recorded or parked, ascending; may stop early.
        highest: the highest sequence that has arrived, held or not.
        parked: those that are parked, ascending, at least the first `PARKED_MAX` + 1.

    Returns:
        What to confirm, and the new `through` to remember: they differ where too many messages are parked.
    """
    missing: list[tuple[int, int]] = []
    expected = through + 1
    for sequence in held:
        if sequence > expected:
            if len(missing) == MISSING_MAX:
                highest = expected - 1
                break
            missing.append((expected, sequence - 1))
        elif not missing:
            through = sequence
        expected = sequence + 1
    if expected <= highest:
        if len(missing) < MISSING_MAX:
            missing.append((expected, highest))
        else:
            highest = expected - 1
    complete = through
    listed = list(parked)
    if len(listed) > PARKED_MAX:
        highest = min(highest, listed[PARKED_MAX] - 1)
        through = min(through, highest)
        missing = [(first, last) for first, last in missing if first <= highest]
    value = Confirmed(
        ledger_id=ledger_id,
        through=through,
        highest=highest,
        missing=tuple(missing),
        parked=tuple(listed[:PARKED_MAX]),
    )
    return value, complete
