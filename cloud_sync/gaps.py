"""What headquarters holds of a ledger -> what it confirms. Pure.

A gateway counts its messages from 1. `wire.Confirmed` has to fit a desired property, so its lists are bounded, always
on the safe side: ranges that are left out were not confirmed either, and `through` never passes a parked message that
is not listed.
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
                break
            missing.append((expected, sequence - 1))
        elif not missing:
            through = sequence
        expected = sequence + 1
    if len(missing) < MISSING_MAX and expected <= highest:
        missing.append((expected, highest))
    complete = through
    listed = list(parked)
    if len(listed) > PARKED_MAX:
        # What lies between two ranges is held, so nothing may be said from the first one that is not listed.
        unlisted = listed[PARKED_MAX]
        through = min(through, unlisted - 1)
        missing = [(first, last) for first, last in missing if first < unlisted]
    value = Confirmed(
        ledger_id=ledger_id,
        through=through,
        highest=highest,
        missing=tuple(missing),
        parked=tuple(listed[:PARKED_MAX]),
    )
    return value, complete
