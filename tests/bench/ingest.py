"""``python -m tests.bench.ingest``: what taking a batch of 500 records costs, against a plain insert of its rows.

CPU time of this process, after the event has been decoded from AMQP, on a new SQLite file each. The bar is a ratio of
2. Never a test: a time that is asserted fails on somebody else's machine.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from azure.storage.blob.aio import BlobServiceClient
from sqlalchemy import insert

from cloud_sync import schema
from cloud_sync.database import transaction
from cloud_sync.intake import Delivery, Intake, understand
from cloud_sync.media import Blobs
from cloud_sync.migrate import migrate
from cloud_sync.store import Store
from tests.cloud_messages import GATEWAY, body, records

_BATCHES: Final = 20
_ROUNDS: Final = 7
_NOWHERE: Final = "http://127.0.0.1:1/none"


def main() -> None:
    """Measure, and print one JSON object."""
    ratios, plain_ms, taken_ms = [], [], []
    for _ in range(_ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            plain = _cost(Path(folder) / "plain.db", _insert)
            taken = _cost(Path(folder) / "taken.db", _take)
        ratios.append(taken / plain)
        plain_ms.append(plain)
        taken_ms.append(taken)
    print(  # noqa: T201 - a command line prints
        json.dumps(
            {
                "insert_ms_a_batch": round(median(plain_ms), 1),
                "take_ms_a_batch": round(median(taken_ms), 1),
                "ratio": round(median(ratios), 2),
                "ratio_least": round(min(ratios), 2),
                "ratio_most": round(max(ratios), 2),
                "bytes_a_frame": round(len(_deliveries()[0].body) / 500, 1),
            }
        )
    )


def _deliveries() -> list[Delivery]:
    return [
        Delivery(
            gateway_id=GATEWAY, message_id="", body=body(n + 1, records(500 * n, 500)), received_at=datetime.now(UTC)
        )
        for n in range(_BATCHES)
    ]


def _cost(database: Path, work: Callable[[Store, list[Delivery]], float]) -> float:
    store = Store(f"sqlite:///{database}")
    migrate(store.engine)
    store.add_gateway(GATEWAY, datetime.now(UTC))
    cost_s = work(store, _deliveries())
    assert sum(1 for _ in store.observations()) == 500 * _BATCHES
    store.close()
    return 1000 * cost_s / _BATCHES


def _insert(store: Store, deliveries: list[Delivery]) -> float:
    batches = [understand(d, {GATEWAY})[0].rows[0][1] for d in deliveries]
    began = time.process_time()
    for rows in batches:
        with transaction(store.engine) as connection:
            connection.execute(insert(schema.records), rows)
    return time.process_time() - began


def _take(store: Store, deliveries: list[Delivery]) -> float:
    async def take() -> float:
        async with BlobServiceClient(_NOWHERE) as service:
            intake = Intake(store, Blobs(service))
            began = time.process_time()
            for delivery in deliveries:
                await intake.take([delivery])
            return time.process_time() - began

    return asyncio.run(take())


if __name__ == "__main__":
    main()
