"""The command line: ``python -m edge_module --help``.

Exit status: 0 done; 1 interrupted or failed in part, run again; 2 could not start, the line on stderr says why.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_module import log, surroundings
from edge_module import settings as settings_module
from edge_module.allocator import give_back, reuse
from edge_module.ending import Ending
from edge_module.errors import CardError, ConfigError, LedgerError, ModelError, SurroundingsError

if TYPE_CHECKING:
    from edge_module.settings import Settings

DONE: Final = 0
AGAIN: Final = 1
CANNOT_START: Final = 2


def main(argv: list[str] | None = None) -> int:
    """Run one command. Returns the exit status."""
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):  # names on cards are in any script, terminals are not
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    os.umask(0o077)  # ledger, originals and bundles are nobody else's business
    try:
        sources = _sources(arguments)
        settings = settings_module.combine(*sources)
        if arguments.command is _run:
            surroundings.check(settings, os.environ)
            folder = Path(settings.data_dir).expanduser() / "logs"
            log.of_gateway(settings.log_level, folder, bytes_max=settings.log_max_bytes)
        else:
            log.to_terminal(settings.log_level)
        status: int = arguments.command(arguments, settings, sources)
    except ConfigError as exc:
        for fault in exc.faults:
            print(f"setting: {fault}", file=sys.stderr)
        return CANNOT_START
    except (CardError, ModelError, LedgerError, SurroundingsError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return CANNOT_START
    except BrokenPipeError:  # the reader of our output has gone; what was settled stays settled
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return AGAIN
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m edge_module", description="Ponya's gateway: reads camera-trap cards."
    )
    parser.add_argument("--settings", type=Path, metavar="FILE", help="YAML file of settings")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    scan = commands.add_parser("scan", help="read a card or folder: a verdict for each file, and a receipt")
    scan.add_argument("dir", type=Path, metavar="DIR")
    scan.add_argument("--json", action="store_true", help="a JSON line a file, and the receipt last")
    scan.add_argument("--workers", type=int, metavar="N", help="threads that decode and score")
    scan.add_argument("--data", metavar="DIR", help="folder for ledger and originals (setting data_dir)")
    scan.add_argument("--keep", action="store_true", help="copy the originals of panda and review to the data folder")
    scan.set_defaults(command=_scan)

    classify = commands.add_parser("classify", help="the verdict on single files, without ledger")
    classify.add_argument("files", type=Path, nargs="+", metavar="FILE")
    classify.add_argument("--json", action="store_true", help="a JSON line a file")
    classify.set_defaults(command=_classify)

    outbox = commands.add_parser("outbox", help="what headquarters is owed")
    outbox.add_argument("action", choices=("list", "retry"), help="list it, or forget the delays")
    outbox.add_argument("--data", metavar="DIR", help="folder of the ledger (setting data_dir)")
    outbox.set_defaults(command=_outbox)

    bundle = commands.add_parser("bundle", help="no link: what is owed as an encrypted file, and its confirmation")
    bundle.add_argument("action", choices=("write", "confirm"), help="write a bundle, or take a confirmation")
    bundle.add_argument("path", type=Path, metavar="PATH", help="the folder to write to, or the confirmation's file")
    bundle.add_argument("--data", metavar="DIR", help="folder of ledger, originals and bundle-keys.json")
    bundle.set_defaults(command=_bundle)

    run = commands.add_parser("run", help="be a gateway: read cards as they come and carry what is owed")
    run.add_argument("--speed", type=float, default=0, help=argparse.SUPPRESS)  # the soak: a month in an hour
    run.set_defaults(command=_run)

    support = commands.add_parser(
        "support-bundle", help="what somebody needs who is to find out what is wrong: no secrets, no places"
    )
    support.add_argument("--out", type=Path, metavar="FILE", help="the tar.gz to write; default: its name says when")
    support.add_argument("--data", metavar="DIR", help="folder of the ledger (setting data_dir)")
    support.set_defaults(command=_support_bundle)

    check = commands.add_parser("check-config", help="check the settings and show them")
    check.set_defaults(command=_check_config)

    selftest = commands.add_parser("selftest", help="score the golden frames and compare with what is expected")
    selftest.set_defaults(command=_selftest)
    return parser


Sources = tuple[tuple[str, Mapping[str, Any]], ...]


def _sources(arguments: argparse.Namespace) -> Sources:
    given = {"workers": getattr(arguments, "workers", None), "data_dir": getattr(arguments, "data", None)}
    sources: list[tuple[str, Mapping[str, Any]]] = [
        ("environment", settings_module.from_environment(os.environ)),
        ("command line", {name: value for name, value in given.items() if value is not None}),
    ]
    if arguments.settings:
        sources.insert(0, (str(arguments.settings), settings_module.from_file(arguments.settings)))
    return tuple(sources)


def _run(arguments: argparse.Namespace, settings: "Settings", sources: Sources) -> int:
    give_back()  # before there are threads
    ending = Ending(asked=DONE)
    ending.on_signals()  # before what takes long
    from edge_module import app  # noqa: PLC0415
    from edge_module.clock import FastClock  # noqa: PLC0415

    app.run(settings, sources, ending, clock=FastClock(speed=arguments.speed) if arguments.speed else None)
    return ending.status


def _scan(arguments: argparse.Namespace, settings: "Settings", _sources: Sources) -> int:
    from edge_module import app  # noqa: PLC0415 - commands that need no model start without it
    from edge_module.domain import ReadingState  # noqa: PLC0415
    from edge_module.scan import JsonReport, TableReport  # noqa: PLC0415

    reuse()  # before there are threads
    ending = Ending(asked=AGAIN)
    ending.on_signals()
    report = JsonReport(sys.stdout) if arguments.json else TableReport(sys.stdout)
    receipt = app.scan(arguments.dir, settings, report, keep=arguments.keep, stop=ending.stop)
    return DONE if receipt.state is ReadingState.COMPLETE else AGAIN


def _classify(arguments: argparse.Namespace, settings: "Settings", _sources: Sources) -> int:
    from edge_module import app  # noqa: PLC0415
    from edge_module.classify import classify  # noqa: PLC0415

    for line in classify(arguments.files, app.load_model(settings), settings):
        if arguments.json:
            print(json.dumps(line, ensure_ascii=False))
        else:
            score = "    " if line["panda_probability"] is None else f"{line['panda_probability']:.2f}"
            print(f"{line['verdict']:<10} {score}  {line['path']}{': ' + line['error'] if line['error'] else ''}")
    return DONE


def _outbox(arguments: argparse.Namespace, settings: "Settings", _sources: Sources) -> int:
    from edge_module import app  # noqa: PLC0415
    from edge_module.clock import SystemClock  # noqa: PLC0415
    from edge_module.ledger import Ledger  # noqa: PLC0415

    with Ledger.beside(app.ledger_path(settings), SystemClock()) as ledger:
        if arguments.action == "retry":
            print(f"{ledger.outbox.retry() + ledger.uploads.retry()} messages and pictures may go at once")
            return DONE
        backlog = ledger.outbox.backlog()
        for sequence, kind, state, size, attempts, reason in ledger.outbox.rows():
            print(f"{sequence:>8}  {kind:<13} {state:<7} {size:>7} bytes  {attempts} attempts  {reason}")
        print(
            f"{backlog.messages} messages of {backlog.unconfirmed_bytes} bytes, {backlog.records_unpacked} verdicts not"
            f" in a message yet, {ledger.uploads.waiting()} pictures owed; {backlog.buried} messages buried"
        )
    return DONE


def _bundle(arguments: argparse.Namespace, settings: "Settings", _sources: Sources) -> int:
    from edge_module import app, bundles  # noqa: PLC0415
    from edge_module.bundle_format import BundleError  # noqa: PLC0415
    from edge_module.clock import SystemClock  # noqa: PLC0415
    from edge_module.ledger import Ledger  # noqa: PLC0415

    path = app.ledger_path(settings)
    try:
        keys = bundles.read_keys(path.with_name("bundle-keys.json"))
        with Ledger.beside(path, SystemClock()) as ledger:
            if arguments.action == "write":
                written, messages, pictures = bundles.write(ledger, app.originals(settings), keys, arguments.path)
                print(f"{written}: {messages} messages, {pictures} pictures; they stay owed until confirmed")
            else:
                print(f"confirmed; {bundles.confirm(ledger, keys, arguments.path)} messages are still owed")
    except BundleError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return CANNOT_START
    return DONE


def _support_bundle(arguments: argparse.Namespace, settings: "Settings", _sources: Sources) -> int:
    from edge_module import app, support_bundle  # noqa: PLC0415

    out = arguments.out or Path(f"ponya-support-{datetime.now(UTC):%Y%m%dT%H%M%S}.tar.gz")
    try:
        missing = support_bundle.write(out, settings, app.ledger_path(settings))
    except OSError as exc:
        print(f"error: {out}: {exc.strerror}; choose another file with --out", file=sys.stderr)
        return CANNOT_START
    for line in missing:
        print(f"not in it: {line}", file=sys.stderr)
    print(out)
    return DONE


def _check_config(_arguments: argparse.Namespace, settings: "Settings", _sources: Sources) -> int:
    for setting in settings_module.SCHEMA:
        print(f"{setting.name}: {json.dumps(settings.shown(setting))}  # {setting.doc} ({setting.allowed})")
    return DONE


def _selftest(_arguments: argparse.Namespace, settings: "Settings", _sources: Sources) -> int:
    from edge_module import app  # noqa: PLC0415
    from edge_module.selftest import check_golden  # noqa: PLC0415

    faults = check_golden(
        app.model_folder(settings), app.load_model(settings), settings, own=app.installed_models(settings).expected
    )
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    print("selftest failed" if faults else "selftest passed")
    return CANNOT_START if faults else DONE


if __name__ == "__main__":
    sys.exit(main())
