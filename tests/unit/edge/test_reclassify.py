"""Scoring again: a further record of each picture, and nothing that was said before is taken back."""

import json
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_module.card import Mount
from edge_module.domain import CardReceipt, Fate
from edge_module.head import Head
from edge_module.ledger import Ledger
from edge_module.model_store import SHIPPED_MODEL_DIR, load
from edge_module.originals import Originals
from edge_module.pipeline import Pipeline
from edge_module.reclassify import Tally, reclassify
from edge_module.scorer import Model
from edge_module.settings import Settings, combine
from edge_module.verdict import DayNight, Thresholds
from tests.ledgers import TestClock, open_ledger
from tests.models_made import head
from tests.pictures import drawn, encoded, exif, jpeg

SHIPPED = load(SHIPPED_MODEL_DIR)


def other_model(nudge: float, **changes: Any) -> Model:
    """A model on the same backbone, with a head of its own."""
    text = head(nudge)
    return replace(
        SHIPPED, head=replace(Head.from_json(text), **changes), model_id=Model.identify(SHIPPED.backbone, text)
    )


def sees_pandas_everywhere() -> Model:
    low = Thresholds(panda=0.0001, review=0.0001)
    return other_model(0.001, thresholds=DayNight(day=low, night=low))


def sees_people_everywhere() -> Model:
    labels = (*SHIPPED.head.labels, *(() if "human" in SHIPPED.head.labels else ("human",)))
    bias = np.zeros(len(labels), np.float32)
    bias[labels.index("human")] = 30
    weights = np.zeros((len(labels), SHIPPED.head.weights.shape[1]), np.float32)
    return other_model(0.002, labels=labels, weights=weights, bias=bias)


@dataclass
class Gateway:
    """A ledger, originals and a card of a panda, a film and two blanks."""

    folder: Path
    ledger: Ledger
    originals: Originals
    settings: Settings

    def read(self, model: Model) -> CardReceipt:
        pipeline = Pipeline(ledger=self.ledger, model=model, settings=self.settings, originals=self.originals)
        return pipeline.read(Mount(self.folder / "card"), lambda _records: None, on_listed=lambda _reading: None)

    def reclassify(self, model: Model, card_id: str | None = None) -> Tally | None:
        return reclassify(
            self.ledger, self.originals, model, self.settings, card_id=card_id, stop=threading.Event()
        )  # fmt: skip

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / "ledger.sqlite")) as connection:
            return connection.execute(sql).fetchall()

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(row[0]) for row in self.rows("SELECT body FROM record ORDER BY id")]

    def by(self, model: Model) -> dict[str, str]:
        """Fates by path, of one model's records."""
        return {r["path"]: r["fate"] for r in self.records() if r["model_id"] == model.model_id}


@pytest.fixture
def gateway(tmp_path: Path) -> Any:
    card = tmp_path / "card"
    card.mkdir()
    (card / "ponya.yml").write_text("card: north")
    (card / "a_panda.jpg").write_bytes(encoded(drawn(), exif=exif(taken="2026:03:14 05:20:00")))
    (card / "b_blank.jpg").write_bytes(jpeg(2))
    (card / "c_blank.jpg").write_bytes(jpeg(3))
    (card / "d_film.mp4").write_bytes(b"film")
    (card / "e_broken.jpg").write_bytes(b"broken")
    settings = combine(("test", {"settle_s": 0, "workers": 1}))
    with open_ledger(tmp_path, TestClock()) as ledger:
        made = Gateway(tmp_path, ledger, Originals(tmp_path / "originals"), settings)
        assert made.read(SHIPPED).counts[Fate.PANDA] == 1
        assert made.by(SHIPPED)["b_blank.jpg"] in (Fate.BLANK, Fate.OTHER)
        yield made


def test_kept_originals_get_a_further_record_once(gateway: Gateway) -> None:
    before = gateway.records()
    new = other_model(0.003)
    assert gateway.reclassify(new) == Tally(scored=1, changed=0, passed_over=0)
    assert gateway.by(new) == {"a_panda.jpg": Fate.PANDA}
    assert gateway.records()[: len(before)] == before, "what was said stays"
    assert gateway.reclassify(new) == Tally(scored=0, changed=0, passed_over=0)
    assert gateway.reclassify(SHIPPED) == Tally(scored=0, changed=0, passed_over=0)
    assert gateway.reclassify(other_model(0.004), "another-card") == Tally(scored=0, changed=0, passed_over=0)


