"""What is done once at a new headquarters, in the order of docs/operating: database, gateway, cameras, people."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cloud_sync import azure, camtrap_dp, migrate
from cloud_sync.accounts import Role
from cloud_sync.accounts_store import AccountsStore
from cloud_sync.deployments_store import DeploymentsStore
from cloud_sync.fleet import Fleet
from cloud_sync.records import container_of
from cloud_sync.settings import IngestSettings, WebSettings
from cloud_sync.store import Store
from deployment.demo.outcome import Outcome, Progress, outcome, progress

DEPLOYMENTS: Final = Path(__file__).with_name("deployments.csv")
"""Camtrap DP: where the demo card's cameras stand, by the serial numbers that its pictures carry."""

_UPLOAD_SAS: Final = timedelta(days=7)


class Headquarters:
    """A headquarters to be: its database and its clients of the local Azure."""

    def __init__(self, env: Mapping[str, str]) -> None:
        """`env` is what its processes are told."""
        for name in ("REQUESTS_CA_BUNDLE", "NO_PROXY", "no_proxy"):  # where the SDKs look, in this process too
            os.environ[name] = env[name]
        self._settings = IngestSettings.read(env)
        self._box = WebSettings.read(env).box
        self._storage = azure.storage(self._settings.storage)
        self.store = Store(self._settings.database_url)

    def set_up(self, gateway_id: str) -> None:
        """Make the database, register a gateway, and enter where the demo's cameras stand."""
        migrate.migrate(self.store.engine)
        fleet = Fleet(azure.registry(self._settings.iothub), self._storage, upload_sas=_UPLOAD_SAS)
        fleet.register(gateway_id)
        self.store.add_gateway(gateway_id, datetime.now(UTC))
        DeploymentsStore(self.store.engine).save(
            camtrap_dp.read_csv(DEPLOYMENTS.read_bytes(), self._box), by="import", new=False
        )

    def add_account(self, role: Role) -> str:
        """Make an account that has its role's name; returns the one-time password."""
        return AccountsStore(self.store.engine).add(role.value, role)

    def progress(self, gateway_id: str) -> Progress:
        """How far a gateway's card has come."""
        return progress(self.store, gateway_id)

    def outcome(self, gateway_id: str) -> Outcome:
        """The balance of a gateway's card, its pictures looked up in Blob Storage."""
        return outcome(self.store, self._storage.get_container_client(container_of(gateway_id)), gateway_id)

    def close(self) -> None:
        """Let go of everything."""
        self._storage.close()
        self.store.close()
