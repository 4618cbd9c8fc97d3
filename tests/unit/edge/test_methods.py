"""Direct methods: checked parameters, bounded answers, and docs/methods.md means what it says."""

import json
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_module import methods
from edge_module.blobs import UploadSas
from edge_module.domain import Variant
from edge_module.errors import BusyError, ConfigError, LedgerError
from edge_module.methods import ANSWER_MAX_BYTES, METHODS, Methods
from edge_module.uploads import Asked

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "methods.md").read_text()
MEDIA_ID = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class Gateway:
    """Does nothing, and answers as docs/methods.md does; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.asked_state = Asked.QUEUED
        self.raises: Exception | None = None
        self.hold: threading.Event | None = None
        self.lines = ['{"at": "2026-03-14T05:20:00.000+00:00", "level": "warning", "text": "..."}']

    def status(self) -> Mapping[str, float | str]:
        if self.hold:
            self.hold.wait(60)
        if self.raises:
            raise self.raises
        return {"activity": "waiting for a card", "messages_owed": 0, "model_id": "0123456789ab"}

    def rescan(self, card_id: str | None) -> list[str]:
        self.asked.append(card_id)
        return ["marker-north-3"] if card_id in (None, "marker-north-3") else []

    def upload(self, media_id: str, variant: Variant) -> Asked:
        self.asked.append((media_id, variant))
        return self.asked_state

    def release(self, media_id: str) -> bool:
        return media_id == MEDIA_ID

    def retry(self) -> Mapping[str, int]:
        return {"messages": 3, "pictures": 1}

    def use_credential(self, sas: UploadSas) -> None:
        self.asked.append(sas)

    def logs(self, lines: int, level: str) -> list[str]:
        self.asked.append((lines, level))
        return self.lines

    def begin(self, kind: str, parameters: Mapping[str, Any]) -> str:
        if self.raises:
            raise self.raises
        self.asked.append((kind, parameters))
        return "3f2a90c1"

    def assign(self, card_id: str, deployment_key: str | None) -> Mapping[str, Any]:
        if card_id == "unknown":
            raise ConfigError(["card_id: 'unknown' was never read by this gateway"])
        return {"card_id": card_id, "reading_id": f"{card_id}.1", "deployment_key": deployment_key}


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


# --- the page ---


def sections() -> dict[str, str]:
    parts = re.split(r"^## `(\w+)`$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_each_method_is_documented_and_nothing_else_is() -> None:
    assert list(sections()) == list(METHODS)
    for name, text in sections().items():
        documented = set(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE))
        assert documented == METHODS[name].parameters, name


@pytest.mark.parametrize("name", list(METHODS))
def test_the_example_on_the_page_is_answered_as_the_page_says(gateway: Gateway, name: str) -> None:
    text = sections()[name]
    asked, answered = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL))
    status = int(re.findall(r"^(\d{3})\b", text, flags=re.MULTILINE)[0])
    assert Methods(gateway).answer(name, asked) == (status, answered)


@pytest.mark.parametrize("nothing", [None, "", {}])
def test_no_parameters_may_be_said_in_any_way(gateway: Gateway, nothing: object) -> None:
    assert Methods(gateway).answer("getStatus", nothing)[0] == 200


# --- parameters ---

CREDENTIAL = {"container_url": "https://a.example/c", "sas": "sv=SECRET", "expires_at": "2026-03-21T00:00:00+00:00"}
WRONG: list[tuple[str, Any, str]] = [
    ("getStatus", "noise", "must be an object"),
    ("getStatus", [], "must be an object"),
    ("getStatus", {"a": 1}, "'a' is no parameter"),
    ("rescanCard", {"card": "x"}, "'card' is no parameter; there are: card_id"),
    ("rescanCard", {"card_id": 7}, "rescanCard.card_id"),
    ("rescanCard", {"card_id": "x" * 201}, "rescanCard.card_id"),
    ("uploadMedia", {}, "uploadMedia.media_id: is missing"),
    ("uploadMedia", {"media_id": MEDIA_ID}, "uploadMedia.variant: is missing"),
    ("uploadMedia", {"media_id": MEDIA_ID.upper(), "variant": "crop"}, "media id"),
    ("uploadMedia", {"media_id": "../../etc", "variant": "crop"}, "media id"),
    ("uploadMedia", {"media_id": "", "variant": "crop"}, "media id"),
    ("uploadMedia", {"media_id": MEDIA_ID, "variant": "raw"}, "not one of crop, frame, original"),
    ("uploadMedia", {"media_id": MEDIA_ID, "variant": "withheld"}, "not one of crop, frame, original"),
    ("releaseMedia", {"media_ids": []}, "1 to 1000"),
    ("releaseMedia", {"media_ids": [MEDIA_ID] * 1001}, "1 to 1000"),
    ("releaseMedia", {"media_ids": MEDIA_ID}, "releaseMedia.media_ids"),
    ("releaseMedia", {"media_ids": [MEDIA_ID, None]}, "releaseMedia.media_ids"),
    ("getLogs", {"lines": 0}, "getLogs.lines"),
    ("getLogs", {"lines": 1001}, "getLogs.lines: at most 1000"),
    ("getLogs", {"lines": True}, "getLogs.lines"),
    ("getLogs", {"level": "loud"}, "not one of debug, info, warning, error"),
    ("assignCard", {"card_id": "x"}, "deployment_key: is missing"),
    ("assignCard", {"card_id": "x", "deployment_key": 1}, "assignCard.deployment_key"),
    ("assignCard", {"card_id": "unknown", "deployment_key": None}, "never read"),
    ("setUploadSas", {**CREDENTIAL, "container_url": "http://evil.example/c"}, "setUploadSas.container_url"),
    ("setUploadSas", {**CREDENTIAL, "more": 1}, "'more' is no parameter"),
]


@pytest.mark.parametrize(("name", "payload", "words"), WRONG)
def test_wrong_parameters_are_refused_by_name(gateway: Gateway, name: str, payload: Any, words: str) -> None:
    status, answer = Methods(gateway).answer(name, payload)
    assert status == 400
    assert words in answer["error"]
    assert "SECRET" not in answer["error"]
    assert gateway.asked == []


def test_a_method_that_there_is_not(gateway: Gateway) -> None:
    status, answer = Methods(gateway).answer("x" * 1000, None)
    assert status == 404
    assert "getStatus" in answer["error"]
    assert len(answer["error"]) < 400


NONSENSE = [
    "x" * 128 * 1024,
    ["\U0001f98a" * 100] * 300,
    {"x" * 1000 * n: n for n in range(1, 15)},
    {"media_id": "y" * 100_000, "variant": ["z" * 20_000]},
    {"media_ids": ["9" * 64] * 999 + ["x" * 60_000]},
    {"card_id": {"a": [None] * 20_000}, "lines": 10**300, "level": "\0" * 1000, "deployment_key": "k" * 100_000},
]


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("nonsense", NONSENSE, ids=range(len(NONSENSE)))
def test_128_kilobytes_of_nonsense_are_a_short_refusal(gateway: Gateway, name: str, nonsense: Any) -> None:
    status, answer = Methods(gateway).answer(name, nonsense)
    assert status == 400
    assert len(answer["error"]) <= 2000
    assert gateway.asked == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
KNOWN = sorted({parameter for method in METHODS.values() for parameter in method.parameters})


@settings(deadline=None)
@given(name=st.sampled_from(list(METHODS)), payload=st.dictionaries(st.sampled_from(KNOWN), JSON) | JSON)
def test_whatever_is_asked_there_is_an_answer(name: str, payload: Any) -> None:
    status, answer = Methods(Gateway()).answer(name, payload)
    assert status in (200, 202, 400, 404)
    assert len(json.dumps(answer)) < 128 * 1024


# --- answers ---


@pytest.mark.parametrize(
    ("state", "status"),
    [(Asked.QUEUED, 202), (Asked.STORED, 200), (Asked.GONE, 410), (Asked.WITHHELD, 410), (Asked.UNKNOWN, 404)],
)
def test_what_becomes_of_a_picture_that_is_asked_for(gateway: Gateway, state: Asked, status: int) -> None:
    gateway.asked_state = state
    answer = Methods(gateway).answer("uploadMedia", {"media_id": MEDIA_ID, "variant": "original"})
    assert answer == (status, {"state": state})
    assert gateway.asked == [(MEDIA_ID, Variant.ORIGINAL)]


def test_a_card_that_is_not_in_cannot_be_read_again(gateway: Gateway) -> None:
    status, answer = Methods(gateway).answer("rescanCard", {"card_id": "elsewhere"})
    assert (status, "elsewhere" in answer["error"]) == (404, True)
    assert Methods(gateway).answer("rescanCard", None) == (202, {"card_ids": ["marker-north-3"]})


def test_the_newest_lines_of_a_long_log_fit(gateway: Gateway) -> None:
    gateway.lines = [f"{n} \U0001f98a\x01" + "x" * 400 for n in range(1000)]
    status, answer = Methods(gateway).answer("getLogs", {"lines": 1000})
    assert status == 200
    assert len(json.dumps(answer)) <= ANSWER_MAX_BYTES
    assert answer["lines"] == gateway.lines[answer["omitted"] :]
    assert len(answer["lines"]) > 200
    gateway.lines = ["x" * 200_000]
    assert Methods(gateway).answer("getLogs", {}) == (200, {"lines": [], "omitted": 1})


def test_an_answer_that_would_not_fit_is_a_fault(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "status", lambda: {"activity": "x" * 200_000})
    assert Methods(gateway).answer("getStatus", None)[0] == 500


@pytest.mark.parametrize(
    ("raised", "status", "words"),
    [
        (LedgerError("ledger: disk is full"), 500, "disk is full"),
        (OSError(28, "No space left on device"), 500, "No space"),
        (BusyError("8 jobs wait already"), 503, "8 jobs"),
        (RuntimeError("secret detail"), 500, "a fault of the software"),
    ],
)
def test_what_fails_is_told_and_ends_nothing(gateway: Gateway, raised: Exception, status: int, words: str) -> None:
    gateway.raises = raised
    for name in ("getStatus", "reclassify"):
        found, answer = Methods(gateway).answer(name, None)
        assert found == status
        assert words in answer["error"]


def test_a_method_that_hangs_is_answered_and_only_so_many_may(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "ANSWER_WITHIN_S", 0.05)
    gateway.hold = threading.Event()
    asked = Methods(gateway)
    try:
        assert [asked.answer("getStatus", None)[0] for _ in range(6)] == [504] * 4 + [503] * 2
    finally:
        gateway.hold.set()
    for _ in range(600):
        if asked.answer("getStatus", None)[0] == 200:
            return
        threading.Event().wait(0.05)
    pytest.fail("what hung is over, and methods are still refused")
