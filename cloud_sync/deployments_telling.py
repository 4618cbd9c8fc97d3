"""Telling gateways of their deployments: what is not told yet stands in the database, and is tried until it is."""

import logging
import threading
from typing import Final

from cloud_sync.database import StoreUnavailableError
from cloud_sync.deployments_store import DeploymentsStore
from cloud_sync.fleet import Fleet
from edge_module.errors import PermanentDelivery, TransientDelivery

log = logging.getLogger(__name__)
_EVERY_S: Final = 60.0


def tell_all(store: DeploymentsStore, fleet: Fleet) -> dict[str, str]:
    """Tell each gateway whose twin does not say what the record says.

    Returns:
        By gateway, empty if it was told, or why not.

    Raises:
        StoreUnavailableError: the database is away.
    """
    outcome: dict[str, str] = {}
    for gateway_id, value in store.to_tell().items():
        try:
            fleet.tell_deployments(gateway_id, value)
        except (TransientDelivery, PermanentDelivery) as exc:
            outcome[gateway_id] = str(exc)
        else:
            store.told(gateway_id, value)
            outcome[gateway_id] = ""
    return outcome


class Teller:
    """Tells gateways in a thread of its own, so that no page waits for IoT Hub. Keeps nothing in memory."""

    def __init__(self, store: DeploymentsStore, fleet: Fleet) -> None:
        self._store = store
        self._fleet = fleet
        self._wanted = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="teller", daemon=True)

    def start(self) -> None:
        """Begin with what is not told yet."""
        self._wanted.set()
        self._thread.start()

    def stop(self) -> None:
        """End; what is under way is not waited for longer than a few seconds."""
        self._stopping = True
        self._wanted.set()
        self._thread.join(5)

    def wake(self) -> None:
        """Something has changed."""
        self._wanted.set()

    def _run(self) -> None:
        while not self._stopping:
            self._wanted.wait(_EVERY_S)
            self._wanted.clear()
            if self._stopping:
                return
            try:
                for gateway_id, why in tell_all(self._store, self._fleet).items():
                    log.info("%s: deployments %s", gateway_id, f"not told yet: {why}" if why else "told")
            except StoreUnavailableError as exc:
                log.warning("deployments not told yet: %s", exc)
            except Exception:
                log.exception("telling gateways their deployments failed")
