"""A soak: plays the days, looks at the gateway, and checks at the end that nothing was lost."""

import contextlib
import logging
import shutil
import sqlite3
import time
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from deployment.local.errors import LocalError
from edge_module.card import Mount
from tests import models_made
from tests.soak.plan import Event, day
from tests.soak.samples import Sample, Sampler, cpu_s
from tests.torture.cards import write_card
from tests.torture.judge import at_rest
from tests.torture.world import World

_log = logging.getLogger(__name__)
_SETTLE_S: Final = 300.0
_LOOK_S: Final = 0.5
_DAY_S: Final = 86_400

# Of the gateway's clock, which runs fast; what it waits for with the host's own stands in real seconds.
SETTINGS: Final = {
    "PONYA_CONFIRM_INTERVAL_S": "3600",
    "PONYA_RESEND_AFTER_S": "43200",
    "PONYA_RETRY_LONGEST_S": "3600",
    "PONYA_POLL_S": "0.5",
    "PONYA_SETTLE_S": "0.2",
    "PONYA_STATUS_INTERVAL_S": "3",
    "PONYA_RECONNECT_S": "1",
    "PONYA_LOG_LEVEL": "info",
}


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a soak.

    Args:
        stops_s: how long the gateway took to end, each time it was asked.
        marks: what happened and when, in days.
        idle_cpu: share of a core that the gateway takes with nothing to do, as it is shipped.
    """

    samples: list[Sample] = field(default_factory=list)
    stops_s: list[float] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    cards: int = 0
    files: int = 0
    patches: int = 0
    models: int = 0
    outages: int = 0
    idle_cpu: float = 0.0


class Soak:
    """One gateway over some days."""

    def __init__(self, folder: Path, *, days: int, day_s: float, seed: int, idle_s: float) -> None:
        self._folder = folder
        self._days = days
        self._day_s = day_s
        self._seed = seed
        self._idle_s = idle_s
        self._cards = folder / "written"
        self._files: dict[str, tuple[str, int]] = {}
        self._struck: list[Event] = []
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Play all days, then let everything settle."""
        arguments = ("--speed", str(_DAY_S / self._day_s))
        with World.started(self._folder / "w", settings=SETTINGS, arguments=arguments) as world:
            began = time.monotonic()
            with Sampler(lambda: world.gateway_pid, world.data, day_s=self._day_s) as sampler:
                for number in range(self._days):
                    for event in day(number, self._days, self._seed):
                        time.sleep(max(0.0, began + (number + event.at) * self._day_s - time.monotonic()))
                        self._play(world, event, number)
                        if ended := world.faults_of_ours():
                            raise AssertionError(f"day {number}: {'; '.join(ended)}: {self._log(world)[-3000:]}")
                    _log.info("day %d of %d: %s", number + 1, self._days, self._state(world))
                time.sleep(max(0.0, began + self._days * self._day_s - time.monotonic()))
            self.outcome.samples = sampler.samples
            self._settle(world)
            self.outcome.idle_cpu = self._idle(world)
            self.outcome.faults += world.faults_of_ours()
        return self.outcome

    def _play(self, world: World, event: Event, number: int) -> None:
        try:
            self._do(world, event, number)
        except (AssertionError, LocalError) as exc:
            self.outcome.faults.append(f"day {number}: {event.what}: {exc}")

    def _do(self, world: World, event: Event, number: int) -> None:
        outcome, mark = self.outcome, lambda what: self.outcome.marks.append((round(number + event.at, 2), what))
        match event.what:
            case "insert":
                self._insert(world, event.of)
            case "visit":
                with contextlib.suppress(FileNotFoundError):  # still in, or never taken out
                    shutil.move(self._cards / event.of, world.cards / event.of)
            case "take":
                with contextlib.suppress(FileNotFoundError):
                    shutil.move(world.cards / event.of, self._cards / event.of)
            case "patch":
                world.desire(
                    settings={"no_such_setting": None, "event_gap_s": 30 + (number * 7 + int(event.at * 10)) % 60}
                )
                outcome.patches += 1
            case "bad-patch":
                world.desire(settings={"event_gap_s": -1, "no_such_setting": "x" * 1000})
                outcome.patches += 1
            case "model":
                wanted = models_made.wanted(models_made.head(0.0001 * (number + 1)), request=str(number))
                world.desire(model=wanted.to_twin())
                outcome.models += 1
            case "strike":
                self._struck.append(event)
                world.strike(event.of)
                outcome.outages += 1
                mark(event.of.target)
            case "heal":
                self._heal(world)
            case "restart":
                mark("restart")
                self._restart(world)
            case "cut":
                mark("power cut")
                world.cut_gateway()

    def _insert(self, world: World, name: str) -> None:
        beside = self._cards / name
        write_card(beside, f"soak {self._seed} {name}", self._seed * 100_000 + len(self._files))
        card_id = Mount(beside).identify().card_id
        self._files[name] = card_id, sum(not path.is_dir() for path in beside.rglob("*"))
        shutil.move(beside, world.cards / name)
        self.outcome.cards += 1
        self.outcome.files += self._files[name][1]

    def _heal(self, world: World) -> None:
        while self._struck:
            with contextlib.suppress(urllib.error.URLError, OSError):
                world.put_right(self._struck.pop().of)

    def _restart(self, world: World) -> None:
        began = time.monotonic()
        world.restart_gateway()
        self.outcome.stops_s.append(time.monotonic() - began)

    def _state(self, world: World) -> str:
        latest = f"{pid}" if (pid := world.gateway_pid) else "gone"
        return f"gateway {latest}, {self.outcome.cards} cards, {self.outcome.patches} patches, {world.owed()[:200]}"

    # --- the end --------------------------------------------------------------------------------------------------

    def _settle(self, world: World) -> None:
        """Everything is whole and every card is in again: in the end headquarters holds every file, once."""
        self._heal(world)
        world.heal()
        for name in self._files:
            with contextlib.suppress(FileNotFoundError):
                shutil.move(self._cards / name, world.cards / name)
        if not _wait(lambda: at_rest(world.data) and not self._not_safe(world), _SETTLE_S):
            self.outcome.faults.append(f"not settled: {world.owed()}")
        self.outcome.faults += self._not_safe(world)
        lines = self._log(world).splitlines()
        self.outcome.faults += [line[:500] for line in lines if '"level": "critical"' in line]

    def _log(self, world: World) -> str:
        return (world.data.parent / "gateway.log").read_text(errors="replace")

    def _not_safe(self, world: World) -> list[str]:
        with contextlib.closing(sqlite3.connect(f"file:{world.database}?mode=ro", uri=True, timeout=30)) as hq:
            found = [self._card_fault(hq, name) for name in self._files]
        return [fault for fault in found if fault]

    def _card_fault(self, hq: sqlite3.Connection, name: str) -> str:
        card_id, files = self._files[name]
        (rows,) = hq.execute("SELECT count(*) FROM records WHERE card_id = ?", (card_id,)).fetchone()
        (paths,) = hq.execute("SELECT count(DISTINCT path) FROM records WHERE card_id = ?", (card_id,)).fetchone()
        safe = hq.execute("SELECT count(*) FROM receipts WHERE card_id = ? AND safe_to_wipe", (card_id,)).fetchone()
        if rows == paths == files and safe[0]:
            return ""
        return f"card {name}: {files} files, {rows} records of {paths} paths, {safe[0]} receipts that say safe"

    def _idle(self, world: World) -> float:
        """CPU that the gateway takes as it is shipped, connected, with read cards in it and nothing to do."""
        began = time.monotonic()
        pid = world.start_ordinary_gateway()
        self.outcome.stops_s.append(time.monotonic() - began)
        _wait(lambda: _still(pid), 120)
        before, began = cpu_s(pid), time.monotonic()
        time.sleep(self._idle_s)
        return (cpu_s(pid) - before) / (time.monotonic() - began)


def _still(pid: int) -> bool:
    """Whether a process takes little for some seconds: it has started and looked at everything."""
    before = cpu_s(pid)
    time.sleep(5)
    return cpu_s(pid) - before < 0.25


def _wait(true: Callable[[], Any], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_S)
    return True
