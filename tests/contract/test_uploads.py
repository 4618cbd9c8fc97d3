"""Which pictures go, in which order, within which budget; and what may leave the disk. On a clock that tests move."""

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from edge_module import settings, wire
from edge_module.asked import ask
from edge_module.breath import unwatched
from edge_module.budget import Allowance
from edge_module.card import Mount
from edge_module.ceiling import Ceiling
from edge_module.domain import Card, Fate, Record, Scores, Variant
from edge_module.errors import BusyError, CardError, NotSent, TransientDelivery
from edge_module.ladder import Policy, wanted
from edge_module.listing import Listed
from edge_module.originals import Originals
from edge_module.pictures import PictureCourier
from edge_module.settling import Finding
from edge_module.uploads import Asked
from tests.ledgers import TestClock, media, open_ledger
from tests.pictures import jpeg
from tests.storage import SimulatedStore

NOON = datetime(2026, 3, 14, 12, tzinfo=timezone(timedelta(minutes=345)))
CARD = Card(card_id="card", source="marker")


def nobody(_content: bytes) -> bool:
    return False


@dataclass
class Link:
    """A link that is always there; what it is asked to send is remembered."""

    connected: bool = True
    fault: TransientDelivery | None = None
    sent: list[wire.Encoded] = field(default_factory=list)

    def send(self, encoded: wire.Encoded, *, message_id: str | None) -> None:
        del message_id
        if self.fault is not None:
            raise self.fault
        self.sent.append(encoded)


class Gateway:
    """The parts of a gateway between the ledger and storage."""

    def __init__(self, folder: Path, **values: object) -> None:
        self.folder = folder
        self.clock = TestClock(wall=NOON)
        self.settings = settings.combine(("test", values))
        self.store = SimulatedStore()
        self.link = Link()
        self.originals = Originals(folder / "originals")
        self.open()

    def open(self) -> None:
        self.ledger = open_ledger(self.folder, self.clock)
        self.courier = PictureCourier(
            ledger=self.ledger, originals=self.originals, link=self.link, store=self.store, clock=self.clock,
            settings=lambda: self.settings, on_stored=lambda: None, beat=unwatched,
        )  # fmt: skip

    def set(self, **values: object) -> None:
        self.settings = settings.combine(("test", values))

    def pass_s(self, seconds: float) -> None:
        self.clock.pass_s(seconds)
        self.clock.wall += timedelta(seconds=seconds)

    def read(
        self, name: str, content: bytes, fate: Fate, panda: float = 0.5, *, card: Card = CARD, **changes: Any
    ) -> str:
        """A file of a card is settled, its original kept where it is to be. Returns its media id."""
        media_id = hashlib.sha256(content).hexdigest()
        reading = self.ledger.begin(card)
        file = media(name, size_bytes=len(content))
        self.ledger.list_files(reading, [Listed(media=file)])
        scores = Scores(probabilities={"red_panda": panda, "blank": round(1 - panda, 3)}, night=False, view="full")
        record = Record(
            card_id=card.card_id, reading_id=reading.reading_id, path=name, media_id=media_id, model_id="model",
            fate=fate, scores=scores, size_bytes=len(content),
        )  # fmt: skip
        record = replace(record, **changes)
        kept = fate in (Fate.PANDA, Fate.REVIEW)
        if kept:
            self.originals.keep(record, file.path, BytesIO(content))
        wants = wanted(record, Policy.of(self.settings), b"\xff\xd8 a thumbnail")
        self.ledger.settle(reading, [Finding(media=file, record=record, original_kept=kept, wants=wants)])
        return media_id

    def carry(self) -> list[str]:
        """Let the courier carry as much as it will; the names of the blobs that came, in their order."""
        before = list(self.store.blobs)
        while self.courier.step():
            pass
        return [name for name in self.store.blobs if name not in before]

    def confirm(self) -> None:
        """Headquarters holds everything that is owed now."""
        while self.ledger.outbox.pack(flush=True):
            pass
        for owed in self.ledger.outbox.lease(limit=10_000, lease_s=60):
            self.ledger.outbox.sent(owed.sequence)
        self.ledger.outbox.ack([(1, self.ledger.outbox.highest())])

    @property
    def alerts(self) -> list[str]:
        payloads = [wire.decode(body).payload for _, body in self.ledger.outbox.unconfirmed()]
        return [payload.code for payload in payloads if isinstance(payload, wire.Alert)]

    @property
    def used_bytes(self) -> int:
        return self.ledger.budget.today(self.allowance).used_bytes

    @property
    def allowance(self) -> Allowance:
        return Allowance.of(self.settings)


