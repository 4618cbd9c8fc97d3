"""What the direct methods do: the gateway's parts, as headquarters may use them."""

import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_module import as_json, asked, log, people
from edge_module.blobs import Blobs, UploadSas
from edge_module.breath import Breath
from edge_module.cards import Cards
from edge_module.domain import Variant
from edge_module.errors import ModelError
from edge_module.files import write_durably
from edge_module.health import Health
from edge_module.installed import Installed
from edge_module.jobs import Jobs
from edge_module.ledger import Ledger
from edge_module.model_exchange import Models
from edge_module.originals import Originals
from edge_module.pictures import PictureCourier
from edge_module.reclassify import reclassify
from edge_module.selftest import check_golden
from edge_module.settings import Settings
from edge_module.uploads import Asked


@dataclass(slots=True, kw_only=True, eq=False)
class Actions:
    """The gateway for `methods.Methods`, and the work of its jobs.

    Args:
        folder: the data folder.
        base: the folder of the software's own model.
        wake: called when something is owed.
        breath: between the bursts that a job scores.
        report: gets an alert's code and text when a job is over.
        settings: those in force.
    """

    folder: Path
    base: Path
    ledger: Ledger
    originals: Originals
    cards: Cards
    blobs: Blobs
    pictures: PictureCourier
    health: Health
    models: Models
    installed: Installed
    settings: Callable[[], Settings]
    wake: Callable[[], None]
    breath: Breath
    report: Callable[[str, str], None]
    jobs: Jobs = field(init=False)

    def __post_init__(self) -> None:
        """Take up the jobs that were asked for before."""
        does = {"runSelfTest": self.self_test, "reclassify": self.score_again}
        self.jobs = Jobs(path=self.folder / "jobs.json", does=does, report=self.report)

    # --- answered at once -----------------------------------------------------------------------------------------

    def status(self) -> Mapping[str, float | str]:
        """What `status` telemetry says, now."""
        return self.health.measures()

    def rescan(self, card_id: str | None) -> list[str]:
        """Read a card again from the beginning, or every card that is in."""
        return self._again(card_id, rescore=False)

    def _again(self, card_id: str | None, *, rescore: bool) -> list[str]:
        there = sorted({seen.card_id for seen in self.cards.seen() if seen.card_id})
        chosen = [one for one in there if card_id in (None, one)]
        for one in chosen:
            self.ledger.read_again(one, rescore=rescore)
            self.cards.look_again(one)
        return chosen

    def upload(self, media_id: str, variant: Variant) -> Asked:
        """Owe headquarters a picture, of a kept original or of a card that is in."""
        answer = asked.ask(
            self.ledger, self.originals, media_id, variant, self.cards.mount_of, person=people.perhaps_in
        )
        self.wake()
        return answer

    def release(self, media_id: str) -> bool:
        """An original need not be kept any more."""
        return self.ledger.release(media_id)

    def retry(self) -> Mapping[str, int]:
        """Try again at once whatever failed or waits."""
        tried = {"messages": self.ledger.outbox.retry(), "pictures": self.ledger.uploads.retry()}
        self.wake()
        return tried

    def use_credential(self, sas: UploadSas) -> None:
        """Use an upload credential from now on."""
        self.blobs.set_credential(sas)
        self.pictures.credential_changed()

    def logs(self, lines: int, level: str) -> list[str]:
        """The last lines of the log."""
        return log.recent(lines, level)

    def begin(self, kind: str, parameters: Mapping[str, Any]) -> str:
        """Begin a job."""
        return self.jobs.ask(kind, parameters)

    def assign(self, card_id: str, deployment_key: str | None) -> Mapping[str, Any]:
        """Headquarters has decided whose card this is."""
        receipt = as_json.receipt_to_json(self.ledger.belongings.assign(card_id, deployment_key))
        self.wake()
        return {name: receipt.get(name) for name in ("card_id", "reading_id", "deployment_key")}

    # --- jobs -----------------------------------------------------------------------------------------------------

    def self_test(self, _parameters: Mapping[str, Any], _stop: threading.Event) -> str:
        """Golden frames, the ledger's file, the disk.

        Raises:
            ModelError: what is wrong, each fault.
        """
        faults = check_golden(self.base, self.models.model, self.settings(), own=self.installed.expected)
        faults += [f"ledger: {problem}" for problem in _check_ledger(self.folder / "ledger.sqlite")]
        try:
            write_durably(self.folder / "selftest", b"written")
            (self.folder / "selftest").unlink()
        except OSError as exc:
            faults.append(f"data folder: {exc.strerror}")
        if faults:
            raise ModelError("; ".join(faults))
        return f"passed with model {self.models.model.model_id}"

    def score_again(self, parameters: Mapping[str, Any], stop: threading.Event) -> str | None:
        """Kept originals now; the cards that are in, as they are read again."""
        card_id, model = parameters.get("card_id"), self.models.model
        tally = reclassify(
            self.ledger, self.originals, model, self.settings(), card_id=card_id, stop=stop, rest=self.breath.rest
        )
        if tally is None:
            return None
        self.wake()
        cards = self._again(card_id, rescore=True)
        return (
            f"{tally.scored} kept pictures were scored again by model {model.model_id}, {tally.changed} of them judged"
            f" otherwise; {tally.passed_over} could not be read; {len(cards)} cards that are in are read for it too"
        )


def _check_ledger(path: Path) -> list[str]:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
            found = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.Error as exc:
        return [str(exc)]
    return [] if found == ["ok"] else found
