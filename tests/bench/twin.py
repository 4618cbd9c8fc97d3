"""``python -m tests.bench.twin``: how long from a patch of the device twin until the gateway has reported on it.

On the local cloud, with Azure's own SDKs: the patch goes through the hub and the edge hub to the gateway and its answer
the same way back. While the gateway does nothing, and while it reads a card. Prints JSON.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import Twin, TwinProperties

from tests.local_azure import Gateway, LocalAzure, wait_until
from tests.pictures import jpeg

ROOT = Path(__file__).resolve().parents[2]
PATCHES = 40
CARD_FRAMES = 4000
POLL_S = 0.01


def measure(registry: IoTHubRegistryManager, edge: Gateway, patches: int) -> list[float]:
    """Seconds from before a patch is written until its answer can be read, for each patch."""
    took_s = []
    for n in range(patches):
        wanted = 1000 + n % 7 + (n // 7)
        patch = Twin(properties=TwinProperties(desired={"settings": {"retry_longest_s": wanted}}))
        began_s = time.monotonic()
        registry.update_module_twin(edge.gateway_id, "camtrap", patch)
        while _answer(registry, edge) != wanted:
            time.sleep(POLL_S)
        took_s.append(time.monotonic() - began_s)
    return took_s


def _answer(registry: IoTHubRegistryManager, edge: Gateway) -> Any:
    reported = registry.get_module_twin(edge.gateway_id, "camtrap").properties.reported
    return ((reported.get("settings") or {}).get("retry_longest_s") or {}).get("value")


def _summary(took_s: list[float]) -> dict[str, float]:
    return {
        "patches": len(took_s),
        "median_s": round(statistics.median(took_s), 3),
        "longest_s": round(max(took_s), 3),
    }


def main() -> None:
    """Start a cloud and a gateway, measure, and end them."""
    with tempfile.TemporaryDirectory() as name, LocalAzure.started() as azure, azure.environment():
        folder, edge = Path(name), azure.add_gateway()
        (folder / "cards").mkdir()
        registry = IoTHubRegistryManager.from_connection_string(azure.service_env["IOTHUB_CONNECTION_STRING"])
        env = {
            **os.environ, **edge.module_env, "PONYA_DATA_DIR": str(folder / "data"),
            "PONYA_CARDS_DIR": str(folder / "cards"), "PONYA_SETTLE_S": "0", "PONYA_POLL_S": "0.5",
        }  # fmt: skip
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(
                [sys.executable, "-m", "edge_module", "run"], cwd=ROOT, env=env, stdout=log, stderr=log
            ) as process,
        ):
            try:
                wait_until(lambda: edge.status()["modules_connected"], timeout_s=120)
                measure(registry, edge, 3)
                idle = measure(registry, edge, PATCHES)
                card = folder / "card"
                card.mkdir()
                for n in range(CARD_FRAMES):
                    (card / f"IMG_{n:05}.JPG").write_bytes(jpeg(n))
                card.rename(folder / "cards" / "card")
                ledger = folder / "data" / "ledger.sqlite-wal"
                wait_until(lambda: ledger.stat().st_size > 100_000, timeout_s=120, what="the card is read")
                reading = measure(registry, edge, PATCHES)
            finally:
                process.terminate()
                process.wait(30)
    print(json.dumps({"idle": _summary(idle), "reading a card": _summary(reading)}))  # noqa: T201


if __name__ == "__main__":
    main()