@pytest.fixture
def make(tmp_path: Path) -> Any:
    made: list[Gateway] = []

    def gateway(**values: object) -> Gateway:
        made.append(Gateway(tmp_path, **values))
        return made[-1]

    yield gateway
    for one in made:
        one.ledger.close()


Make = Callable[..., Gateway]


def of(blob_names: list[str]) -> list[tuple[str, str]]:
    """(variant, first digits of the media id) of each."""
    return [(name.split("/")[0], name.split("/")[1][:12]) for name in blob_names]


# --- what goes first ---


def test_what_is_worth_most_goes_first(make: Make) -> None:
    gateway = make()
    unsure = gateway.read("a.jpg", jpeg(1), Fate.REVIEW, 0.2)
    less = gateway.read("b.jpg", jpeg(2), Fate.REVIEW, 0.1)
    panda = gateway.read("c.jpg", jpeg(3), Fate.PANDA, 0.8)
    surer = gateway.read("d.jpg", jpeg(4), Fate.PANDA, 0.9)
    drawn = gateway.read("e.jpg", jpeg(5), Fate.BLANK, 0.0, audit_probability=0.01)
    assert of(gateway.carry()) == [
        (variant, media_id[:12])
        for variant, media_id in [
            ("crop", surer), ("crop", panda), ("crop", unsure), ("crop", less),
            ("frame", surer), ("frame", panda), ("audit", drawn),
        ]
    ]  # fmt: skip


def test_a_day_takes_so_many_crops_of_review_and_the_next_day_the_rest(make: Make) -> None:
    gateway = make(review_crops_per_day=2, frame_of="none")
    reviews = [gateway.read(f"{n}.jpg", jpeg(n), Fate.REVIEW, n / 10) for n in range(1, 6)]
    panda = gateway.read("p.jpg", jpeg(9), Fate.PANDA)
    assert of(gateway.carry()) == [("crop", m[:12]) for m in (panda, reviews[4], reviews[3])]
    gateway.pass_s(86_400)
    assert of(gateway.carry()) == [("crop", m[:12]) for m in (reviews[2], reviews[1])]
    gateway.set(review_crops_per_day=60, frame_of="none")
    assert of(gateway.carry()) == [("crop", reviews[0][:12])]


def test_pictures_wait_for_their_hours(make: Make) -> None:
    gateway = make(upload_from_h=22, upload_until_h=4)
    gateway.read("a.jpg", jpeg(1), Fate.PANDA)
    assert gateway.carry() == []
    gateway.pass_s(10 * 3600)
    assert len(gateway.carry()) == 2


# --- people ---


@pytest.mark.parametrize("changes", [{"fate": Fate.HUMAN}, {"fate": Fate.REVIEW, "withheld": True}])
def test_a_picture_with_a_person_never_leaves_whatever_is_set_and_whoever_asks(
    make: Make, changes: dict[str, Any]
) -> None:
    gateway = make(frame_of="panda_and_review", original_of="panda_and_review", audit_per_mille=1000)
    media_id = gateway.read("a.jpg", jpeg(1), **changes)
    assert gateway.carry() == []
    for variant in (Variant.CROP, Variant.FRAME, Variant.ORIGINAL):
        assert gateway.ledger.uploads.request(media_id, variant) is Asked.WITHHELD
    assert gateway.carry() == []


@pytest.mark.parametrize("changes", [{"fate": Fate.HUMAN}, {"fate": Fate.REVIEW, "withheld": True}])
def test_48_px_of_it_go_where_that_is_set(make: Make, changes: dict[str, Any]) -> None:
    gateway = make(withheld_pictures=True)
    media_id = gateway.read("a.jpg", jpeg(1), **changes)
    assert of(gateway.carry()) == [("withheld", media_id[:12])]


