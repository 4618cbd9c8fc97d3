"""The composition root: builds the parts from settings and starts them."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from edge_module import log, model_store, wire
from edge_module.breath import Breath
from edge_module.budget import Allowance
from edge_module.card import Mount
from edge_module.ceiling import Ceiling
from edge_module.clock import Clock, SystemClock
from edge_module.courier import Courier
from edge_module.database import Step, no_step
from edge_module.domain import CardReceipt
from edge_module.ending import Ending
from edge_module.errors import LedgerError
from edge_module.health import Health
from edge_module.installed import Installed
from edge_module.ladder import Policy
from edge_module.ledger import Ledger
from edge_module.model_exchange import Models
from edge_module.originals import Originals
from edge_module.pictures import PictureCourier
from edge_module.pipeline import Pipeline
from edge_module.reported import Reported
from edge_module.scan import JsonReport, TableReport
from edge_module.scorer import Model
from edge_module.settings import Settings
from edge_module.storage import Storage, throw_off_ballast
from edge_module.thermal import Thermal
from edge_module.turns import Turns
from edge_module.twin import Twin
from edge_module.workers import Watch, Worker, owe_last_words

_log = logging.getLogger(__name__)
_STOP_S: Final = 6.0
_LOOK_S: Final = 5.0
_PAUSED: Final = "reading pauses: kept originals take all of the disk that they may"


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
    model_store.people()  # a worker opens it when it first needs it: that would be late to find it damaged
    return model


@contextlib.contextmanager
def open_ledger(
    settings: Settings, *, clock: Clock | None = None, on_step: Step = no_step
) -> Iterator[tuple[Ledger, Originals]]:
    """The ledger and the originals; a damaged ledger is set aside and rebuilt from the originals, loudly.

    Raises:
        LedgerError: the folder cannot be written, or another process has the ledger.
    """
    ledger, aside = Ledger.open(ledger_path(settings), clock or SystemClock(), on_step=on_step)
    with ledger:
        kept = originals(settings)
        kept.sweep()
        if not ledger.notes_read:  # asked of the ledger, not of `aside`: a power cut may have interrupted this before
            restored = kept.restore_into(ledger, Policy.of(settings))
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


def run(
    settings: Settings, local: tuple[tuple[str, Mapping[str, Any]], ...], ending: Ending, *, clock: Clock | None = None
) -> None:
    """Be a gateway until told to stop: read cards as they come, carry what is owed, do as the twin says.

    Args:
        settings: checked, from the local sources.
        local: those sources; the twin's settings are laid over them.
        ending: of the process; `ending.status` says afterwards why it came.
        clock: the host's unless given.

    Raises:
        ModelError: the model cannot be trusted.
        LedgerError: the ledger cannot be opened.
    """
    # The SDKs take their time to import: only a gateway needs them.
    from edge_module.actions import Actions  # noqa: PLC0415
    from edge_module.blobs import Blobs  # noqa: PLC0415
    from edge_module.cards import Cards  # noqa: PLC0415
    from edge_module.hub import Hub  # noqa: PLC0415
    from edge_module.lamp import Lamp  # noqa: PLC0415
    from edge_module.methods import Methods  # noqa: PLC0415
    from edge_module.model_fetch import fetch  # noqa: PLC0415
    from edge_module.pace import Pace  # noqa: PLC0415
    from edge_module.page.guard import Guard  # noqa: PLC0415
    from edge_module.page.panel import Panel  # noqa: PLC0415
    from edge_module.page.server import Page  # noqa: PLC0415
    from edge_module.stick import Stick  # noqa: PLC0415

    folder, stop, clock = Path(settings.data_dir).expanduser(), ending.stop, clock or SystemClock()
    with _open_whatever_the_disk(settings, clock) as (ledger, kept):
        ledger.forget_leases()
        storage = Storage(folder, owe=ledger.outbox.put)
        storage.prepare()
        owe_last_words(ledger, folder)
        watch = Watch(ending=ending, folder=folder, stall_s=lambda: twin.settings.stall_s)
        thermal = Thermal(hot_c=lambda: twin.settings.hot_c)
        ceiling = Ceiling(
            ledger=ledger, originals=kept, settings=lambda: twin.settings, clock=clock, stop=stop, wait=True,
            beat=partial(watch.beat, "cards"),
        )  # fmt: skip
        ceiling.finish()
        kept.bound_by(ceiling.make_room)
        blobs = Blobs()
        hub = Hub(reconnect_s=settings.reconnect_s)
        reported = Reported(hub.report)
        installed = installed_models(settings)
        models = Models(
            installed=installed, base=model_folder(settings),
            golden=model_store.SHIPPED_MODEL_DIR / "golden", settings=lambda: twin.settings,
            alert=partial(_alert, ledger), reported=reported, fetch=fetch, clock=clock,
        )  # fmt: skip
        courier = Courier(
            ledger=ledger, link=hub, clock=clock, settings=lambda: twin.settings, reading=lambda: cards.reading,
            beat=partial(watch.beat, "courier"),
        )  # fmt: skip
        pictures = PictureCourier(
            ledger=ledger, originals=kept, link=hub, store=blobs, clock=clock, settings=lambda: twin.settings,
            on_stored=courier.wake, beat=partial(watch.beat, "pictures"),
        )  # fmt: skip

        def wake() -> None:
            courier.wake()
            pictures.wake()

        pace = Pace()
        lamps: list[Lamp] = []

        def cards_changed() -> None:
            for lamp in lamps:
                lamp.wake()

        def confirm(confirmed: wire.Confirmed) -> None:
            before = ledger.outbox.backlog().unconfirmed_bytes
            courier.confirm(confirmed)
            after = ledger.outbox.backlog().unconfirmed_bytes
            pace.confirmed(max(0, before - after), clock.monotonic_s(), all_of_it=not after)
            cards_changed()

        def heard() -> None:
            courier.connected()
            pictures.connected()

        twin = Twin(
            folder=folder, local=local, check=lambda wanted: wanted.thresholds(models.model.head.thresholds),
            confirm=confirm, deployments=ledger.belongings.know, model=models.want, on_read=heard,
            reported=reported,
        )  # fmt: skip
        turns = Turns(lambda: 1 if thermal.hot() else twin.settings.workers)
        breath = Breath(stop, beat=partial(watch.beat, "cards"), check=storage.check, hot=thermal.hot)
        cards = Cards(
            folder=Path(settings.cards_dir), ledger=ledger, clock=clock, stop=stop, settings=lambda: twin.settings,
            pipeline=lambda current: Pipeline(
                ledger=ledger, model=models.model, settings=replace(current, workers=1) if thermal.hot() else current,
                originals=kept, stop=stop, breath=breath,
                on_complete=models.worked, turns=turns,
            ),
            wake_courier=wake, breath=breath, on_change=cards_changed,
        )  # fmt: skip
        health = Health(
            ledger=ledger, folder=folder, clock=clock, model_id=lambda: models.model.model_id,
            activity=lambda: _PAUSED if ceiling.paused else cards.activity, settings=lambda: twin.settings,
            storage=storage, thermal=thermal,
        )  # fmt: skip

        stick = Stick(
            folder=Path(settings.bundles_dir), keys=folder / "bundle-keys.json", ledger=ledger, originals=kept,
            on_confirmed=wake,
        )  # fmt: skip
        panel = Panel(
            cards=cards, ledger=ledger, pace=pace, stick=stick, connected=lambda: hub.connected, clock=clock,
            pictures_owed=ledger.uploads.waiting,
            budget_left_bytes=lambda: ledger.budget.left_bytes(Allowance.of(twin.settings)),
            disk_fault=lambda: storage.trouble is not None or ceiling.paused,
        )  # fmt: skip

        def report_status() -> None:
            while not stop.is_set():
                watch.beat("status", allow_s=twin.settings.status_interval_s)
                log.set_level(twin.settings.log_level)
                _tell_status(ledger, health, clock)
                stop.wait(twin.settings.status_interval_s)

        actions = Actions(
            folder=folder, base=model_folder(settings), ledger=ledger, originals=kept, cards=cards, blobs=blobs,
            pictures=pictures, health=health, models=models, installed=installed, settings=lambda: twin.settings,
            wake=wake, report=partial(_alert, ledger),
            breath=Breath(stop, beat=partial(watch.beat, "jobs"), check=storage.check, hot=thermal.hot),
        )  # fmt: skip
        methods = Methods(actions)
        worker = partial(Worker, ending=ending, watch=watch, storage=storage, folder=folder)
        workers = [
            worker(
                "hub",
                lambda: hub.run(on_desired=twin.receive, on_method=methods.answer, beat=partial(watch.beat, "hub")),
            ),
            worker("cards", cards.run, reads=True),
            worker("courier", lambda: courier.run(stop)),
            worker("pictures", lambda: pictures.run(stop)),
            worker("twin", lambda: twin.run(stop, beat=partial(watch.beat, "twin"))),
            worker("models", lambda: models.run(stop, beat=partial(watch.beat, "models"))),
            worker("jobs", lambda: actions.jobs.run(stop, beat=partial(watch.beat, "jobs"))),
            worker("status", report_status),
        ]
        if settings.page_port:
            page = Page(
                address=settings.page_address, port=settings.page_port, seen=panel.seen, stick=stick,
                guard=Guard(lambda: twin.settings.page_pin, clock.monotonic_s),
                pin_set=lambda: twin.settings.page_pin is not None,
            )  # fmt: skip
            workers.append(worker("page", lambda: page.run(stop, beat=partial(watch.beat, "page"))))
        if settings.signal_command:
            lamp = Lamp(settings.signal_command, panel.word)
            lamps.append(lamp)
            workers.append(worker("lamp", lambda: lamp.run(stop, beat=partial(watch.beat, "lamp"))))
        watch.start()
        for one in workers:
            one.start()
        while not stop.wait(_LOOK_S):
            storage.look()
        hub.stop()
        wake()
        cards.wake()
        deadline_s = time.monotonic() + _STOP_S
        for one in workers:
            one.join(max(0.0, deadline_s - time.monotonic()))
        if not ending.failed:
            models.ended_in_order()
        if hanging := [one.name for one in workers if one.is_alive()] + cards.hanging():
            # Nothing breaks off a read that blocks in the kernel; the ledger is in order, and must not be closed
            # under who uses it.
            _log.error("ended without waiting any longer for %s", ", ".join(hanging))
            ending.force()


def _alert(ledger: Ledger, code: str, text: str) -> None:
    ledger.outbox.put(wire.Alert(code=code, text=text, at=datetime.now(UTC)))


@contextlib.contextmanager
def _open_whatever_the_disk(settings: Settings, clock: Clock) -> Iterator[tuple[Ledger, Originals]]:
    """Open the ledger; where the disk is full, with the room that was held for it."""
    with contextlib.ExitStack() as stack:
        try:
            opened = stack.enter_context(open_ledger(settings, clock=clock))
        except LedgerError as exc:
            _log.error("%s; trying again with the ballast thrown off", exc)
            throw_off_ballast(Path(settings.data_dir).expanduser())
            opened = stack.enter_context(open_ledger(settings, clock=clock))
        yield opened


def _tell_status(ledger: Ledger, health: Health, clock: Clock) -> None:
    """Say how the gateway is; not while the last such word has not arrived."""
    if not ledger.outbox.holds("status"):
        ledger.outbox.put(wire.Status(at=clock.now(), measures=health.measures()))
    ledger.compact()


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
        ceiling = Ceiling(
            ledger=ledger, originals=kept, settings=lambda: settings, clock=SystemClock(), stop=stop, wait=False
        )
        kept.bound_by(ceiling.make_room)
        pipeline = Pipeline(ledger=ledger, model=model, settings=settings, originals=kept if keep else None, stop=stop)
        receipt = pipeline.read(
            mount, report.records, on_listed=lambda reading: report.listed(ledger.counts(reading)[0])
        )
    report.receipt(receipt)
    return receipt
