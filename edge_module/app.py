"""The composition root: builds the parts from settings and starts them."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from edge_module import model_store, wire
from edge_module.card import Mount
from edge_module.cards import Cards
from edge_module.clock import Clock, SystemClock
from edge_module.courier import Courier
from edge_module.database import Step, no_step
from edge_module.domain import CardReceipt
from edge_module.health import Health
from edge_module.installed import Installed
from edge_module.ledger import Ledger
from edge_module.model_exchange import Models
from edge_module.originals import Originals
from edge_module.pictures import PictureCourier
from edge_module.pipeline import Pipeline
from edge_module.reported import Reported
from edge_module.scan import JsonReport, TableReport
from edge_module.scorer import Model
from edge_module.settings import Settings
from edge_module.twin import Twin

_log = logging.getLogger(__name__)
_STOP_S: Final = 6.0


def model_folder(settings: Settings) -> Path:
    """Where the model lies that the settings name."""
    return model_store.SHIPPED_MODEL_DIR if settings.model_dir == "shipped" else Path(settings.model_dir).expanduser()


def installed_models(settings: Settings) -> Installed:
    """The models that came from afar."""
    return Installed(Path(settings.data_dir).expanduser() / "models")


def load_model(settings: Settings) -> Model:
    """The model in force: one that came from afar, else the one that the settings name.

    Raises:
        ModelError: it cannot be trusted.
        ConfigError: the thresholds that are set make no sense with it.
    """
    model = model_store.load(installed_models(settings).current or model_folder(settings))
    settings.thresholds(model.head.thresholds)
    return model


@contextlib.contextmanager
def open_ledger(settings: Settings, *, on_step: Step = no_step) -> Iterator[tuple[Ledger, Originals]]:
    """The ledger and the originals; a damaged ledger is set aside and rebuilt from the originals, loudly.

    Raises:
        LedgerError: the folder cannot be written, or another process has the ledger.
    """
    ledger, aside = Ledger.open(ledger_path(settings), SystemClock(), on_step=on_step)
    with ledger:
        kept = originals(settings)
        kept.sweep()
        if not ledger.notes_read:  # asked of the ledger, not of `aside`: a power cut may have interrupted this before
            restored = kept.restore_into(ledger)
            if aside is not None or restored:
                was = f"was damaged and set aside as {aside.name}" if aside else "was lost"
                text = (
                    f"the ledger {was}; {restored} pictures were restored from the kept originals; cards that were not"
                    " yet safe to wipe must be read again"
                )
                _log.error("%s", text)
                ledger.outbox.put(wire.Alert(code="ledger_rebuilt", text=text, at=datetime.now(UTC)))
            ledger.set_notes_read()
        yield ledger, kept


def ledger_path(settings: Settings) -> Path:
    """Where the ledger lies."""
    return Path(settings.data_dir).expanduser() / "ledger.sqlite"


def originals(settings: Settings) -> Originals:
    """The kept originals."""
    return Originals(Path(settings.data_dir).expanduser() / "originals")


def run(settings: Settings, local: tuple[tuple[str, Mapping[str, Any]], ...], stop: threading.Event) -> None:
    """Be a gateway until told to stop: read cards as they come, carry what is owed, do as the twin says.

    Args:
        settings: checked, from the local sources.
        local: those sources; the twin's settings are laid over them.
        stop: set it to end.

    Raises:
        ModelError: the model cannot be trusted.
        LedgerError: the ledger cannot be opened.
    """
    # The SDKs take their time to import: only a gateway needs them.
    from edge_module.blobs import Blobs, UploadSas  # noqa: PLC0415
    from edge_module.hub import Hub  # noqa: PLC0415
    from edge_module.methods import Methods  # noqa: PLC0415
    from edge_module.model_fetch import fetch  # noqa: PLC0415

    folder, clock = Path(settings.data_dir).expanduser(), SystemClock()
    with open_ledger(settings) as (ledger, kept):
        ledger.forget_leases()
        blobs = Blobs()
        hub = Hub(reconnect_s=settings.reconnect_s)
        reported = Reported(hub.report)
        models = Models(
            installed=installed_models(settings), base=model_folder(settings),
            golden=model_store.SHIPPED_MODEL_DIR / "golden", settings=lambda: twin.settings,
            alert=lambda code, text: _alert(ledger, code, text), reported=reported, fetch=fetch, clock=clock,
        )  # fmt: skip
        courier = Courier(
            ledger=ledger, link=hub, clock=clock, settings=lambda: twin.settings, reading=lambda: cards.reading
        )
        pictures = PictureCourier(
            ledger=ledger, originals=kept, link=hub, store=blobs, clock=clock, settings=lambda: twin.settings,
            on_stored=courier.wake,
        )  # fmt: skip

        def wake() -> None:
            courier.wake()
            pictures.wake()

        def heard() -> None:
            courier.connected()
            pictures.connected()

        twin = Twin(
            folder=folder, local=local, check=lambda wanted: wanted.thresholds(models.model.head.thresholds),
            confirm=courier.confirm, deployments=ledger.belongings.know, model=models.want, on_read=heard,
            reported=reported,
        )  # fmt: skip
        cards = Cards(
            folder=Path(settings.cards_dir), ledger=ledger, clock=clock, stop=stop, settings=lambda: twin.settings,
            pipeline=lambda current: Pipeline(
                ledger=ledger, model=models.model, settings=current, originals=kept, stop=stop,
                on_complete=models.worked,
            ),
            wake_courier=wake,
        )  # fmt: skip
        health = Health(
            ledger=ledger, folder=folder, model_id=lambda: models.model.model_id, activity=lambda: cards.activity
        )

        def use_credential(sas: UploadSas) -> None:
            blobs.set_credential(sas)
            pictures.credential_changed()

        methods = Methods(set_upload_sas=use_credential, status=health.measures)
        threads = [
            Worker(
                "hub",
                lambda: hub.run(on_desired=twin.receive, on_method=methods.answer),
                stop,
            ),
            Worker("cards", cards.run, stop),
            Worker("courier", lambda: courier.run(stop), stop),
            Worker("pictures", lambda: pictures.run(stop), stop),
            Worker("twin", lambda: twin.run(stop), stop),
            Worker("models", lambda: models.run(stop), stop),
        ]
        for thread in threads:
            thread.start()
        _report_status(ledger, health, clock, lambda: twin.settings.status_interval_s, stop)
        hub.stop()
        wake()
        deadline_s = time.monotonic() + _STOP_S
        for thread in threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        for thread in threads:
            thread.check()
        models.ended_in_order()


def _alert(ledger: Ledger, code: str, text: str) -> None:
    ledger.outbox.put(wire.Alert(code=code, text=text, at=datetime.now(UTC)))


def _report_status(
    ledger: Ledger, health: Health, clock: Clock, interval_s: Callable[[], float], stop: threading.Event
) -> None:
    """Say how the gateway is, now and then, until it stops; not while the last such word has not arrived."""
    while not stop.is_set():
        if not ledger.outbox.holds("status"):
            ledger.outbox.put(wire.Status(at=clock.now(), measures=health.measures()))
        ledger.compact()
        stop.wait(interval_s())


class Worker(threading.Thread):
    """A thread whose failure ends the process: IoT Edge starts it again, and the ledger goes on where it was."""

    def __init__(self, name: str, work: Callable[[], None], stop: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._stop_all = stop
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Work; on failure remember why and stop everything."""
        try:
            self._work()
        except BaseException as exc:  # noqa: BLE001 - top of a thread; raised again in the main thread
            self._failure = exc
            self._stop_all.set()

    def check(self) -> None:
        """Raise what ended the thread, if anything did."""
        if self._failure is not None:
            raise self._failure


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
    with open_ledger(settings, on_step=on_step) as (ledger, kept):
        pipeline = Pipeline(ledger=ledger, model=model, settings=settings, originals=kept if keep else None, stop=stop)
        receipt = pipeline.read(
            mount, report.records, on_listed=lambda reading: report.listed(ledger.counts(reading)[0])
        )
    report.receipt(receipt)
    return receipt
