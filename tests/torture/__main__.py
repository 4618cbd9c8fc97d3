"""``python -m tests.torture --rounds N --seed S [--from-round K]``: rounds of faults, and what came of them."""

import argparse
import itertools
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.torture.judge import Expected
from tests.torture.rounds import Outcome, Torturer, card_id_of, undisturbed, write_round_card
from tests.torture.world import ROOT, World

_BATCH: Final = 20
"""Cards read by one undisturbed run, before the rounds that are compared with it."""


def main(arguments: list[str] | None = None) -> int:
    """Run rounds. Returns 0 if all passed, else 1."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    began = time.monotonic()
    outcomes: list[Outcome] = []
    folder = Path(tempfile.mkdtemp(prefix="ponya-t-"))
    numbers = range(given.from_round, given.from_round + given.rounds)
    try:
        for first in range(0, len(numbers), _BATCH):
            _batch(given, folder / str(first), list(numbers[first : first + _BATCH]), outcomes)
    finally:
        passed = sum(not outcome.faults for outcome in outcomes)
        report = {
            "seed": given.seed,
            "rounds_asked": given.rounds,
            "rounds": len(outcomes),
            "passed": passed,
            "wall_s": round(time.monotonic() - began),
            "outcomes": [outcome.to_json() for outcome in outcomes],
        }
        given.report.parent.mkdir(parents=True, exist_ok=True)
        given.report.write_text(json.dumps(report, indent=1))
        print(f"torture: {passed} of {given.rounds} rounds passed, seed {given.seed}, {report['wall_s']} s")
        shutil.rmtree(folder)
    return 0 if passed == given.rounds else 1


def _batch(given: argparse.Namespace, folder: Path, numbers: list[int], outcomes: list[Outcome]) -> None:
    """An undisturbed run of some cards, then a round with each."""
    cards = {number: write_round_card(folder / "cards", given.seed, number) for number in numbers}
    expected = undisturbed(folder / "calm", list(cards.values()))
    for life in itertools.count(1):
        if not cards:
            break
        _rounds(given, folder / f"storm-{life}", cards, expected, outcomes)
    shutil.rmtree(folder)


def _rounds(
    given: argparse.Namespace,
    folder: Path,
    cards: dict[int, Path],
    expected: dict[str, Expected],
    outcomes: list[Outcome],
) -> None:
    """Rounds in one world, until one fails, for what it left unsettled must not spoil the next. Takes from `cards`."""
    with World.started(folder) as world:
        torturer = Torturer(world, given.seed)
        while cards:
            number = next(iter(cards))
            card = cards.pop(number)
            outcome = torturer.round(number, card, expected[card_id_of(card)])
            outcomes.append(outcome)
            _say(outcome)
            if outcome.faults:
                kept = given.report.parent / f"torture-{given.seed}-{number}"
                shutil.copytree(folder, kept, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))
                print(f"  logs and databases: {kept}")
                print(
                    f"  again: python -m tests.torture --rounds 1 --seed {given.seed} --from-round {number}", flush=True
                )
                return


def _say(outcome: Outcome) -> None:
    safe = "never" if outcome.safe_s is None else f"{outcome.safe_s:.1f} s"
    print(
        f"round {outcome.number}: {'FAILED' if outcome.faults else 'passed'}; {outcome.gateway} gateway,"
        f" {len(outcome.deeds)} faults, {outcome.rows} rows, {outcome.pictures} pictures, settled in"
        f" {outcome.settle_s} s, safe after {safe}",
        flush=True,
    )
    if outcome.faults:
        for deed in outcome.deeds:
            print(f"  struck {deed}")
        for fault in outcome.faults:
            print(f"  {fault[:2000]}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of everything that is drawn")
    parser.add_argument("--from-round", type=int, default=1, metavar="K", help="number of the first round")
    parser.add_argument("--report", type=Path, default=ROOT / "build/torture.json", metavar="FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
