"""``export``: writes the record for others."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from cloud_sync import export
from cloud_sync.commands.environment import command, store_of_environment


def add(commands: Any) -> None:
    """Add these commands to the command line."""
    exporting = commands.add_parser("export", help="write the record for others").add_subparsers(required=True)
    observations = command(exporting, "observations", _export, "one line for each file that a gateway has judged")
    observations.add_argument("--format", choices=["jsonl"], default="jsonl")
    observations.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")


def _export(given: argparse.Namespace) -> int:
    lines = export.observations_jsonl(store_of_environment())
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
