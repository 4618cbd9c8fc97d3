"""``model``: which model gateways use."""

import argparse
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloud_sync.commands.environment import FAILED, command, fleet_of_environment, store_of_environment
from edge_module.errors import ConfigError, PermanentDelivery, TransientDelivery

if TYPE_CHECKING:
    from cloud_sync.fleet import Fleet
    from edge_module.model_wire import WantedModel


def add(commands: Any) -> None:
    """Add these commands to the command line."""
    model = commands.add_parser("model", help="which model gateways use").add_subparsers(required=True)
    sending = command(model, "send", _model_send, "have gateways fetch, try and use a model (docs/models.md)")
    _which_gateways(sending)
    what = sending.add_mutually_exclusive_group(required=True)
    what.add_argument("--head", type=Path, metavar="FILE", help="a head for a backbone that they have")
    what.add_argument("--folder", type=Path, metavar="DIR", help="a model with its backbone, which goes by a link")
    sending.add_argument(
        "--expect", action="append", default=[], metavar="FRAME=VERDICT",
        help="a golden frame that this model judges otherwise than the shipped one",
    )  # fmt: skip
    _which_gateways(command(model, "reset", _model_reset, "have gateways use the model of their software again"))
    status = command(model, "status", _model_status, "what gateways say of their models")
    status.add_argument("gateway_id", nargs="?", metavar="ID", help="default: every gateway")


def _which_gateways(command: argparse.ArgumentParser) -> None:
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("gateway_id", nargs="?", metavar="ID")
    which.add_argument("--all", action="store_true", help="every registered gateway")


def _model_send(given: argparse.Namespace) -> int:
    from cloud_sync import models  # noqa: PLC0415 - needs numpy, which most commands do without

    expected = dict(_expectation(text) for text in given.expect)
    made = models.from_head(given.head, expected) if given.head else models.from_folder(given.folder, expected)
    fleet = fleet_of_environment()
    if made.backbone is not None:
        made = made.with_link(fleet.publish_backbone(made.backbone))
    return _each(_gateways(given), lambda gateway_id: _sent(fleet, gateway_id, made.wanted))


def _sent(fleet: "Fleet", gateway_id: str, wanted: "WantedModel") -> str:
    fleet.want_model(gateway_id, wanted)
    return f"is told to use model {wanted.model_id}; `model status` shows what becomes of it"


def _expectation(text: str) -> tuple[str, str]:
    frame, _, verdict = text.partition("=")
    if not (frame and verdict):
        raise ConfigError([f"--expect {text[:80]}: must be FRAME=VERDICT"])
    return frame, verdict


def _model_reset(given: argparse.Namespace) -> int:
    fleet = fleet_of_environment()

    def reset(gateway_id: str) -> str:
        fleet.want_model(gateway_id, None)
        return "is told to use the model of its software"

    return _each(_gateways(given), reset)


def _model_status(given: argparse.Namespace) -> int:
    fleet = fleet_of_environment()

    def state(gateway_id: str) -> str:
        model = fleet.reported(gateway_id).get("model")
        if not isinstance(model, dict) or not isinstance(value := model.get("value"), dict):
            return "has not said which model it uses"
        return f"{value.get('model_id')}  {value.get('state')}: {model.get('ad')}"

    return _each(_gateways(given), state)


def _gateways(given: argparse.Namespace) -> list[str]:
    """The gateway that was named, or all that are registered."""
    if given.gateway_id is not None:
        return [given.gateway_id]
    with closing(store_of_environment()) as store:
        return [row.gateway_id for row in store.gateways()]


def _each(gateway_ids: list[str], do: Callable[[str], str]) -> int:
    """Do it for each gateway; one that fails keeps no other from it."""
    status = 0
    for gateway_id in gateway_ids:
        try:
            print(f"{gateway_id}: {do(gateway_id)}")
        except (TransientDelivery, PermanentDelivery) as exc:
            print(f"cloud_sync: {exc}", file=sys.stderr)
            status = FAILED
    return status