def test_an_original_that_is_gone_is_passed_over(gateway: Gateway) -> None:
    (path,) = (gateway.folder / "originals").glob("*/*.jpg")
    path.unlink()
    assert gateway.reclassify(other_model(0.003)) == Tally(scored=0, changed=0, passed_over=1)


def test_told_to_stop_it_stops(gateway: Gateway) -> None:
    stop = threading.Event()
    stop.set()
    done = reclassify(gateway.ledger, gateway.originals, other_model(0.003), gateway.settings, card_id=None, stop=stop)
    assert done is None


def test_where_the_new_model_sees_a_person_no_picture_leaves_any_more(gateway: Gateway) -> None:
    assert gateway.rows("SELECT count(*) FROM upload WHERE state = 'ready'") != [(0,)]
    new = sees_people_everywhere()
    assert gateway.reclassify(new) == Tally(scored=1, changed=1, passed_over=0)
    assert gateway.by(new) == {"a_panda.jpg": Fate.HUMAN}
    assert gateway.rows("SELECT count(*) FROM upload WHERE state = 'ready'") == [(0,)]
    again = sees_pandas_everywhere()
    gateway.reclassify(again)
    assert gateway.rows("SELECT count(*) FROM upload WHERE state = 'ready'") == [(0,)], "and it stays so"
    assert gateway.records()[-1]["withheld"] is True


def test_a_card_is_read_again_for_the_new_model_and_its_first_fates_stand(gateway: Gateway) -> None:
    card_id = str(gateway.rows("SELECT card_id FROM reading")[0][0])
    first = gateway.ledger.last_complete(card_id)
    new = sees_pandas_everywhere()
    gateway.ledger.read_again(card_id, rescore=True)
    assert gateway.ledger.last_complete(card_id) != first, "so that it is read"
    receipt = gateway.read(new)
    assert receipt.counts[Fate.PANDA] == 1
    assert receipt.counts[Fate.BLANK] + receipt.counts[Fate.OTHER] == 2
    assert gateway.by(new) == dict.fromkeys(("a_panda.jpg", "b_blank.jpg", "c_blank.jpg"), Fate.PANDA)
    keys = Counter((r["path"], r["model_id"]) for r in gateway.records())
    assert set(keys.values()) == {1}
    kept = {path.suffix for path in (gateway.folder / "originals").glob("*/*")}
    assert kept == {".jpg", ".json", ".mp4"}
    assert len(list((gateway.folder / "originals").glob("*/*.jpg"))) == 3, "what may be a panda is kept from now on"
    assert gateway.rows("SELECT count(DISTINCT media_id) FROM upload WHERE variant = 'crop'") == [(3,)]
    assert gateway.ledger.last_complete(card_id) == first, "and read once"
    before = gateway.records()
    gateway.ledger.read_again(card_id, rescore=False)
    gateway.read(other_model(0.005))
    assert gateway.records() == before, "to read it again is not to score it again"


def test_asked_for_while_the_card_is_read_it_is_read_once_more(gateway: Gateway) -> None:
    card_id = str(gateway.rows("SELECT card_id FROM reading")[0][0])
    gateway.ledger.read_again(card_id, rescore=False)
    pipeline = Pipeline(
        ledger=gateway.ledger, model=other_model(0.003), settings=gateway.settings, originals=gateway.originals
    )
    pipeline.read(
        Mount(gateway.folder / "card"),
        lambda _records: None,
        on_listed=lambda _reading: gateway.ledger.read_again(card_id, rescore=True),
    )
    assert gateway.by(other_model(0.003)) == {}
    assert gateway.ledger.last_complete(card_id) == b"", "not as it is now: it is read again"
    gateway.read(other_model(0.003))
    assert set(gateway.by(other_model(0.003))) == {"a_panda.jpg", "b_blank.jpg", "c_blank.jpg"}
