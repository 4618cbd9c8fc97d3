"""Figures of headquarters' map: `python -m tests.hq_bench`. Prints JSON; takes some minutes.

The map's answer over a million observations on PostgreSQL, against the bare indexed query for the same rows.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, text

from cloud_sync.database import connect
from cloud_sync.deployments_store import DeploymentsStore
from cloud_sync.store import Store
from cloud_sync.web.map_store import MapStore, Span
from cloud_sync.web.pictures_store import PicturesStore, Tab
from tests.databases import running_postgresql
from tests.hq_data import deployments

OBSERVATIONS = 1_000_000
REPEATS = 7

_FILL = """
INSERT INTO records (record_key, gateway_id, ledger_id, sequence, card_id, reading_id, path, media_id, model_id,
  event_id, fate, reason, size_bytes, panda_probability, night, view, captured_at, exif_time, utc_offset_min,
  offset_source, camera_serial, deployment_key)
SELECT sha256(n::text::bytea), 'gateway-1', 'ledger', n, 'card-' || n % 100, 'reading-' || n % 100, 'DCIM/' || n,
  encode(sha256(n::text::bytea), 'hex'), 'model', 'event-' || n / 3,
  CASE WHEN n % 23 = 0 THEN 'panda' WHEN n % 19 = 0 THEN 'review' WHEN n % 7 = 0 THEN 'other'
    WHEN n % 97 = 0 THEN 'human' ELSE 'blank' END,
  '', 3000000, 0.5, false, 'full', timestamptz '2025-01-01Z' + n * interval '31 seconds', '2026:01:01 00:00:00', 345,
  'setting', 'HQ-' || n % 200, CASE WHEN n % 20 = 0 THEN NULL ELSE lpad((n % 200)::text, 16, '0') END
FROM generate_series(1, :observations) n
"""
_BARE = {
    "counts": "SELECT deployment_key, fate, count(*) FROM records GROUP BY deployment_key, fate",
    "sightings": "SELECT record_key, deployment_key, captured_at FROM records WHERE fate = 'panda' "
    "ORDER BY captured_at DESC LIMIT 1000",
}


def median_ms(work: Callable[[], Any]) -> float:
    """Of `REPEATS`, after one that warms up."""
    work()
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return round(statistics.median(taken) * 1000, 1)


def measured(engine: Engine) -> dict[str, float]:
    """Milliseconds by what was asked."""

    def bare(statement: str) -> list[Any]:
        with engine.connect() as connection:
            return list(connection.execute(text(statement)))

    maps, pictures = MapStore(engine), PicturesStore(engine)
    month = Span(starts_at=datetime(2025, 6, 1, tzinfo=UTC), ends_at=datetime(2025, 7, 1, tzinfo=UTC))
    camera = "7".zfill(16)
    second = pictures.page(camera, Tab.ALL).older
    figures = {
        "bare_counts_ms": median_ms(lambda: bare(_BARE["counts"])),
        "bare_sightings_ms": median_ms(lambda: bare(_BARE["sightings"])),
        "map_counts_ms": median_ms(lambda: maps.seen(Span())),
        "map_sightings_ms": median_ms(lambda: maps.sightings(Span())),
        "map_month_ms": median_ms(lambda: (maps.seen(month), maps.sightings(month))),
        "map_camera_ms": median_ms(lambda: (maps.seen(Span(), [camera]), maps.sightings(Span(), [camera]))),
        "pictures_page_ms": median_ms(lambda: pictures.page(camera, Tab.ALL)),
        "pictures_second_page_ms": median_ms(lambda: pictures.page(camera, Tab.ALL, second)),
        "pictures_of_no_camera_ms": median_ms(lambda: pictures.page(None, Tab.ALL)),
    }
    whole = figures["map_counts_ms"] + figures["map_sightings_ms"]
    figures["map_over_bare"] = round(whole / (figures["bare_counts_ms"] + figures["bare_sightings_ms"]), 2)
    return figures


def main() -> int:
    """Fill a server of its own, and measure."""
    with running_postgresql() as server:
        url = server.new_database()
        store = Store(url)
        for gateway_id in ("gateway-1", "gateway-2"):
            store.add_gateway(gateway_id, datetime.now(UTC))
        store.close()
        engine = connect(url)
        DeploymentsStore(engine).save(deployments(), by="bench")
        with engine.begin() as connection:
            connection.execute(text(_FILL), {"observations": OBSERVATIONS})
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE records"))
        print(json.dumps({"observations": OBSERVATIONS, **measured(engine)}, indent=1))  # noqa: T201 - its purpose
        engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
