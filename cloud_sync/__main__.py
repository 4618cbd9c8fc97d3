"""``python -m cloud_sync``: headquarters' command line."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cloud_sync import export, migrate, settings
from cloud_sync.accounts import Role
from cloud_sync.accounts_store import AccountsStore
from cloud_sync.database import StoreUnavailableError
from cloud_sync.deployments import FILE_MAX_BYTES, read_csv
from cloud_sync.deployments_store import DeploymentsStore
from cloud_sync.store import Store
from edge_module.errors import ConfigError, PermanentDelivery, PonyaError, TransientDelivery

if TYPE_CHECKING:
    from cloud_sync.fleet import Fleet
    from edge_module.model_wire import WantedModel

_FAILED: Final = 1
_WRONG: Final = 2
_INTERRUPTED: Final = 130
_METHOD_FAILED: Final = 400
_END_S: Final = 10.0
_PORT_MAX: Final = 65_535


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; 1 if it failed; 2 if the command or a setting is wrong.
    """
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("azure", "uamqp", "alembic"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    try:
        run: Callable[[argparse.Namespace], int] = given.run
        return run(given)
    except ConfigError as exc:
        for fault in exc.faults:
            print(f"cloud_sync: {fault}", file=sys.stderr)
        return _WRONG
    except PonyaError as exc:
        print(f"cloud_sync: {exc}", file=sys.stderr)
        return _FAILED
    except BrokenPipeError:
        sys.stderr.close()
        return _FAILED
    except OSError as exc:
        print(f"cloud_sync: {exc}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED


def _migrate(_given: argparse.Namespace) -> int:
    print(f"the database is at revision {migrate.migrate(_store(current=False).engine)}")
    return 0


def _gateway_add(given: argparse.Namespace) -> int:
    env = settings.Environment(os.environ)
    iothub = env.connection_string("IOTHUB_CONNECTION_STRING", "HostName", "SharedAccessKeyName", "SharedAccessKey")
    storage, days = env.storage(), env.upload_sas_days()
    env.text("PONYA_DATABASE_URL")
    env.check()
    store = _store()
    fleet = _fleet(iothub, storage, days)
    credentials = fleet.register(given.gateway_id, replace=given.replace)
    store.add_gateway(given.gateway_id, datetime.now(UTC))
    host = dict(p.partition("=")[::2] for p in iothub.split(";"))["HostName"]
    print(f"{given.gateway_id} is registered. For its config.toml (a secret, shown here and in IoT Hub only):")
    print(f"HostName={host};{credentials}")
    return 0


def _gateway_list(given: argparse.Namespace) -> int:
    for row in _store().gateways():
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
    status, answer = _fleet_of_environment().call(given.gateway_id, given.method, payload)
    print(json.dumps(answer, indent=1, ensure_ascii=False))
    if status >= _METHOD_FAILED:
        print(f"cloud_sync: {given.gateway_id} answered {status}", file=sys.stderr)
        return _FAILED
    return 0


def _model_send(given: argparse.Namespace) -> int:
    from cloud_sync import models  # noqa: PLC0415 - needs numpy, which most commands do without

    expected = dict(_expectation(text) for text in given.expect)
    made = models.from_head(given.head, expected) if given.head else models.from_folder(given.folder, expected)
    fleet = _fleet_of_environment()
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
    fleet = _fleet_of_environment()

    def reset(gateway_id: str) -> str:
        fleet.want_model(gateway_id, None)
        return "is told to use the model of its software"

    return _each(_gateways(given), reset)


def _model_status(given: argparse.Namespace) -> int:
    fleet = _fleet_of_environment()

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
    with closing(_store()) as store:
        return [row.gateway_id for row in store.gateways()]


def _each(gateway_ids: list[str], do: Callable[[str], str]) -> int:
    """Do it for each gateway; one that fails keeps no other from it."""
    status = 0
    for gateway_id in gateway_ids:
        try:
            print(f"{gateway_id}: {do(gateway_id)}")
        except (TransientDelivery, PermanentDelivery) as exc:
            print(f"cloud_sync: {exc}", file=sys.stderr)
            status = _FAILED
    return status


def _ingest(_given: argparse.Namespace) -> int:
    given = settings.IngestSettings.read(os.environ)
    from cloud_sync import ingest  # noqa: PLC0415 - see _fleet

    async def work() -> None:
        stop = asyncio.Event()

        def end() -> None:
            stop.set()
            # Storage that hangs holds an orderly end up; to be cut is safe at any moment.
            late = threading.Timer(_END_S, os._exit, (0,))
            late.daemon = True
            late.start()

        for wanted in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(wanted, end)
        await ingest.run(given, stop)

    asyncio.run(work())
    return 0


def _export(given: argparse.Namespace) -> int:
    lines = export.observations_jsonl(_store())
    if given.out is None:
        sys.stdout.writelines(lines)
        return 0
    # A name of its own until it is whole: a reader never meets half an export.
    unfinished = given.out.with_name(f".{given.out.name}.{os.getpid()}")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.writelines(lines)
        unfinished.replace(given.out)
    finally:
        unfinished.unlink(missing_ok=True)
    return 0


def _bundle_key(_given: argparse.Namespace) -> int:
    from cloud_sync import bundles  # noqa: PLC0415 - see _fleet

    path = _bundle_key_file()
    bundles.make_key(path)
    print(f"made {path}: keep it secret, and keep a copy where the building's fire cannot reach it")
    return 0


def _bundle_enrol(given: argparse.Namespace) -> int:
    from cloud_sync import bundles  # noqa: PLC0415 - see _fleet

    bundles.enrol(_store(), bundles.read_key(_bundle_key_file()), given.gateway_id, given.out)
    print(f"wrote {given.out}: a secret, for {given.gateway_id} alone; put it there and delete it here")
    return 0


def _bundle_import(given: argparse.Namespace) -> int:
    from cloud_sync import bundles  # noqa: PLC0415 - see _fleet

    env = settings.Environment(os.environ)
    storage = env.storage()
    env.text("PONYA_DATABASE_URL")
    env.check()
    store, key = _store(), bundles.read_key(_bundle_key_file())
    status = 0
    for path in given.files:
        try:
            imported = asyncio.run(bundles.import_bundle(path, store, azure_storage=storage, key=key))
        except (ConfigError, StoreUnavailableError):
            raise
        except (PonyaError, OSError) as exc:
            print(f"cloud_sync: {path}: {exc}", file=sys.stderr)
            status = _FAILED
            continue
        print(f"{path}: {imported.messages} messages, {imported.blobs} pictures of {imported.gateway_id}")
        print(f"carry back to it: {imported.confirmation}")
    return status


def _web(given: argparse.Namespace) -> int:
    from cloud_sync.web import app  # noqa: PLC0415 - no other command needs Flask

    app.run(settings.WebSettings.read(os.environ, host=given.host, port=given.port), host=given.host, port=given.port)
    return 0


def _account_add(given: argparse.Namespace) -> int:
    with closing(_store()) as store:
        password = AccountsStore(store.engine).add(given.name, Role(given.role))
    print(f"{given.name} is a {given.role} now. One-time password, to be changed at the first sign-in:")
    print(password)
    return 0


def _account_reset(given: argparse.Namespace) -> int:
    with closing(_store()) as store:
        password = AccountsStore(store.engine).reset(given.name)
    print(f"{given.name} is signed out everywhere. New one-time password, to be changed at the next sign-in:")
    print(password)
    return 0


def _account_remove(given: argparse.Namespace) -> int:
    with closing(_store()) as store:
        AccountsStore(store.engine).remove(given.name)
    print(f"{given.name} is removed, and signed out everywhere")
    return 0


def _account_list(_given: argparse.Namespace) -> int:
    with closing(_store()) as store:
        accounts = AccountsStore(store.engine).all()
    for account in accounts:
        print(f"{account.name:<32} {account.role}{'  (has not chosen a password yet)' if account.must_change else ''}")
    return 0


def _deployments_import(given: argparse.Namespace) -> int:
    env = settings.Environment(os.environ)
    box = env.survey_box()
    env.check()
    with given.file.open("rb") as file:
        found = read_csv(file.read(FILE_MAX_BYTES + 1), box)
    with closing(_store()) as record:
        store = DeploymentsStore(record.engine)
        records = store.save(found, by="import")
        waiting = list(store.to_tell())
    print(f"{len(found)} deployments are entered; {records} pictures have found their place")
    if waiting:
        print(f"to be told, by `web` while it runs or by `deployments tell`: {', '.join(waiting)}")
    return 0


def _deployments_tell(_given: argparse.Namespace) -> int:
    fleet = _fleet_of_environment()
    from cloud_sync.deployments_telling import tell_all  # noqa: PLC0415 - see _fleet

    with closing(_store()) as store:
        outcome = tell_all(DeploymentsStore(store.engine), fleet)
    for gateway_id, why in outcome.items():
        print(f"{gateway_id}: {why or 'told'}")
    return _FAILED if any(outcome.values()) else 0


def _fleet_of_environment() -> "Fleet":
    env = settings.Environment(os.environ)
    iothub = env.connection_string("IOTHUB_CONNECTION_STRING", "HostName", "SharedAccessKeyName", "SharedAccessKey")
    storage, days = env.storage(), env.upload_sas_days()
    env.check()
    return _fleet(iothub, storage, days)


def _fleet(iothub: str, storage: settings.Storage, upload_sas_days: float) -> "Fleet":
    # Azure's SDKs take seconds to import on a small machine; the commands that read the database alone do without.
    from cloud_sync import azure  # noqa: PLC0415
    from cloud_sync.fleet import Fleet  # noqa: PLC0415

    return Fleet(azure.registry(iothub), azure.storage(storage), upload_sas=timedelta(days=upload_sas_days))


def _store(*, current: bool = True) -> Store:
    env = settings.Environment(os.environ)
    url = env.text("PONYA_DATABASE_URL")
    env.check()
    store = Store(url)
    if current:
        migrate.require_current(store.engine)
    return store


def _bundle_key_file() -> Path:
    return settings.Environment(os.environ).path("PONYA_BUNDLE_KEY_FILE", "hq.ponya-key")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cloud_sync",
        description="Headquarters: records what gateways send, and confirms it to them.",
        epilog=settings.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, "migrate", _migrate, "bring the database to the form this version needs")
    _command(commands, "ingest", _ingest, "record what arrives until stopped; run as many as there are partitions")

    gateway = commands.add_parser("gateway", help="register and list gateways").add_subparsers(required=True)
    add = _command(gateway, "add", _gateway_add, "make a gateway's identity and its container")
    add.add_argument("gateway_id", metavar="ID", help="3 to 50 lower-case letters and digits, single hyphens between")
    add.add_argument("--replace", action="store_true", help="new hardware under the old name: new keys, the old die")
    listing = _command(gateway, "list", _gateway_list, "every gateway and when it was last heard")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")

    call = _command(gateway, "call", _gateway_call, "call a direct method (docs/methods.md) and show the answer")
    call.add_argument("gateway_id", metavar="ID")
    call.add_argument("method", metavar="METHOD", help="such as getStatus")
    call.add_argument("payload", nargs="?", metavar="JSON", help="its parameters")

    model = commands.add_parser("model", help="which model gateways use").add_subparsers(required=True)
    sending = _command(model, "send", _model_send, "have gateways fetch, try and use a model (docs/models.md)")
    _which_gateways(sending)
    what = sending.add_mutually_exclusive_group(required=True)
    what.add_argument("--head", type=Path, metavar="FILE", help="a head for a backbone that they have")
    what.add_argument("--folder", type=Path, metavar="DIR", help="a model with its backbone, which goes by a link")
    sending.add_argument(
        "--expect", action="append", default=[], metavar="FRAME=VERDICT",
        help="a golden frame that this model judges otherwise than the shipped one",
    )  # fmt: skip
    _which_gateways(_command(model, "reset", _model_reset, "have gateways use the model of their software again"))
    status = _command(model, "status", _model_status, "what gateways say of their models")
    status.add_argument("gateway_id", nargs="?", metavar="ID", help="default: every gateway")

    exporting = commands.add_parser("export", help="write the record for others").add_subparsers(required=True)
    observations = _command(exporting, "observations", _export, "one line for each file that a gateway has judged")
    observations.add_argument("--format", choices=["jsonl"], default="jsonl")
    observations.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")

    serving = _command(commands, "web", _web, "serve the pages until stopped")
    serving.add_argument("--host", default="127.0.0.1", help="address to listen at, default %(default)s")
    serving.add_argument("--port", type=_port, default=8080, help="default %(default)s")

    account = commands.add_parser("account", help="who may sign in to the pages").add_subparsers(required=True)
    adding = _command(account, "add", _account_add, "make an account; prints its one-time password")
    adding.add_argument("name", metavar="NAME")
    adding.add_argument("--role", choices=list(Role), required=True, help="coordinators see exact places")
    resetting = _command(account, "reset", _account_reset, "give an account a new one-time password")
    resetting.add_argument("name", metavar="NAME")
    removing = _command(account, "remove", _account_remove, "remove an account")
    removing.add_argument("name", metavar="NAME")
    _command(account, "list", _account_list, "every account and its role")

    deployments = commands.add_parser("deployments", help="cameras and where they stand").add_subparsers(required=True)
    entering = _command(deployments, "import", _deployments_import, "enter Camtrap DP's deployments.csv, whole or not")
    entering.add_argument("file", type=Path, metavar="FILE")
    _command(deployments, "tell", _deployments_tell, "tell gateways what they have not been told of their deployments")

    bundle = commands.add_parser("bundle", help="gateways without a link").add_subparsers(required=True)
    _command(bundle, "key", _bundle_key, "make headquarters' key pair")
    enrol = _command(bundle, "enrol", _bundle_enrol, "make the file of keys that a gateway needs to write bundles")
    enrol.add_argument("gateway_id", metavar="ID")
    enrol.add_argument("--out", type=Path, required=True, metavar="FILE")
    importing = _command(bundle, "import", _bundle_import, "record bundles; writes a confirmation beside each")
    importing.add_argument("files", type=Path, nargs="+", metavar="FILE")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _PORT_MAX):
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no port: 1 to {_PORT_MAX}")
    return int(text)


def _which_gateways(command: argparse.ArgumentParser) -> None:
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("gateway_id", nargs="?", metavar="ID")
    which.add_argument("--all", action="store_true", help="every registered gateway")


def _command(among: Any, name: str, run: Callable[[argparse.Namespace], int], does: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = among.add_parser(name, help=does, description=does.capitalize() + ".")
    command.set_defaults(run=run)
    return command


if __name__ == "__main__":
    sys.exit(main())
