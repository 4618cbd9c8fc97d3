"""What a command works on, as its environment variables say, and the words that all commands share."""

import argparse
import os
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from cloud_sync import migrate, settings
from cloud_sync.store import Store

if TYPE_CHECKING:
    from cloud_sync.fleet import Fleet

FAILED: Final = 1
"""The exit status of a command that failed."""


def command(among: Any, name: str, run: Callable[[argparse.Namespace], int], does: str) -> argparse.ArgumentParser:
    """Add a command to the command line."""
    added: argparse.ArgumentParser = among.add_parser(name, help=does, description=does.capitalize() + ".")
    added.set_defaults(run=run)
    return added


def store_of_environment(*, current: bool = True) -> Store:
    """Headquarters' database; at the revision that this version needs, unless that is what is to be changed."""
    env = settings.Environment(os.environ)
    url = env.text("PONYA_DATABASE_URL")
    env.check()
    store = Store(url)
    if current:
        migrate.require_current(store.engine)
    return store


def fleet_of_environment() -> "Fleet":
    """The gateways, as IoT Hub and Blob Storage know them."""
    env = settings.Environment(os.environ)
    iothub = env.connection_string("IOTHUB_CONNECTION_STRING", "HostName", "SharedAccessKeyName", "SharedAccessKey")
    storage, days = env.storage(), env.upload_sas_days()
    env.check()
    return fleet(iothub, storage, days)


def fleet(iothub: str, storage: settings.Storage, upload_sas_days: float) -> "Fleet":
    """The gateways of a hub, whose pictures go into a storage account."""
    # Azure's SDKs take seconds to import on a small machine; the commands that read the database alone do without.
    from cloud_sync import azure  # noqa: PLC0415
    from cloud_sync.fleet import Fleet  # noqa: PLC0415

    return Fleet(azure.registry(iothub), azure.storage(storage), upload_sas=timedelta(days=upload_sas_days))