def test_what_waits_stays_when_the_setting_is_taken_back(make: Make) -> None:
    gateway = make(withheld_pictures=True)
    gateway.read("a.jpg", jpeg(1), Fate.HUMAN)
    assert gateway.ledger.uploads.waiting() == 1
    gateway.set(withheld_pictures=False)
    assert gateway.carry() == []
    assert gateway.ledger.uploads.waiting() == 0


def test_a_copy_of_such_a_picture_stays_here_too_also_when_a_worker_did_not_know(make: Make) -> None:
    gateway = make()
    media_id = gateway.read("a.jpg", jpeg(1), Fate.REVIEW, withheld=True)
    known = gateway.ledger.known(media_id)
    assert known is not None
    assert known.stays_here
    gateway.read("b.jpg", jpeg(1), Fate.REVIEW, card=Card(card_id="another", source="marker"))
    assert gateway.carry() == []
    assert gateway.ledger.uploads.request(media_id, Variant.CROP) is Asked.WITHHELD


# --- asked for ---


def test_a_picture_that_is_asked_for_goes_before_what_nobody_asked_for(make: Make) -> None:
    gateway = make()
    other = gateway.read("a.jpg", jpeg(1), Fate.REVIEW, 0.9)
    wished = gateway.read("b.jpg", jpeg(2), Fate.REVIEW, 0.1)
    assert gateway.ledger.uploads.request(wished, Variant.FRAME) is Asked.QUEUED
    assert gateway.ledger.uploads.request(wished, Variant.ORIGINAL) is Asked.QUEUED
    assert of(gateway.carry()) == [
        ("frame", wished[:12]), ("crop", other[:12]), ("crop", wished[:12]), ("original", wished[:12])
    ]  # fmt: skip
    assert gateway.ledger.uploads.request(wished, Variant.ORIGINAL) is Asked.STORED


def test_an_original_travels_byte_for_byte_under_its_own_type(make: Make) -> None:
    gateway, content = make(), jpeg(1)
    media_id = gateway.read("IMG_1.JPEG", content, Fate.PANDA)
    gateway.ledger.uploads.request(media_id, Variant.ORIGINAL)
    name = gateway.carry()[-1]
    assert (gateway.store.blobs[name], gateway.store.types[name]) == (content, "image/jpeg")
    assert name == f"original/{media_id}-{media_id[:16]}.jpeg"


def test_what_was_given_up_is_tried_again_when_somebody_asks(make: Make) -> None:
    gateway = make(crop_of="none", frame_of="none")
    media_id = gateway.read("a.jpg", b"no picture at all", Fate.PANDA)
    assert gateway.ledger.uploads.request(media_id, Variant.CROP) is Asked.QUEUED
    gateway.carry()
    assert gateway.alerts == ["picture_undeliverable"]
    assert gateway.ledger.uploads.waiting() == 0
    assert gateway.ledger.uploads.request(media_id, Variant.CROP) is Asked.QUEUED
    assert gateway.ledger.uploads.waiting() == 1


def test_a_discard_can_be_had_while_its_card_is_in_and_is_gone_after_that(make: Make, tmp_path: Path) -> None:
    gateway, content = make(), jpeg(1)
    (tmp_path / "card").mkdir()
    file = tmp_path / "card" / "a.jpg"
    file.write_bytes(content)
    mount = Mount(tmp_path / "card")
    (listed,) = mount.files()
    media_id = gateway.read("a.jpg", content, Fate.OTHER)
    with gateway.ledger._database.transaction("test") as connection:
        connection.execute("UPDATE file SET mtime_ns = ?", (listed.media.mtime_ns,))
    asked = [ask(gateway.ledger, gateway.originals, media_id, Variant.FRAME, lambda _card_id: None, person=nobody)]
    asked += [ask(gateway.ledger, gateway.originals, media_id, Variant.FRAME, lambda _card_id: mount, person=nobody)]
    assert asked == [Asked.GONE, Asked.QUEUED]
    assert of(gateway.carry()) == [("frame", media_id[:12])]
    assert (
        ask(gateway.ledger, gateway.originals, "0" * 64, Variant.FRAME, lambda _card_id: mount, person=nobody)
        is Asked.UNKNOWN
    )


