"""``python -m deployment.local``: the local Azure's processes, one by one or all together. See docs/local.md."""

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import sys
import time
from pathlib import Path

from deployment.local import MODULE_ID, azurite, service
from deployment.local.blob_proxy import BlobProxy, BlobProxyOptions
from deployment.local.edge_hub import EdgeHub, EdgeHubOptions
from deployment.local.errors import LocalError
from deployment.local.hub import Hub, HubOptions
from deployment.local.provision import provision
from deployment.local.state import State
from deployment.local.system import System


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if given.end_with:
        service.end_with_parent(given.end_with)
    try:
        given.run(given, State(given.state.absolute()))
    except LocalError as exc:
        print(f"deployment.local: {exc}", file=sys.stderr)
        return 1
    return 0


def _hub(given: argparse.Namespace, state: State) -> None:
    options = HubOptions(
        address=given.address,
        name=given.name,
        https_port=given.https_port,
        amqp_port=given.amqp_port,
        amqps_port=given.amqps_port,
        partitions=given.partitions,
        groups=tuple(given.consumer_group),
        retention_s=given.retention_days * 86400,
    )

    async def start() -> None:
        await service.run(Hub(state, options))

    asyncio.run(start())


def _edge_hub(given: argparse.Namespace, state: State) -> None:
    options = EdgeHubOptions(
        gateway_id=given.gateway, address=given.address, hub_url=given.hub_url, time_to_live_s=given.time_to_live_s
    )

    async def start() -> None:
        await service.run(EdgeHub(state, options))

    asyncio.run(start())


def _blob_proxy(given: argparse.Namespace, state: State) -> None:
    async def start() -> None:
        await service.run(BlobProxy(state, BlobProxyOptions(target_url=given.target_url, port=given.port)))

    asyncio.run(start())


def _azurite(given: argparse.Namespace, state: State) -> None:
    azurite.run(state, port=given.port, cache=given.cache)


def _up(given: argparse.Namespace, state: State) -> None:
    """Start all, say where it is, and wait; a part that ends ends the rest, for whoever watches us to start anew."""
    asked_to_stop: list[int] = []
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda got, _frame: asked_to_stop.append(got))
    system = System(state)
    with contextlib.ExitStack() as stack:
        stack.callback(system.stop)
        system.start("hub", ["hub", "--https-port", str(given.https_port), "--amqp-port", str(given.amqp_port)])
        system.start_storage(faults=given.faults, port=given.blob_port)
        system.service_env()
        gateways = {}
        for number in range(1, given.gateways + 1):
            gateway_id = f"gateway-{number}"
            provision(state, gateway_id)
            gateways[gateway_id] = system.start(gateway_id, ["edge-hub", "--gateway", gateway_id])["module_env"]
        ready = {"process": "up", "service_env": str(state.root / "service.env"), "module_env": gateways}
        print(json.dumps(ready), flush=True)
        while not asked_to_stop:
            if ended := system.ended():
                raise LocalError(f"{', '.join(ended)} ended by itself: see {state.folder('logs')}")
            time.sleep(0.2)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--state", type=Path, required=True, help="folder for everything that is to be kept")
    common.add_argument("--end-with", type=int, default=0, help=argparse.SUPPRESS)
    parser = argparse.ArgumentParser(prog="python -m deployment.local", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    hub = commands.add_parser("hub", parents=[common], help="registry, twins, methods, event stream")
    hub.add_argument("--address", default="127.0.0.1", help="IP address to listen on (default: loopback only)")
    hub.add_argument("--name", default="localhost", help="host name by which others reach it")
    for port in ("https", "amqp", "amqps"):
        hub.add_argument(f"--{port}-port", type=int, default=0, help="0 (default): a free one, kept from then on")
    hub.add_argument("--partitions", type=int, default=4, help="of the event stream; the first start decides")
    hub.add_argument("--consumer-group", action="append", default=["hq"], help="beside $Default and hq")
    hub.add_argument("--retention-days", type=float, default=7.0, help="how long events are kept")
    hub.set_defaults(run=_hub)

    edge_hub = commands.add_parser("edge-hub", parents=[common], help="a gateway's own hub")
    edge_hub.add_argument("--gateway", required=True, help=f"device id; it must have a module {MODULE_ID}")
    edge_hub.add_argument("--address", default="auto", help="for modules, port 8883 (default: a loopback address)")
    edge_hub.add_argument("--hub-url", default="", help="default: the hub of the same state folder")
    edge_hub.add_argument("--time-to-live-s", type=float, default=28 * 86400.0, help="of messages waiting for the hub")
    edge_hub.set_defaults(run=_edge_hub)

    storage = commands.add_parser("azurite", parents=[common], help="Blob Storage; becomes Azurite")
    storage.add_argument("--port", type=int, default=0)
    storage.add_argument("--cache", type=Path, default=azurite.CACHE, help="where Azurite is installed")
    storage.set_defaults(run=_azurite)

    proxy = commands.add_parser("blob-proxy", parents=[common], help="fails on purpose before Azurite; for tests")
    proxy.add_argument("--target-url", required=True, help="Azurite's address")
    proxy.add_argument("--port", type=int, default=0)
    proxy.set_defaults(run=_blob_proxy)

    up = commands.add_parser("up", parents=[common], help="all of it")
    up.add_argument("--gateways", type=int, default=1, help="how many gateways to register and serve")
    up.add_argument("--faults", action="store_true", help="put blob-proxy before Azurite")
    for port in ("https", "amqp", "blob"):
        up.add_argument(f"--{port}-port", type=int, default=0, help="0 (default): a free one, kept from then on")
    up.set_defaults(run=_up)
    return parser


if __name__ == "__main__":
    sys.exit(main())
