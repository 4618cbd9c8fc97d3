"""The record as files for others."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from cloud_sync.store import Store

_INTERNAL: Final = {"record_key"}


def observations_jsonl(store: Store) -> Iterator[str]:
    """One JSON object a line for each record, ordered by card, path, media and model. Streams.

    Raises:
        StoreUnavailableError: the database is away.
    """
    for row in store.observations():
        values = {name: _plain(value) for name, value in row._mapping.items() if name not in _INTERNAL}  # noqa: SLF001 - its API
        yield json.dumps(values, separators=(",", ":"), ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