def test_a_discard_that_somebody_asks_for_stays_here_if_there_may_be_a_person_in_it(make: Make, tmp_path: Path) -> None:
    gateway, content = make(), jpeg(1)
    (tmp_path / "card").mkdir()
    (tmp_path / "card" / "a.jpg").write_bytes(content)
    mount = Mount(tmp_path / "card")
    (listed,) = mount.files()
    media_id = gateway.read("a.jpg", content, Fate.OTHER)
    with gateway.ledger._database.transaction("test") as connection:
        connection.execute("UPDATE file SET mtime_ns = ?", (listed.media.mtime_ns,))
    looked_at: list[bytes] = []

    def somebody(picture: bytes) -> bool:
        looked_at.append(picture)
        return True

    for _ in range(2):
        asked = ask(
            gateway.ledger, gateway.originals, media_id, Variant.ORIGINAL, lambda _card_id: mount, person=somebody
        )
        assert asked is Asked.WITHHELD
    assert looked_at == [content]
    assert gateway.carry() == []
    assert not gateway.originals.path(media_id, "a.jpg").exists()


def test_a_copy_in_which_a_person_is_seen_keeps_the_first_ones_pictures_here(make: Make) -> None:
    gateway, content = make(), jpeg(1)
    media_id = gateway.read("a.jpg", content, Fate.PANDA)
    assert gateway.ledger.uploads.waiting() > 0
    gateway.read("b.jpg", content, Fate.REVIEW, withheld=True)
    assert gateway.ledger.uploads.waiting() == 0
    assert gateway.ledger.uploads.request(media_id, Variant.FRAME) is Asked.WITHHELD
    assert gateway.carry() == []


def test_an_original_that_the_disk_does_not_give_is_tried_again_and_holds_up_no_other(make: Make) -> None:
    gateway = make(retry_longest_s=1, frame_of="none")
    first = gateway.read("a.jpg", jpeg(1), Fate.PANDA, panda=0.9)
    second = gateway.read("b.jpg", jpeg(2), Fate.PANDA, panda=0.6)
    there = gateway.originals.path(first, "a.jpg")
    aside = there.rename(there.with_name("aside"))
    there.mkdir()  # reading a folder fails as reading a bad sector does: not now
    for _ in range(5):
        assert len(gateway.carry()) <= 1
        gateway.pass_s(2)
    assert of(list(gateway.store.blobs)) == [("crop", second[:12])]
    assert gateway.alerts == []
    there.rmdir()
    aside.rename(there)
    assert of(gateway.carry()) == [("crop", first[:12])]


def test_an_original_that_the_disk_never_gives_is_given_up_and_told(make: Make) -> None:
    gateway = make(retry_longest_s=1, frame_of="none")
    there = gateway.originals.path(gateway.read("a.jpg", jpeg(1), Fate.PANDA), "a.jpg")
    there.unlink()
    there.mkdir()
    for _ in range(30):
        gateway.carry()
        gateway.pass_s(2)
    assert gateway.alerts == ["picture_undeliverable"]


def test_a_picture_made_of_a_film_is_refused_before_the_film_fills_the_memory(make: Make) -> None:
    gateway = make(crop_of="none", frame_of="none")
    media_id = gateway.read("film.avi", b"RIFF", Fate.REVIEW, reason="video: not scored")
    os.truncate(gateway.originals.path(media_id, "film.avi"), 100 * 2**20)
    gateway.ledger.uploads.request(media_id, Variant.FRAME)
    assert gateway.carry() == []
    assert gateway.alerts == ["picture_undeliverable"]
    ((reason,),) = gateway.ledger._database.read("SELECT reason FROM upload")
    assert reason.startswith("larger than 64 MB")


# --- the budget ---


def test_every_byte_is_counted_before_it_is_sent_failed_attempts_too(make: Make) -> None:
    gateway = make(retry_longest_s=1)
    gateway.read("a.jpg", jpeg(1), Fate.PANDA)
    gateway.store.fault = TransientDelivery("the link broke off")
    for _ in range(3):
        gateway.carry()
        gateway.pass_s(3)
    assert gateway.store.requests == 3
    assert gateway.used_bytes == gateway.store.sent_bytes > 0
    gateway.store.fault = None
    gateway.carry()
    assert gateway.used_bytes == gateway.store.sent_bytes


