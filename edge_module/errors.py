"""Errors, named by what to do about them.

Adapters translate the exceptions of an SDK, of Pillow or of the operating system into these at the
boundary, with ``raise ... from exc``. Whoever catches one knows the reaction from its class alone.
"""

import errno
from enum import StrEnum


class PonyaError(Exception):
    """Base of everything this project raises on purpose."""


class ConfigError(PonyaError):
    """A setting is wrong: refuse it, keep the last good ones, report. Carries one line a fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class MediaError(PonyaError):
    """This one file cannot be used: set it aside with the reason and go on."""


class NotReadNow(MediaError):  # noqa: N818 - named by what to do
    """The gateway's own disk does not give this file now: try again later, go on with others meanwhile."""


class CardError(PonyaError):
    """The card cannot be read now: interrupt the reading; it goes on when the card is back."""


class ModelError(PonyaError):
    """The model cannot be trusted: roll back, or refuse to start. Names file and fault."""


class SurroundingsError(PonyaError):
    """The machine or container lacks something: refuse to start, say what to mount or free."""


class LedgerError(PonyaError):
    """The ledger cannot be trusted or written: stop before anything is claimed."""


class Trouble(StrEnum):
    """What is wrong with the gateway's own disk."""

    FULL = "full"
    READ_ONLY = "read-only"
    FAILING = "failing"


class StorageError(LedgerError):
    """The gateway's own disk cannot be written now: read no card, keep what is owed, try again later."""

    def __init__(self, text: str, trouble: Trouble) -> None:
        super().__init__(text)
        self.trouble = trouble

    @classmethod
    def of(cls, text: str, exc: OSError) -> "StorageError":
        """Say which trouble an error of the operating system's is."""
        full, read_only = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), (errno.EROFS, errno.EACCES, errno.EPERM)
        trouble = (
            Trouble.FULL if exc.errno in full else Trouble.READ_ONLY if exc.errno in read_only else Trouble.FAILING
        )
        return cls(f"{text}: {exc.strerror}", trouble)


class TransientDelivery(PonyaError):  # noqa: N818 - named by what to do, as design has it
    """Not delivered, may be later: back off and try again."""


class NotSent(TransientDelivery):
    """Nothing of it has left this machine: as `TransientDelivery`, and no budget was used."""


class BlocksForgotten(TransientDelivery):
    """Storage has thrown away what it had of a large blob: send its blocks again."""


class CredentialRefused(TransientDelivery):
    """Storage does not accept the credential, or there is none: ask headquarters for another and try again."""


class PermanentDelivery(PonyaError):  # noqa: N818
    """Never deliverable as it is: bury it and report."""


class WireError(PonyaError):
    """A message does not follow the contract: headquarters quarantines it."""


class BusyError(PonyaError):
    """Too much has been asked for: ask again later."""
