"""Looking at pictures in Blob Storage."""

import asyncio
import hashlib
from enum import StrEnum
from typing import Final

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient

_AT_ONCE: Final = 4
_QUIET_S: Final = 5.0
"""How long storage is not asked again after it failed to answer: each question holds up its partition."""


class Finding(StrEnum):
    """What became of a look at a blob."""

    THERE = "there"
    ABSENT = "absent"
    DIFFERS = "differs"
    UNKNOWN = "unknown"
    """The storage did not answer, or refused."""


class Blobs:
    """Blob Storage, for reading. Belongs to one event loop."""

    def __init__(self, service: BlobServiceClient) -> None:
        self._service = service
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._quiet_until_s = 0.0

    async def look(self, container: str, name: str, *, size_bytes: int, sha256: str) -> tuple[Finding, str]:
        """Compare a blob with what was said of it, and say why where they differ.

        It is always read whole, in pieces: what stands in its metadata is only the gateway's word once more.
        """
        blob = self._service.get_blob_client(container, name)
        clock_s = asyncio.get_running_loop().time
        try:
            async with self._at_once:
                if clock_s() < self._quiet_until_s:
                    return Finding.UNKNOWN, "Blob Storage has just failed to answer"
                # Once: whoever waits for the blob looks again later.
                stream = await blob.download_blob(max_concurrency=1, retry_total=0)
                if stream.size != size_bytes:
                    return Finding.DIFFERS, f"blob {name} has {stream.size} bytes, the message says {size_bytes}"
                seen = hashlib.sha256()
                async for piece in stream.chunks():
                    seen.update(piece)
        except ResourceNotFoundError:
            return Finding.ABSENT, f"there is no blob {name} in {container}"
        except (AzureError, OSError) as exc:
            if (getattr(exc, "status_code", None) or 500) >= 500:  # noqa: PLR2004 - no answer, or not able to
                self._quiet_until_s = clock_s() + _QUIET_S
            return Finding.UNKNOWN, f"Blob Storage could not be asked for {name}: {type(exc).__name__}"
        if seen.hexdigest() != sha256:
            return Finding.DIFFERS, f"blob {name} has another SHA-256 than the message says"
        return Finding.THERE, ""
