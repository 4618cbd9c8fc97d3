"""``bundle``: gateways without a link."""

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from cloud_sync import settings
from cloud_sync.commands.environment import FAILED, command, store_of_environment
from cloud_sync.database import StoreUnavailableError
from edge_module.errors import ConfigError, PonyaError


def add(commands: Any) -> None:
    """Add these commands to the command line."""
    bundle = commands.add_parser("bundle", help="gateways without a link").add_subparsers(required=True)
    command(bundle, "key", _bundle_key, "make headquarters' key pair")
    enrol = command(bundle, "enrol", _bundle_enrol, "make the file of keys that a gateway needs to write bundles")
    enrol.add_argument("gateway_id", metavar="ID")
    enrol.add_argument("--out", type=Path, required=True, metavar="FILE")
    importing = command(bundle, "import", _bundle_import, "record bundles; writes a confirmation beside each")
    importing.add_argument("files", type=Path, nargs="+", metavar="FILE")


def _bundle_key(_given: argparse.Namespace) -> int:
    from cloud_sync import bundles  # noqa: PLC0415 - see environment.fleet

    path = _bundle_key_file()
    bundles.make_key(path)
    print(f"made {path}: keep it secret, and keep a copy where the building's fire cannot reach it")
    return 0


def _bundle_enrol(given: argparse.Namespace) -> int:
    from cloud_sync import bundles  # noqa: PLC0415 - see environment.fleet

    bundles.enrol(store_of_environment(), bundles.read_key(_bundle_key_file()), given.gateway_id, given.out)
    print(f"wrote {given.out}: a secret, for {given.gateway_id} alone; put it there and delete it here")
    return 0


def _bundle_import(given: argparse.Namespace) -> int:
    from cloud_sync import bundles  # noqa: PLC0415 - see environment.fleet

    env = settings.Environment(os.environ)
    storage = env.storage()
    env.text("PONYA_DATABASE_URL")
    env.check()
    store, key = store_of_environment(), bundles.read_key(_bundle_key_file())
    status = 0
    for path in given.files:
        try:
            imported = asyncio.run(bundles.import_bundle(path, store, azure_storage=storage, key=key))
        except (ConfigError, StoreUnavailableError):
            raise
        except (PonyaError, OSError) as exc:
            print(f"cloud_sync: {path}: {exc}", file=sys.stderr)
            status = FAILED
            continue
        print(f"{path}: {imported.messages} messages, {imported.blobs} pictures of {imported.gateway_id}")
        print(f"carry back to it: {imported.confirmation}")
    return status


def _bundle_key_file() -> Path:
    return settings.Environment(os.environ).path("PONYA_BUNDLE_KEY_FILE", "hq.ponya-key")
