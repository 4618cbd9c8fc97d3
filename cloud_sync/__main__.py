"""``python -m cloud_sync``: headquarters' command line."""

import argparse
import logging
import sys
from typing import TYPE_CHECKING, Final

from cloud_sync import settings
from cloud_sync.commands import auditing, bundles, deployments, exporting, gateways, models, pages, running
from cloud_sync.commands.environment import FAILED
from edge_module.errors import ConfigError, PonyaError

if TYPE_CHECKING:
    from collections.abc import Callable

_WRONG: Final = 2
_INTERRUPTED: Final = 130


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
        return FAILED
    except BrokenPipeError:
        sys.stderr.close()
        return FAILED
    except OSError as exc:
        print(f"cloud_sync: {exc}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cloud_sync",
        description="Headquarters: records what gateways send, and confirms it to them.",
        epilog=settings.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for room in (running, gateways, models, exporting, auditing, pages, deployments, bundles):
        room.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