def test_what_never_left_the_machine_costs_nothing(make: Make) -> None:
    gateway = make(retry_longest_s=1)
    gateway.read("a.jpg", jpeg(1), Fate.PANDA)
    gateway.store.fault = NotSent("no route to storage")
    gateway.carry()
    assert gateway.store.requests == 1
    assert gateway.used_bytes == 0


def test_a_request_for_a_credential_is_counted(make: Make) -> None:
    gateway = make()
    gateway.store.has_credential = False
    gateway.read("a.jpg", jpeg(1), Fate.PANDA)
    gateway.carry()
    assert [encoded.kind for encoded in gateway.link.sent] == ["sas_request"]
    assert gateway.used_bytes > len(gateway.link.sent[0].body)


def test_a_request_that_never_left_costs_nothing(make: Make) -> None:
    gateway = make()
    gateway.store.has_credential = False
    gateway.link.fault = NotSent("not connected")
    gateway.read("a.jpg", jpeg(1), Fate.PANDA)
    gateway.carry()
    assert gateway.used_bytes == 0


def test_pictures_leave_room_for_what_is_to_be_said(make: Make) -> None:
    gateway = make(budget_bytes=2_000_000)
    gateway.read("a.jpg", jpeg(1), Fate.PANDA)
    gateway.ledger.budget.reserve(1_800_000 - 50_000, gateway.allowance)
    for _ in range(100):
        gateway.ledger.outbox.put(wire.Status(at=NOON, measures={}))
    assert gateway.carry() == []
    gateway.confirm()
    assert len(gateway.carry()) == 2


def test_what_does_not_fit_today_goes_tomorrow_and_costs_no_attempt(make: Make) -> None:
    gateway = make(budget_bytes=2_000_000, frame_of="none")
    gateway.read("a.jpg", jpeg(1), Fate.PANDA)
    gateway.ledger.budget.reserve(1_800_000 - 4_000, gateway.allowance)
    assert gateway.carry() == []
    assert gateway.store.requests == 0
    gateway.courier.wake()
    assert gateway.carry() == []
    gateway.pass_s(86_400)
    assert len(gateway.carry()) == 1
    (upload,) = gateway.ledger._database.read("SELECT attempts FROM upload")
    assert upload == (1,)


def test_a_large_original_goes_in_blocks_over_days_and_restarts(make: Make) -> None:
    gateway = make(budget_bytes=2_000_000, crop_of="none", frame_of="none")
    film = bytes(range(256)) * 4096 * 4  # 4 MB
    media_id = gateway.read("film.avi", film, Fate.REVIEW, reason="video: not scored")
    assert gateway.ledger.uploads.request(media_id, Variant.ORIGINAL) is Asked.QUEUED
    days = 0
    while not gateway.store.blobs and days < 20:
        gateway.carry()
        assert gateway.used_bytes <= 1_800_000
        gateway.ledger.close()
        gateway.clock.reboot()
        gateway.pass_s(86_400)
        gateway.open()
        days += 1
    assert list(gateway.store.blobs.values()) == [film]
    assert 4 <= days <= 6, "a block of 1 MB a day fits"
    assert gateway.store.requests == 6, "no block was sent twice"


def test_blocks_that_storage_threw_away_are_sent_again(make: Make) -> None:
    gateway = make(retry_longest_s=1, budget_bytes=100_000_000)
    film = bytes(9_000_000)
    media_id = gateway.read("film.avi", film, Fate.REVIEW, reason="video: not scored")
    gateway.ledger.uploads.request(media_id, Variant.ORIGINAL)
    gateway.store.throws_blocks_away = True
    assert gateway.carry() == []
    gateway.store.throws_blocks_away = False
    gateway.pass_s(5)
    assert len(gateway.carry()) == 1
    assert hashlib.sha256(next(iter(gateway.store.blobs.values()))).hexdigest() == media_id


# --- what may leave the disk ---


def ceiling(gateway: Gateway, *, wait: bool = False, stop: threading.Event | None = None) -> Ceiling:
    made = Ceiling(
        ledger=gateway.ledger, originals=gateway.originals, settings=lambda: gateway.settings, clock=gateway.clock,
        stop=stop or threading.Event(), wait=wait,
    )  # fmt: skip
    gateway.originals.bound_by(made.make_room)
    return made


