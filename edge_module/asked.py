"""Pictures that somebody at headquarters asks for: of a kept original, or of one whose card is still in."""

from collections.abc import Callable

from edge_module.card import Mount
from edge_module.domain import Variant
from edge_module.errors import CardError, MediaError
from edge_module.ledger import Ledger
from edge_module.originals import Originals
from edge_module.uploads import Asked


def ask(
    ledger: Ledger,
    originals: Originals,
    media_id: str,
    variant: Variant,
    mounted: Callable[[str], Mount | None],
    *,
    person: Callable[[bytes], bool],
) -> Asked:
    """Queue a picture; where its original is not kept and its card is in, copy the original first.

    Nobody looked for people in what was not to leave: that is made up for before it is copied.

    Args:
        ledger: what is known.
        originals: where a copy would go.
        media_id: which picture: a SHA-256 in hexadecimal.
        variant: one of `uploads.ASKABLE`.
        mounted: the mount of a card by its id, if it is in.
        person: whether there may be one in a file's bytes.

    Raises:
        BusyError: there is no room for its original now.
        LedgerError: the disk is full, read-only or failing.
    """
    answer = ledger.uploads.request(media_id, variant)
    if answer is not Asked.GONE:
        return answer
    for record, media in ledger.records_of(media_id):
        mount = mounted(record.card_id)
        if mount is None:
            continue
        try:
            if person(mount.read(media).data):
                ledger.withhold(media_id)
                return Asked.WITHHELD
            with mount.open(media) as source:
                originals.keep(record, media.path, source, patient=False)
        except (MediaError, CardError, OSError):
            continue  # it changed, or was just taken out: perhaps another card has the same bytes
        ledger.kept_after_all(record)
        return ledger.uploads.request(media_id, variant)
    return Asked.GONE
