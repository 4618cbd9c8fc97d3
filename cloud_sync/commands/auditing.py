"""``audit``: the discards that were drawn for people to look at, and what their answer says of all discards."""

import argparse
import csv
import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from cloud_sync.commands.environment import command, store_of_environment
from cloud_sync.missed import Drawn, missed
from edge_module.errors import ConfigError

_COLUMNS: Final = ("media_id", "gateway_id", "camera_serial", "path", "captured_at", "fate", "audit_probability")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""With these a spreadsheet begins what it carries out: a file's name and a camera's number come from a card."""
_ANSWER: Final = "red_panda"
_ANSWERS: Final = {"yes": True, "no": False, "": None}


def add(commands: Any) -> None:
    """Add these commands to the command line."""
    auditing = commands.add_parser("audit", help="what is being missed among the discards").add_subparsers(
        required=True
    )
    command(auditing, "list", _list, "write the discards that were drawn, as CSV with an empty column red_panda")
    estimating = command(
        auditing, "estimate", _estimate, "how many red pandas were discarded, from that file filled in"
    )
    estimating.add_argument("file", type=Path, metavar="FILE", help="red_panda is yes, no, or empty: not looked at")
    estimating.add_argument("--json", action="store_true", help="for machines")


def _list(_given: argparse.Namespace) -> int:
    with closing(store_of_environment()) as store:
        lines = csv.writer(sys.stdout)
        lines.writerow((*_COLUMNS, _ANSWER))
        lines.writerows((*(_plain(getattr(row, name)) for name in _COLUMNS), "") for row in store.audited())
    return 0


def _plain(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _estimate(given: argparse.Namespace) -> int:
    with closing(store_of_environment()) as store:
        drawn = {row.media_id: row.audit_probability for row in store.audited()}
    answers = _answers(given.file, drawn.keys())
    found = missed(Drawn(probability=p, is_panda=answers.get(media_id)) for media_id, p in drawn.items())
    if given.json:
        # JSON knows no infinity.
        print(json.dumps(asdict(found) | {"highest": found.highest if found.judged else None, "drawn": len(drawn)}))
    elif not found.judged:
        print(f"{len(drawn)} discards were drawn, and none of them has been looked at: nothing is known")
    else:
        print(
            f"{len(drawn)} discards were drawn, {found.judged} looked at, {found.found} of them red pandas: about "
            f"{found.estimate:.0f} red pandas were discarded (95 %: {found.lowest:.0f} to {found.highest:.0f})"
        )
    return 0


def _answers(path: Path, known: Any) -> dict[str, bool | None]:
    faults, answers = [], dict[str, bool | None]()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file)
            if lacking := {"media_id", _ANSWER} - set(lines.fieldnames or ()):
                raise ConfigError([f"{path}: lacks the column {', '.join(sorted(lacking))}"])
            for number, line in enumerate(lines, 2):
                media_id, answer = line["media_id"], (line[_ANSWER] or "").strip().lower()
                if media_id not in known:
                    faults.append(f"{path}, line {number}: {str(media_id)[:64]!r} was not drawn; see `audit list`")
                elif answer not in _ANSWERS:
                    faults.append(f"{path}, line {number}: red_panda is {answer[:20]!r}; yes, no or nothing is allowed")
                else:
                    answers[media_id] = _ANSWERS[answer]
    except (UnicodeDecodeError, csv.Error) as exc:
        raise ConfigError([f"{path}: no CSV file in UTF-8 ({exc})"]) from exc
    if faults:
        raise ConfigError(faults)
    return answers
