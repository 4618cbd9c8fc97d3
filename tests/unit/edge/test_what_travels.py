"""From a card to what lies in storage, with the shipped backbone and heads that see what a test wants them to see."""

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nacl.public import PrivateKey
from nacl.signing import SigningKey
from PIL import Image

from edge_module import model_store, settings
from edge_module.app import open_ledger
from edge_module.breath import unwatched
from edge_module.bundle_format import BundleError, GatewayKeys
from edge_module.bundles import confirm, write
from edge_module.card import Mount
from edge_module.clock import SystemClock
from edge_module.domain import Variant
from edge_module.errors import StorageError, Trouble
from edge_module.ledger import Ledger
from edge_module.originals import Originals
from edge_module.pictures import PictureCourier
from edge_module.pipeline import Pipeline
from edge_module.scorer import Model
from edge_module.uploads import Asked
from edge_module.wire import Confirmed
from tests import pictures
from tests.contract.test_uploads import Link
from tests.storage import SimulatedStore

GPS = 0x8825


@pytest.fixture(scope="module")
def shipped() -> Model:
    return model_store.load(model_store.SHIPPED_MODEL_DIR)


def seeing(model: Model, label: str) -> Model:
    """The same backbone with a head to which everything is `label`."""
    labels = ("red_panda", "other", "blank", "human")
    bias = np.array([10.0 if name == label else 0.0 for name in labels], np.float32)
    head = replace(model.head, labels=labels, weights=np.zeros((4, 1280), np.float32), bias=bias)
    return replace(model, head=head, model_id=f"sees-{label}")


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Three pictures that say where they were taken."""
    (tmp_path / "card").mkdir()
    for n in range(3):
        tags = pictures.exif(serial="CAM-0042")
        tags.get_ifd(GPS).update({1: "N", 2: (27.0, 41.0, 58.3)})
        (tmp_path / "card" / f"{n}.jpg").write_bytes(
            pictures.encoded(pictures.scene(n, width_px=1200, height_px=900), exif=tags)
        )
    return tmp_path / "card"


def new_keys() -> GatewayKeys:
    return GatewayKeys(
        gateway_id="gateway-1", hq_encrypt_key=bytes(PrivateKey.generate().public_key),
        hq_verify_key=bytes(SigningKey.generate().verify_key), signing_seed=bytes(SigningKey.generate()),
    )  # fmt: skip


Then = Callable[[Ledger, Originals, list[str], SimulatedStore], None]


def read_and_carry(card: Path, model: Model, then: Then, store: SimulatedStore | None = None, **values: object) -> None:
    """Read the card and carry what is owed of it; then look."""
    chosen = settings.combine(("test", {"data_dir": str(card.parent / "data"), "settle_s": 0, **values}))
    store = store or SimulatedStore()
    with open_ledger(chosen) as (ledger, kept):
        pipeline = Pipeline(ledger=ledger, model=model, settings=chosen, originals=kept)
        media_ids: list[str] = []
        pipeline.read(
            Mount(card), lambda records: media_ids.extend(r.media_id for r in records), on_listed=lambda _reading: None
        )
        courier = PictureCourier(
            ledger=ledger, originals=kept, link=Link(), store=store, clock=SystemClock(), settings=lambda: chosen,
            on_stored=lambda: None, beat=unwatched,
        )  # fmt: skip
        while courier.step():
            pass
        then(ledger, kept, media_ids, store)


def check_plain(jpeg: bytes, long_edge_px: int) -> None:
    image = Image.open(io.BytesIO(jpeg))
    assert max(image.size) == long_edge_px
    assert not image.getexif()
    assert b"CAM-0042" not in jpeg


def test_a_person_leaves_neither_a_picture_nor_an_original(card: Path, shipped: Model) -> None:
    def then(ledger: Ledger, kept: Originals, media_ids: list[str], store: SimulatedStore) -> None:
        assert store.blobs == {}
        assert kept.taken_bytes == 0
        assert len(media_ids) == 3
        for media_id in media_ids:
            assert ledger.uploads.request(media_id, Variant.ORIGINAL) is Asked.WITHHELD

    read_and_carry(card, seeing(shipped, "human"), then, frame_of="panda_and_review", audit_per_mille=1000)


def test_48_px_of_a_person_leave_where_that_is_set(card: Path, shipped: Model) -> None:
    def then(_ledger: Ledger, kept: Originals, media_ids: list[str], store: SimulatedStore) -> None:
        assert sorted(name.split("/")[1][:64] for name in store.blobs) == sorted(media_ids)
        for name, jpeg in store.blobs.items():
            assert name.startswith("withheld/")
            check_plain(jpeg, 48)
        assert kept.taken_bytes == 0

    read_and_carry(card, seeing(shipped, "human"), then, withheld_pictures=True)


def test_discards_that_are_drawn_leave_as_thumbnails(card: Path, shipped: Model) -> None:
    def then(ledger: Ledger, kept: Originals, media_ids: list[str], store: SimulatedStore) -> None:
        assert sorted(name.split("/")[1][:64] for name in store.blobs) == sorted(media_ids)
        for name, jpeg in store.blobs.items():
            assert name.startswith("audit/")
            check_plain(jpeg, 160)
        assert kept.taken_bytes == 0
        assert ledger.uploads.waiting() == 0

    read_and_carry(card, seeing(shipped, "blank"), then, audit_per_mille=1000)


def test_pandas_leave_as_crops_and_frames(card: Path, shipped: Model) -> None:
    def then(_ledger: Ledger, _kept: Originals, media_ids: list[str], store: SimulatedStore) -> None:
        assert sorted(name.split("-")[0] for name in store.blobs) == sorted(
            f"{variant}/{media_id}" for media_id in media_ids for variant in ("crop", "frame")
        )
        for name, jpeg in store.blobs.items():
            check_plain(jpeg, 1200 if name.startswith("frame") else 480)

    read_and_carry(card, seeing(shipped, "red_panda"), then)


def test_a_stick_takes_what_no_link_did_and_its_confirmation_settles_it(card: Path, shipped: Model) -> None:
    def then(ledger: Ledger, kept: Originals, media_ids: list[str], store: SimulatedStore) -> None:
        assert store.blobs == {}
        assert ledger.uploads.request(media_ids[0], Variant.ORIGINAL) is Asked.QUEUED
        _, messages, taken = write(ledger, kept, new_keys(), card.parent)
        assert taken == 3 + 3 + 1, "crops, frames and the original that was asked for"
        assert messages >= taken + 3
        assert ledger.uploads.waiting() == taken
        everything = Confirmed(ledger_id=ledger.ledger_id, through=messages, highest=messages)
        ledger.confirm(everything, resend_older_than_s=0)
        assert ledger.uploads.waiting() == 0
        assert [original.media_id for original in ledger.may_go()] == [media_ids[0]], "headquarters holds it"

    read_and_carry(card, seeing(shipped, "red_panda"), then, SimulatedStore(has_credential=False))


def test_a_stick_takes_the_thumbnails_of_what_was_not_kept(card: Path, shipped: Model) -> None:
    def then(ledger: Ledger, kept: Originals, _media_ids: list[str], _store: SimulatedStore) -> None:
        assert write(ledger, kept, new_keys(), card.parent)[2] == 3

    read_and_carry(card, seeing(shipped, "blank"), then, SimulatedStore(has_credential=False), audit_per_mille=1000)


def test_a_bundle_that_comes_to_nothing_takes_no_room_on_the_stick(card: Path, shipped: Model, tmp_path: Path) -> None:
    def full(done: int, _total: int) -> None:
        if done == 1:
            raise StorageError("the gateway's own disk is full", Trouble.FULL)

    def then(ledger: Ledger, kept: Originals, _media_ids: list[str], _store: SimulatedStore) -> None:
        (stick := tmp_path / "stick").mkdir()
        with pytest.raises(StorageError):
            write(ledger, kept, new_keys(), stick, on_progress=full)
        assert list(stick.iterdir()) == []
        assert write(ledger, kept, new_keys(), stick)[2] == 6

    read_and_carry(card, seeing(shipped, "red_panda"), then, SimulatedStore(has_credential=False))


def test_what_lies_on_a_stick_in_place_of_a_confirmation_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(2**40)
    with Ledger.open(tmp_path / "ledger.sqlite", SystemClock())[0] as ledger:
        for name in ("pipe", "large", "absent", "."):
            with pytest.raises(BundleError):
                confirm(ledger, new_keys(), tmp_path / name)