def padded(seed: int) -> bytes:
    """A picture of half a megabyte."""
    picture = jpeg(seed)
    return picture + bytes(500_000 - len(picture))


def kept(gateway: Gateway) -> set[str]:
    return {path.stem for path in (gateway.folder / "originals").glob("*/*.jpg")}


def test_at_the_ceiling_those_go_that_headquarters_holds_then_those_released_and_what_is_owed_never(make: Make) -> None:
    gateway = make(originals_max_bytes=1_600_000, originals_max_share=0.95, crop_of="none", frame_of="none")
    held, released, owed = (gateway.read(f"{n}.jpg", padded(n), Fate.PANDA) for n in range(3))
    ceiling(gateway)
    gateway.ledger.uploads.request(held, Variant.ORIGINAL)
    gateway.carry()
    assert gateway.ledger.release(released)
    with pytest.raises(CardError, match=r"kept originals take 1\.\d|no room"):
        gateway.read("4.jpg", padded(4), Fate.PANDA)
    assert kept(gateway) == {held, released, owed}, "headquarters has not confirmed that it holds it, nor the verdicts"
    assert gateway.alerts == ["originals_ceiling"]
    gateway.confirm()
    fourth = gateway.read("4.jpg", padded(4), Fate.PANDA)
    assert kept(gateway) == {released, owed, fourth}
    gateway.confirm()
    fifth = gateway.read("5.jpg", padded(5), Fate.PANDA)
    assert kept(gateway) == {owed, fourth, fifth}
    gateway.confirm()
    with pytest.raises(CardError, match="no room for its originals"):
        gateway.read("6.jpg", padded(6), Fate.PANDA)
    assert gateway.ledger.uploads.request(held, Variant.FRAME) is Asked.GONE
    assert not gateway.ledger.release(held)


def test_a_released_original_of_which_a_picture_is_owed_stays(make: Make) -> None:
    gateway = make(originals_max_bytes=1_000_000, originals_max_share=0.95)
    first = gateway.read("1.jpg", padded(1), Fate.PANDA)
    gateway.ledger.release(first)
    gateway.confirm()
    assert gateway.ledger.may_go() == [], "its crop and frame wait to be made of it"
    gateway.carry()
    assert gateway.ledger.may_go() == [], "stored, and not confirmed"
    gateway.confirm()
    assert [original.media_id for original in gateway.ledger.may_go()] == [first]


def test_what_somebody_asks_for_while_room_is_made_stays(make: Make) -> None:
    gateway = make(crop_of="none", frame_of="none")
    first = gateway.read("1.jpg", padded(1), Fate.PANDA)
    gateway.ledger.release(first)
    gateway.confirm()
    assert [original.media_id for original in gateway.ledger.may_go()] == [first]
    assert gateway.ledger.uploads.request(first, Variant.FRAME) is Asked.QUEUED
    assert not gateway.ledger.going(first), "the answer was that it is queued"
    gateway.carry()
    gateway.confirm()
    assert gateway.ledger.going(first)
    assert gateway.ledger.uploads.request(first, Variant.ORIGINAL) is Asked.GONE


def test_reading_pauses_at_the_ceiling_and_goes_on_by_itself(make: Make) -> None:
    gateway = make(originals_max_bytes=1_200_000, originals_max_share=0.95, crop_of="none", frame_of="none")
    first = gateway.read("1.jpg", padded(1), Fate.PANDA)
    gateway.read("2.jpg", padded(2), Fate.PANDA)
    gateway.confirm()
    bound = ceiling(gateway, wait=True)
    reading = threading.Thread(target=lambda: gateway.read("3.jpg", padded(3), Fate.PANDA))
    reading.start()
    waited = threading.Event()
    while not bound.paused and not waited.wait(0.05):
        assert reading.is_alive()
    assert len(kept(gateway)) == 2
    gateway.ledger.release(first)
    reading.join(60)
    assert not reading.is_alive()
    assert not bound.paused
    assert len(kept(gateway)) == 2
    assert first not in kept(gateway)
    assert gateway.alerts == ["originals_ceiling"], "told once"


