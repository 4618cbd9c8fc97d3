"""``deployments``: cameras, where they stand, and telling gateways of them."""

import argparse
import os
from contextlib import closing
from pathlib import Path
from typing import Any

from cloud_sync import settings
from cloud_sync.camtrap_dp import FILE_MAX_BYTES, read_csv
from cloud_sync.commands.environment import FAILED, command, fleet_of_environment, store_of_environment
from cloud_sync.deployments_store import DeploymentsStore


def add(commands: Any) -> None:
    """Add these commands to the command line."""
    deployments = commands.add_parser("deployments", help="cameras and where they stand").add_subparsers(required=True)
    entering = command(deployments, "import", _deployments_import, "enter Camtrap DP's deployments.csv, whole or not")
    entering.add_argument("file", type=Path, metavar="FILE")
    command(deployments, "tell", _deployments_tell, "tell gateways what they have not been told of their deployments")


def _deployments_import(given: argparse.Namespace) -> int:
    env = settings.Environment(os.environ)
    box = env.survey_box()
    env.check()
    with given.file.open("rb") as file:
        found = read_csv(file.read(FILE_MAX_BYTES + 1), box)
    with closing(store_of_environment()) as record:
        store = DeploymentsStore(record.engine)
        records = store.save(found, by="import")
        waiting = list(store.to_tell())
    print(f"{len(found)} deployments are entered; {records} pictures have found their place")
    if waiting:
        print(f"to be told, by `web` while it runs or by `deployments tell`: {', '.join(waiting)}")
    return 0


def _deployments_tell(_given: argparse.Namespace) -> int:
    fleet = fleet_of_environment()
    from cloud_sync.deployments_telling import tell_all  # noqa: PLC0415 - see environment.fleet

    with closing(store_of_environment()) as store:
        outcome = tell_all(DeploymentsStore(store.engine), fleet)
    for gateway_id, why in outcome.items():
        print(f"{gateway_id}: {why or 'told'}")
    return FAILED if any(outcome.values()) else 0
