"""``python -m deployment.demo``: the whole system on this machine, with a card in it.

Works in a folder of its own, build/demo unless told otherwise, which each demonstration makes new and leaves behind to
be looked at. Uses no network but this machine's, once everything is installed.
"""

import argparse
import signal
import sys
from pathlib import Path
from typing import Final, NoReturn

from deployment.demo.demo import Options, run
from deployment.demo.ports import WEB_PORT
from edge_module.errors import ConfigError, PonyaError

_FAILED: Final = 1
_INTERRUPTED: Final = 130
_ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Run the demonstration.

    Returns:
        0 if it ended as asked; 1 if it failed or, with ``--once``, does not balance; 2 if an option is wrong; 130 if it
        was interrupted before ``--once`` was done.
    """
    given = _parser().parse_args()
    options = Options(card=given.card, once=given.once, state=given.state, port=given.port, patience_s=given.patience_s)
    for number in _ENDS:
        signal.signal(number, _interrupt)
    try:
        return run(options)
    except KeyboardInterrupt:
        print(f"\ndemo: ended; what came of it stays in {given.state} until the next one", file=sys.stderr)
        return _INTERRUPTED if given.once else 0
    except ConfigError as exc:
        print(f"demo: {'; '.join(exc.faults)}", file=sys.stderr)
    except PonyaError as exc:
        print(f"demo: {exc}", file=sys.stderr)
    except OSError as exc:
        print(f"demo: {exc.filename or 'this machine'}: {exc.strerror}", file=sys.stderr)
    return _FAILED


def _interrupt(_number: int, _frame: object) -> NoReturn:
    for number in _ENDS:  # once is enough: ending takes its time
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deployment.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--card", default="", metavar="DIR", help="a folder of your own pictures, which is only read")
    parser.add_argument("--once", action="store_true", help="end when all is recorded; the last line is the balance")
    parser.add_argument("--state", type=Path, default=Path("build/demo"), metavar="DIR", help="default: build/demo")
    parser.add_argument("--port", type=int, default=0, help=f"of the pages; default {WEB_PORT}, or the next free one")
    parser.add_argument(
        "--patience-s", type=float, default=120.0, metavar="S", help="--once gives up when nothing moves for so long"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
