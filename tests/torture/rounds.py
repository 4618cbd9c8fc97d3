"""A round: a card is put in, the storm passes, the system settles, the judge looks."""

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from deployment.local.errors import LocalError
from edge_module.card import Mount
from tests.torture.cards import write_card
from tests.torture.faults import Deed, schedule
from tests.torture.judge import (
    Complaints,
    Expected,
    Storage,
    Witness,
    at_rest,
    differences,
    originals_missing,
    recorded,
    settled,
)
from tests.torture.world import World

_SETTLE_S: Final = 300.0
_LOOK_S: Final = 0.5
_GATEWAYS: Final = ("kept", "kept", "restarted", "fresh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a round came to.

    Args:
        gateway: ``kept`` (the same process goes on), ``restarted``, or ``fresh`` (a new disk).
        faults: empty if the round passed.
        rows: expected at headquarters.
        pictures: expected in storage.
        settle_s: from the end of the storm until nothing was owed.
        safe_s: from the card's insertion until *safe to wipe* was first seen.
        held_s: from the card's insertion until headquarters was first seen to hold every row.
        samples: how often the witness looked.
    """

    number: int
    seed: int
    gateway: str
    deeds: list[Deed]
    faults: list[str]
    rows: int
    pictures: int
    settle_s: float
    safe_s: float | None
    held_s: float | None
    samples: int

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {**asdict(self), "deeds": [deed.to_json() for deed in self.deeds]}


def write_round_card(folder: Path, seed: int, number: int) -> Path:
    """Write the card of a round. Returns its folder."""
    card = folder / f"card-{number}"
    write_card(card, f"torture {seed} {number}", seed * 100_000 + number)
    return card


def card_id_of(card: Path) -> str:
    """What the card is known by."""
    return Mount(card).identify().card_id


def undisturbed(folder: Path, cards: list[Path]) -> dict[str, Expected]:
    """Run a system of its own on cards without any fault. Returns what each card came to, by card id.

    Raises:
        AssertionError: it did not settle, or something was wrong even so.
    """
    with World.started(folder) as world:
        for card in cards:
            shutil.copytree(card, world.cards / card.name)
        found: dict[str, Expected] = {}

        def done() -> bool:
            nonlocal found
            if not at_rest(world.data):
                return False
            found = {card_id: recorded(world.database, card_id) for card_id in map(card_id_of, cards)}
            return all(one.receipt.get("safe_to_wipe") for one in found.values())

        faults = _wait(done, 60.0 + 15.0 * len(cards), world) + Complaints(world.database).new()
        for one in found.values():
            faults += differences(one, one) + originals_missing(world.data, one)
            if not one.pictures:
                faults.append("a card without pictures to upload proves nothing")
        assert not faults, f"the undisturbed run: {faults}"
    return found


class Torturer:
    """Runs rounds in one world, which stays up between them."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._seed = seed
        self._storage = Storage(world.storage_connection_string, world.container)
        self._complaints = Complaints(world.database)

    def round(self, number: int, card: Path, expected: Expected) -> Outcome:
        """Run one round.

        Args:
            number: with the run's seed it decides everything that is drawn.
            card: to be put in; it is moved.
            expected: what the card comes to undisturbed.
        """
        world, rng = self._world, random.Random(f"{self._seed}-{number}")
        gateway, deeds = rng.choice(_GATEWAYS), schedule(rng)
        card_in_at_s = rng.uniform(0, 2.0)
        faults: list[str] = []
        if gateway == "fresh":
            world.begin_gateway_anew()
        elif gateway == "restarted":
            world.restart_gateway()
        world.heal()
        card_id = card_id_of(card)
        inserted = world.cards / card.name
        with Witness(world.database, world.data, card_id, expected) as witness:
            storm = [(card_in_at_s, lambda: shutil.move(card, inserted))]
            for deed in deeds:
                storm.append((deed.at_s, lambda deed=deed: world.strike(deed)))  # type: ignore[misc]
                storm.append((deed.at_s + deed.lasts_s, lambda deed=deed: world.put_right(deed)))  # type: ignore[misc]
            faults += _play(storm)
            world.heal()
            over = time.monotonic()
            faults += _wait(lambda: settled(world.database, world.data, {card_id: expected}), _SETTLE_S, world)
            settle_s = time.monotonic() - over
        found = recorded(world.database, card_id)
        faults += witness.faults + differences(expected, found) + originals_missing(world.data, expected)
        faults += self._storage.faults(expected) + self._complaints.new()
        if witness.safe_after_s is None:
            faults.append("nobody ever said safe to wipe")
        shutil.move(inserted, card)  # pulled out at once: a card that empties by and by is another card to read
        shutil.rmtree(card)
        return Outcome(
            number=number,
            seed=self._seed,
            gateway=gateway,
            deeds=deeds,
            faults=faults,
            rows=len(expected.rows),
            pictures=len(expected.pictures),
            settle_s=round(settle_s, 1),
            safe_s=witness.safe_after_s,
            held_s=witness.held_after_s,
            samples=witness.samples,
        )


def _play(storm: list[tuple[float, Callable[[], object]]]) -> list[str]:
    """Do each thing at its time, in seconds from now; one that takes long delays those after it.

    Returns:
        What went wrong in doing so, such as a process that does not end when told to.
    """
    faults = []
    began = time.monotonic()
    for at_s, act in sorted(storm, key=lambda entry: entry[0]):
        time.sleep(max(0.0, began + at_s - time.monotonic()))
        try:
            act()
        except (AssertionError, LocalError) as exc:
            faults.append(str(exc))
    return faults


def _wait(true: Callable[[], bool], timeout_s: float, world: World) -> list[str]:
    """Wait until something holds. Returns what went wrong instead."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if ended := world.faults_of_ours():
            return ended
        if time.monotonic() > deadline:
            return [f"not settled within {timeout_s:.0f} s: {world.owed()}"]
        time.sleep(_LOOK_S)
    return []
