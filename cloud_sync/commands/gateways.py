"""``gateway``: registers gateways, lists them, and calls their direct methods."""

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final

from cloud_sync import settings
from cloud_sync.commands.environment import FAILED, command, fleet, fleet_of_environment, store_of_environment
from edge_module.errors import ConfigError

_METHOD_FAILED: Final = 400


def add(commands: Any) -> None:
    """Add these commands to the command line."""
    gateway = commands.add_parser("gateway", help="register and list gateways").add_subparsers(required=True)
    adding = command(gateway, "add", _gateway_add, "make a gateway's identity and its container")
    adding.add_argument(
        "gateway_id", metavar="ID", help="3 to 50 lower-case letters and digits, single hyphens between"
    )
    adding.add_argument("--replace", action="store_true", help="new hardware under the old name: new keys, the old die")
    listing = command(gateway, "list", _gateway_list, "every gateway and when it was last heard")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")

    call = command(gateway, "call", _gateway_call, "call a direct method (docs/methods.md) and show the answer")
    call.add_argument("gateway_id", metavar="ID")
    call.add_argument("method", metavar="METHOD", help="such as getStatus")
    call.add_argument("payload", nargs="?", metavar="JSON", help="its parameters")


def _gateway_add(given: argparse.Namespace) -> int:
    env = settings.Environment(os.environ)
    iothub = env.connection_string("IOTHUB_CONNECTION_STRING", "HostName", "SharedAccessKeyName", "SharedAccessKey")
    storage, days = env.storage(), env.upload_sas_days()
    env.text("PONYA_DATABASE_URL")
    env.check()
    store = store_of_environment()
    credentials = fleet(iothub, storage, days).register(given.gateway_id, replace=given.replace)
    store.add_gateway(given.gateway_id, datetime.now(UTC))
    host = dict(p.partition("=")[::2] for p in iothub.split(";"))["HostName"]
    print(f"{given.gateway_id} is registered. For its config.toml (a secret, shown here and in IoT Hub only):")
    print(f"HostName={host};{credentials}")
    return 0


def _gateway_list(given: argparse.Namespace) -> int:
    for row in store_of_environment().gateways():
        seen = row.last_message_at.isoformat(timespec="seconds") if row.last_message_at else None
        if given.json:
            print(json.dumps({"gateway_id": row.gateway_id, "last_message_at": seen}))
        else:
            print(f"{row.gateway_id:<52} {seen or 'has sent nothing yet'}")
    return 0


def _gateway_call(given: argparse.Namespace) -> int:
    payload = None
    if given.payload is not None:
        try:
            payload = json.loads(given.payload)
        except ValueError as exc:
            raise ConfigError([f"JSON: {given.payload[:80]!r} is none ({exc})"]) from exc
    status, answer = fleet_of_environment().call(given.gateway_id, given.method, payload)
    print(json.dumps(answer, indent=1, ensure_ascii=False))
    if status >= _METHOD_FAILED:
        print(f"cloud_sync: {given.gateway_id} answered {status}", file=sys.stderr)
        return FAILED
    return 0