def test_whoever_asks_for_a_picture_at_the_ceiling_is_told_so_and_keeps_no_answer_waiting(
    make: Make, tmp_path: Path
) -> None:
    """Direct methods that wait for room would leave no place for the one that makes it (`releaseMedia`)."""
    gateway = make(originals_max_bytes=1_000_000, originals_max_share=0.95, crop_of="none", frame_of="none")
    card = tmp_path / "card"
    card.mkdir()
    (card / "2.jpg").write_bytes(padded(2))
    first = gateway.read("1.jpg", padded(1) + bytes(100_000), Fate.PANDA)
    mount = Mount(card)
    asked_for = gateway.read("2.jpg", padded(2), Fate.OTHER, card=mount.identify())
    (listed,) = mount.files()
    with gateway.ledger._database.transaction("test") as connection:
        connection.execute("UPDATE file SET mtime_ns = ? WHERE path = ?", (listed.media.mtime_ns, b"2.jpg"))
    gateway.confirm()
    stop = threading.Event()
    bound = ceiling(gateway, wait=True, stop=stop)

    def asking() -> Asked:
        return ask(gateway.ledger, gateway.originals, asked_for, Variant.FRAME, lambda _card_id: mount, person=nobody)

    with pytest.raises(BusyError, match="releaseMedia"):
        asking()

    def wanting() -> None:
        with contextlib.suppress(CardError):  # when it is told to stop
            bound.make_room(500_000)

    reading = threading.Thread(target=wanting)
    reading.start()
    waited = threading.Event()
    while not bound.paused and not waited.wait(0.05):
        assert reading.is_alive()
    with pytest.raises(BusyError):
        asking()
    stop.set()
    reading.join(60)
    gateway.ledger.release(first)
    assert asking() is Asked.QUEUED


def test_a_pause_ends_when_the_gateway_stops(make: Make) -> None:
    gateway, stop = make(originals_max_bytes=1_000_000, originals_max_share=0.95), threading.Event()
    stop.set()
    ceiling(gateway, wait=True, stop=stop)
    gateway.read("1.jpg", padded(1), Fate.PANDA)
    with pytest.raises(CardError):
        gateway.read("2.jpg", padded(2) + bytes(100_000), Fate.PANDA)


@pytest.mark.parametrize("when", ["before the file", "after the file"])
def test_a_power_cut_while_an_original_is_removed_leaves_no_half(make: Make, when: str) -> None:
    gateway = make(crop_of="none", frame_of="none")
    media_id = gateway.read("1.jpg", padded(1), Fate.PANDA)
    gateway.ledger.release(media_id)
    gateway.confirm()
    gateway.ledger.going(media_id)
    if when == "after the file":
        gateway.originals.remove(media_id, "1.jpg")
    gateway.ledger.close()
    gateway.open()
    assert gateway.ledger.uploads.request(media_id, Variant.FRAME) is Asked.GONE
    ceiling(gateway).finish()
    assert kept(gateway) == set()
    assert gateway.ledger.may_go() == []
    again = gateway.read("1.jpg", padded(1), Fate.PANDA)
    assert kept(gateway) == {again}, "the card read again brings it back"
    assert gateway.ledger.uploads.request(media_id, Variant.FRAME) is Asked.QUEUED


@pytest.mark.parametrize("bundled", [False, True], ids=["waiting for the link", "on a stick too"])
def test_where_a_later_model_sees_a_person_no_picture_leaves_any_more(make: Make, bundled: bool) -> None:
    gateway = make()
    media_id = gateway.read("a.jpg", jpeg(1), Fate.PANDA)
    (first, *_) = gateway.ledger.uploads.owed()
    if bundled:
        words = wire.MediaStored(
            media_id=media_id, variant=first.variant, blob_name="crop/a.jpg", blob_sha256=media_id, size_bytes=1
        )
        gateway.ledger.uploads.bundled(first, words)
    (kept_original,) = gateway.originals.kept(media_id)
    later = replace(kept_original.record, fate=Fate.REVIEW, withheld=True, model_id="later")
    assert gateway.ledger.rescored(later, b"a.jpg", wanted(later, Policy.of(gateway.settings)))
    assert gateway.carry() == []
    assert gateway.ledger.uploads.request(media_id, Variant.CROP) is Asked.WITHHELD
