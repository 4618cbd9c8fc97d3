"""What is done once at a new headquarters, in the order of docs/operating: database, gateway, cameras, people."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from azure.storage.blob import ContainerClient

from cloud_sync import azure, deployments, migrate
from cloud_sync.accounts import Role
from cloud_sync.accounts_store import AccountsStore
from cloud_sync.deployments_store import DeploymentsStore
from cloud_sync.fleet import Fleet
from cloud_sync.records import container_of
from cloud_sync.settings import IngestSettings, WebSettings
from cloud_sync.store import Store
from deployment.demo.card import DEPLOYMENTS

_UPLOAD_SAS: Final = timedelta(days=7)


class Headquarters:
    """A headquarters to be: its database and its clients of the local Azure."""

    def __init__(self, env: Mapping[str, str]) -> None:
        """`env` is what its processes are told."""
        os.environ["REQUESTS_CA_BUNDLE"] = env["REQUESTS_CA_BUNDLE"]  # where azure-iot-hub looks
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
            deployments.read_csv(DEPLOYMENTS.read_bytes(), self._box), by="import", new=False
        )

    def add_account(self, role: Role) -> str:
        """Make an account that has its role's name; returns the one-time password."""
        return AccountsStore(self.store.engine).add(role.value, role)

    def container(self, gateway_id: str) -> ContainerClient:
        """Where a gateway's pictures lie."""
        return self._storage.get_container_client(container_of(gateway_id))

    def close(self) -> None:
        """Let go of everything."""
        self._storage.close()
        self.store.close()
