"""What the pages work with, made once."""

from dataclasses import dataclass

from sqlalchemy import Engine

from cloud_sync.accounts_store import AccountsStore
from cloud_sync.deployments_store import DeploymentsStore
from cloud_sync.deployments_telling import Teller
from cloud_sync.settings import WebSettings
from cloud_sync.web.blobs import Blobs
from cloud_sync.web.gateways_store import GatewaysStore
from cloud_sync.web.map_store import MapStore
from cloud_sync.web.pictures_store import PicturesStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Stores, storage and settings.

    Args:
        teller: None where the pages may not write gateways' twins.
    """

    engine: Engine
    settings: WebSettings
    accounts: AccountsStore
    deployments: DeploymentsStore
    gateways: GatewaysStore
    map: MapStore
    pictures: PicturesStore
    blobs: Blobs
    teller: Teller | None
