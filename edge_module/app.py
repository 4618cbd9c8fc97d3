"""The composition root: builds the parts from settings and starts them."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from edge_module import model_store, wire
from edge_module.card import Mount
from edge_module.clock import SystemClock
from edge_module.database import Step, no_step
from edge_module.domain import CardReceipt
from edge_module.ledger import Ledger
from edge_module.originals import Originals
from edge_module.pipeline import Pipeline
from edge_module.scan import JsonReport, TableReport
from edge_module.scorer import Model
from edge_module.settings import Settings

_log = logging.getLogger(__name__)


def model_folder(settings: Settings) -> Path:
    """Where the model lies that the settings name."""
    return model_store.SHIPPED_MODEL_DIR if settings.model_dir == "shipped" else Path(settings.model_dir).expanduser()


def load_model(settings: Settings) -> Model:
    """The model that the settings name.

    Raises:
        ModelError: it cannot be trusted.
        ConfigError: the thresholds that are set make no sense with it.
    """
    model = model_store.load(model_folder(settings))
    settings.thresholds(model.head.thresholds)
    return model


@contextlib.contextmanager
def open_ledger(settings: Settings, *, on_step: Step = no_step) -> Iterator[tuple[Ledger, Originals]]:
    """The ledger and the originals; a damaged ledger is set aside and rebuilt from the originals, loudly.

    Raises:
        LedgerError: the folder cannot be written, or another process has the ledger.
    """
    folder = Path(settings.data_dir).expanduser()
    ledger, aside = Ledger.open(folder / "ledger.sqlite", SystemClock(), on_step=on_step)
    with ledger:
        originals = Originals(folder / "originals")
        if aside is not None:
            restored = originals.restore_into(ledger)
            text = (
                f"the ledger was damaged and set aside as {aside.name}; {restored} pictures were restored from the kept"
                " originals; cards that were not yet safe to wipe must be read again"
            )
            _log.error("%s", text)
            ledger.outbox.put(wire.Alert(code="ledger_rebuilt", text=text, at=datetime.now(UTC)))
        yield ledger, originals


def scan(
    root: Path,
    settings: Settings,
    report: JsonReport | TableReport,
    *,
    keep: bool,
    stop: threading.Event,
    on_step: Step = no_step,
) -> CardReceipt:
    """Read one card to its receipt.

    Args:
        root: the card, or a folder.
        settings: checked.
        report: where records go as they are settled.
        keep: copy the originals of `panda` and `review`, as the gateway does.
        stop: set it to interrupt.
        on_step: named steps of the ledger, for tests that cut there.

    Raises:
        CardError: there is no such card to begin with.
        ModelError: the model cannot be trusted.
        LedgerError: the ledger cannot be written.
    """
    mount = Mount(root)
    model = load_model(settings)
    with open_ledger(settings, on_step=on_step) as (ledger, originals):
        pipeline = Pipeline(
            ledger=ledger, model=model, settings=settings, originals=originals if keep else None, stop=stop
        )
        receipt = pipeline.read(
            mount, report.records, on_listed=lambda reading: report.listed(ledger.counts(reading)[0])
        )
    report.receipt(receipt)
    return receipt
