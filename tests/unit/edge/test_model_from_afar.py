"""A model from afar: what is good takes over, what is bad is refused with a reason, and something always works."""

import functools
import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_module import model_fetch
from edge_module.errors import ModelError, TransientDelivery, WireError
from edge_module.installed import STARTS_MAX, Installed
from edge_module.model_exchange import PROVEN_AFTER_S, Models
from edge_module.model_store import SHIPPED_MODEL_DIR, load
from edge_module.model_trial import StoppedError, Tried, differences, try_out
from edge_module.model_wire import CHUNK_MAX_BYTES, WantedModel
from edge_module.reported import Reported
from edge_module.settings import combine
from tests.ledgers import TestClock
from tests.models_made import BACKBONE, BACKBONE_SHA256, HEAD, blind_head, head, on_backbone, wanted

GOLDEN = SHIPPED_MODEL_DIR / "golden"
SHIPPED = load(SHIPPED_MODEL_DIR).model_id
NEVER = threading.Event()


class Gateway:
    """What a gateway has of models, and what it says; `start` is a start of the process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "models"
        self.twin: dict[str, Any] = {}
        self.steps: list[str] = []
        self.alerts: list[str] = []
        self.looks_ms: dict[str, float] = {}
        self.clock = TestClock()
        self.start()

    def start(self, **settings: Any) -> None:
        made = combine(("test", settings))
        self.models = Models(
            installed=Installed(self.folder),
            base=SHIPPED_MODEL_DIR,
            golden=GOLDEN,
            settings=lambda: made,
            alert=lambda code, _text: self.alerts.append(code),
            reported=Reported(self._report),
            fetch=model_fetch.fetch,
            clock=self.clock,
            trial=self._try,
        )

    def _report(self, patch: dict[str, Any]) -> None:
        self.twin["model"] = {**self.twin.get("model", {}), **patch["model"]}
        state = (patch["model"].get("value") or {}).get("state")
        if state:
            self.steps.append(state)

    def _try(self, model: Path, golden: Path, *, timeout_s: float, stop: threading.Event) -> Tried:
        tried = tried_once(model, golden, timeout_s, stop)
        return Tried(verdicts=tried.verdicts, look_ms=self.looks_ms.get(model.name, 10))

    @property
    def said(self) -> str:
        return str(self.twin["model"]["ad"])

    @property
    def model_id(self) -> str:
        return self.models.model.model_id

    def want(self, model: WantedModel | None, version: int = 1) -> None:
        self.models.act(None if model is None else json.loads(json.dumps(model.to_twin())), version, NEVER)

    @property
    def on_disk(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


_results: dict[tuple[bytes, Path], Tried] = {}


def tried_once(model: Path, golden: Path, timeout_s: float, stop: threading.Event) -> Tried:
    """A trial takes a second: one for each model and golden frames."""
    key = (hashlib.sha256((model / "SHA256SUMS").read_bytes()).digest(), golden)
    if key not in _results:
        _results[key] = try_out(model, golden, timeout_s=timeout_s, stop=stop)
    return _results[key]


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


def test_a_good_head_is_tried_takes_over_and_says_so(gateway: Gateway) -> None:
    assert gateway.model_id == SHIPPED
    new = wanted(head())
    gateway.want(new, 5)
    assert gateway.model_id == new.model_id != SHIPPED
    assert gateway.steps == ["trying", "installed"]
    assert gateway.twin["model"] | {"ad": ""} == {
        "value": {"model_id": new.model_id, "state": "installed"}, "ac": 200, "av": 5, "ad": "",
    }  # fmt: skip
    assert gateway.alerts == []
    gateway.start()
    assert gateway.model_id == new.model_id, "after a start too"


def test_the_same_request_twice_does_nothing(gateway: Gateway) -> None:
    for model, outcome in ((wanted(head(), "1"), "installed"), (wanted(blind_head(), "2"), "refused")):
        gateway.want(model)
        steps, alerts = list(gateway.steps), list(gateway.alerts)
        state = (gateway.folder / "state.json").stat().st_mtime_ns
        gateway.want(model, 2)
        gateway.start()
        gateway.models._reported.connected(gateway.twin)
        gateway.want(model, 3)
        assert (gateway.steps, gateway.alerts) == (steps, alerts)
        if outcome == "refused":
            assert (gateway.folder / "state.json").stat().st_mtime_ns >= state
        assert gateway.steps[-1] == outcome


def test_a_null_goes_back_to_the_softwares_own(gateway: Gateway) -> None:
    gateway.want(wanted(head()))
    gateway.want(None)
    assert gateway.model_id == SHIPPED
    assert gateway.said == "the software's own"
    gateway.start()
    assert gateway.model_id == SHIPPED


def _mangled(**changes: Any) -> dict[str, Any]:
    return wanted(head()).to_twin() | changes


BAD_REQUESTS: dict[str, tuple[Any, str]] = {
    "noise": ("x" * 32 * 1024, "model: must be an object"),
    "nothing in it": ({}, "is missing"),
    "a chunk lost": (_mangled(head=wanted(head()).to_twin()["head"][:-1]), "send the model again"),
    "chunks out of order": (_mangled(head=wanted(head()).to_twin()["head"][::-1]), "send the model again"),
    "a chunk cut short": (_mangled(head=[c[:-1] for c in wanted(head()).to_twin()["head"]]), "send the model again"),
    "chunks that are numbers": (_mangled(head=[1, 2]), "model.head"),
    "a thousand chunks": (_mangled(head=["x"] * 1000), "1 to 6 chunks"),
    "a digest that is none": (_mangled(head_sha256="abc"), "model.head_sha256: must be 64"),
    "a backbone of a terabyte": (_mangled(backbone_url="https://a/b", backbone_bytes=2**40), "at most"),
    "a request that is a list": (_mangled(request=[]), "model.request"),
    "expectations that are text": (_mangled(expected="all"), "model.expected"),
}


@pytest.mark.parametrize("how", list(BAD_REQUESTS))
def test_a_request_that_is_torn_or_noise_is_refused(gateway: Gateway, how: str) -> None:
    value, words = BAD_REQUESTS[how]
    gateway.models.act(value, 1, NEVER)
    assert words in gateway.said
    assert (gateway.model_id, gateway.steps) == (SHIPPED, ["refused"])
    assert not gateway.folder.exists()


_SHORT = on_backbone(head(), BACKBONE[:-100_000])
_OTHER_SHAPE = json.loads(HEAD)["labels"][:-1]

BAD_MODELS: dict[str, tuple[WantedModel, str]] = {
    "golden frames scored wrongly": (wanted(blind_head()), "panda_day_1.jpg: blank, expected panda"),
    "a head of another shape": (wanted(head(labels=_OTHER_SHAPE)), "not a valid head file"),
    "a head cut short": (wanted(head()[:-200]), "not a valid head file"),
    "a head of another backbone": (wanted(head(), backbone_sha256="1" * 64), "trained on another backbone"),
    "a backbone that is not here": (
        wanted(on_backbone(head(), b"x"), backbone_sha256=hashlib.sha256(b"x").hexdigest()),
        "is not on this gateway",
    ),
    "a panda that it expects to be a deer": (
        wanted(blind_head(), expected={"panda_day_1": "other"}),
        "panda_day_1.jpg: other cannot be expected, it is a panda",
    ),
    "frames that are not there": (wanted(head(), expected={"yeti": "panda"}), "yeti: is no golden frame"),
    "a link to a file": (
        wanted(_SHORT, backbone_sha256=hashlib.sha256(BACKBONE[:-100_000]).hexdigest(),
               backbone_url="file:///etc/passwd", backbone_bytes=9),
        "must be an https link",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", list(BAD_MODELS))
def test_a_bad_model_is_refused_with_its_reason_and_leaves_nothing_behind(gateway: Gateway, how: str) -> None:
    model, words = BAD_MODELS[how]
    gateway.want(model)
    assert words in gateway.said
    assert gateway.twin["model"]["ac"] == 400
    assert (gateway.model_id, gateway.alerts) == (SHIPPED, ["model_refused"])
    assert gateway.on_disk == {"state.json"}
    gateway.want(wanted(head(), "next"))
    assert gateway.steps[-1] == "installed", "and a good one can follow"


def test_thresholds_in_force_that_make_no_sense_with_the_new_model_are_named(gateway: Gateway) -> None:
    gateway.start(panda_threshold_day=0.3)
    low = json.loads(HEAD)["thresholds"] | {"day": {"panda": 0.9, "review": 0.8}}
    gateway.want(wanted(head(thresholds=low)))
    assert "with this model" in gateway.said
    assert gateway.model_id == SHIPPED


def test_the_softwares_own_model_does_not_take_over_with_thresholds_that_make_no_sense_with_it(
    gateway: Gateway,
) -> None:
    """A reading with them would end the gateway."""
    own = json.loads(HEAD)["thresholds"]
    review = own["day"]["review"]
    gateway.want(wanted(head(thresholds=own | {"day": own["day"] | {"review": review - 0.01}})))
    sent = gateway.model_id
    assert sent != SHIPPED, gateway.said
    gateway.start(panda_threshold_day=review - 0.005)
    gateway.want(None)
    assert "with this model" in gateway.said
    assert gateway.model_id == sent


def test_a_head_may_bring_its_own_expectation_within_bounds(gateway: Gateway) -> None:
    strict = json.loads(HEAD)["thresholds"]
    strict["day"]["panda"] = strict["night"]["panda"] = 0.99
    names = [path.stem for path in GOLDEN.glob("panda_*.jpg")]
    gateway.want(wanted(head(thresholds=strict), "1"))
    assert "expected panda" in gateway.said
    gateway.want(wanted(head(thresholds=strict), "2", expected=dict.fromkeys(names, "review")))
    assert gateway.steps[-1] == "installed"
    assert Installed(gateway.folder).expected == dict.fromkeys(names, "review")


def test_a_model_that_is_slower_than_allowed_is_refused(gateway: Gateway) -> None:
    new = wanted(head())
    gateway.looks_ms = {new.model_id: 30}
    gateway.start(model_slower_max=2)
    gateway.want(new)
    assert "too slow: 30 ms of CPU a look, 21 allowed (now 10)" in gateway.said
    gateway.start(model_slower_max=3)
    gateway.want(wanted(head(), "2"))
    assert gateway.model_id == new.model_id


def test_a_model_in_whose_use_the_gateway_ends_again_and_again_is_rolled_back(gateway: Gateway) -> None:
    gateway.want(wanted(head(), "1"))
    gateway.models._prove()
    good = gateway.model_id
    gateway.want(bad := wanted(head(0.002), "2"))
    for _ in range(STARTS_MAX):
        gateway.start()
        assert gateway.model_id == bad.model_id
    gateway.start()
    assert gateway.model_id == good
    assert gateway.alerts == ["model_rolled_back"]
    gateway.want(bad, 9)  # it is still desired
    assert gateway.twin["model"]["value"] == {"model_id": good, "state": "rolled_back"}
    assert gateway.twin["model"]["ac"] == 500
    assert gateway.model_id == good
    gateway.start()
    assert (gateway.model_id, gateway.alerts) == (good, ["model_rolled_back"])


@pytest.mark.parametrize("end", ["proven", "told to end"])
def test_starts_of_a_model_that_works_do_not_count(gateway: Gateway, end: str) -> None:
    gateway.want(new := wanted(head()))
    for _ in range(STARTS_MAX + 2):
        gateway.start()
        if end == "proven":
            gateway.models.worked()
            gateway.models._prove()
        else:
            gateway.models.ended_in_order()
    assert gateway.model_id == new.model_id


def test_a_model_that_is_damaged_on_the_disk_is_rolled_back(gateway: Gateway) -> None:
    gateway.want(new := wanted(head()))
    path = gateway.folder / new.model_id / "backbone.tflite"
    path.write_bytes(path.read_bytes()[:-1])
    gateway.start()
    assert gateway.model_id == SHIPPED
    assert gateway.alerts == ["model_rolled_back"]
    for spoilt in (b"", b"{}", b"[1]", b'{"current": "../../etc"}', b"\0" * 99, b'{"starts": "many"}', b'{"x": 1}'):
        (gateway.folder / "state.json").write_bytes(spoilt)
        gateway.start()
        assert gateway.model_id == SHIPPED


def test_a_trial_during_which_the_gateway_ends_again_and_again_is_given_up(gateway: Gateway) -> None:
    model = wanted(head())
    for _ in range(STARTS_MAX):
        assert gateway.models._installed.try_out(model.model_id)
        gateway.start()
    gateway.want(model)
    assert f"ended {STARTS_MAX} times while it was tried" in gateway.said
    assert gateway.model_id == SHIPPED


def test_only_what_is_in_force_and_what_was_before_stay_on_the_disk(gateway: Gateway) -> None:
    ids = []
    for n in range(4):
        gateway.want(model := wanted(head(n / 1000 + 0.001), str(n)))
        ids.append(model.model_id)
    assert gateway.on_disk == {"state.json", *ids[-2:]}


def test_a_disk_that_takes_no_more_is_waited_for(gateway: Gateway) -> None:
    gateway.folder.write_text("in the way")
    with pytest.raises(OSError, match=r"."):
        gateway.want(wanted(head()))
    assert gateway.model_id == SHIPPED
    gateway.folder.unlink()
    gateway.want(wanted(head()))
    assert gateway.steps[-1] == "installed"


# --- the trial, in its own process ---


def test_a_trial_that_hangs_is_ended(tmp_path: Path) -> None:
    golden = tmp_path / "golden"
    golden.mkdir()
    os.mkfifo(golden / "expected.json")
    with pytest.raises(ModelError, match="not done within 1 s"):
        try_out(SHIPPED_MODEL_DIR, golden, timeout_s=1, stop=NEVER)
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        try_out(SHIPPED_MODEL_DIR, golden, timeout_s=60, stop=stop)


def test_a_model_that_crashes_the_runtime_takes_only_its_trial_with_it(tmp_path: Path) -> None:
    golden = tmp_path / "golden"
    golden.mkdir()
    os.mkfifo(golden / "expected.json")  # holds the trial until it is ended as by a fault in the runtime

    def crash() -> None:
        for _ in range(600):
            children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
            for child in " ".join(path.read_text() for path in children).split():
                if str(golden) in Path(f"/proc/{child}/cmdline").read_text():
                    os.kill(int(child), signal.SIGSEGV)
                    return
            NEVER.wait(0.05)

    killer = threading.Thread(target=crash)
    killer.start()
    with pytest.raises(ModelError, match="ended by signal 11"):
        try_out(SHIPPED_MODEL_DIR, golden, timeout_s=60, stop=NEVER)
    killer.join(60)


def test_a_trial_says_what_is_wrong_with_a_model(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelError, match="SHA256SUMS: No such file"):
        try_out(tmp_path / "model", GOLDEN, timeout_s=60, stop=NEVER)
    found = try_out(SHIPPED_MODEL_DIR, GOLDEN, timeout_s=120, stop=NEVER)
    assert differences(found.verdicts, GOLDEN, {}) == []
    assert found.look_ms > 0


# --- the wire ---


@settings(deadline=None)
@given(
    st.text(max_size=6000),
    st.text(max_size=100),
    st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=9), max_size=3),
)
def test_what_was_sent_is_what_arrives(text: str, request: str, expected: dict[str, str]) -> None:
    try:
        sent = wanted(("x" + text).encode(), request, expected=expected)
    except UnicodeEncodeError:
        return
    value = sent.to_twin()
    assert all(len(chunk.encode()) <= CHUNK_MAX_BYTES for chunk in value["head"])
    try:
        assert WantedModel.from_twin(json.loads(json.dumps(value))) == sent
    except WireError:
        assert "\0" in text + request + "".join(expected) + "".join(expected.values())


def test_the_longest_head_fits_into_a_twin() -> None:
    value = wanted(b"x" * 10_240, backbone_url="https://a/" + "y" * 500, backbone_bytes=5_000_000).to_twin()
    assert len(json.dumps(value)) < 12 * 1024


# --- the link ---


class _Storage(BaseHTTPRequestHandler):
    """Blob Storage as a gateway sees it by a link: ranges, and what a test makes go wrong."""

    content = BACKBONE
    break_after: int | None = None
    status = 200
    ranges: list[str | None]

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.ranges.append(asked)
        if self.status != 200:
            self.send_error(self.status)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        body = self.content[start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.break_after is None else body[: self.break_after])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def storage() -> Iterator[tuple[str, type[_Storage]]]:
    handler = type("Storage", (_Storage,), {"ranges": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/models/b.tflite?sig=SECRET", handler
        server.shutdown()
        thread.join(30)


def fetching(url: str, part: Path, content: bytes = BACKBONE) -> functools.partial[bytes]:
    digest = hashlib.sha256(content).hexdigest()
    return functools.partial(
        model_fetch.fetch, url, sha256=digest, size_bytes=len(content), part=part, stop=threading.Event()
    )


def test_a_backbone_goes_on_where_the_link_broke(tmp_path: Path, storage: tuple[str, type[_Storage]]) -> None:
    url, served = storage
    fetch = fetching(url, tmp_path / "part")
    served.break_after = 1_000_000
    with pytest.raises(TransientDelivery) as caught:
        fetch()
    assert "SECRET" not in str(caught.value)
    had = (tmp_path / "part").stat().st_size
    assert 0 < had <= 1_000_000
    served.break_after = None
    assert fetch() == BACKBONE
    assert served.ranges == [None, f"bytes={had}-"]


def test_other_bytes_under_the_link_are_refused_and_forgotten(
    tmp_path: Path, storage: tuple[str, type[_Storage]]
) -> None:
    url, served = storage
    for content, words in ((BACKBONE[:-1] + b"x", "has SHA-256"), (BACKBONE + b"x", "is longer than")):
        served.content = content
        with pytest.raises(ModelError, match=words) as caught:
            fetching(url, tmp_path / "part")()
        assert "SECRET" not in str(caught.value)
        assert not (tmp_path / "part").exists()


@pytest.mark.parametrize("status", [403, 404, 500, 301])
def test_a_link_that_does_not_answer_is_tried_again(
    tmp_path: Path, storage: tuple[str, type[_Storage]], status: int
) -> None:
    url, served = storage
    served.status = status
    with pytest.raises(TransientDelivery, match=str(status)) as caught:
        fetching(url, tmp_path / "part")()
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://example.org/b", "ftp://a/b", "https://u@a/b", "https://", "https://[/b", "b"])
def test_links_that_are_not_followed(tmp_path: Path, url: str) -> None:
    with pytest.raises(ModelError, match=r"model\.backbone_url"):
        fetching(url, tmp_path / "part")()


def test_a_whole_model_comes_by_link(gateway: Gateway, storage: tuple[str, type[_Storage]]) -> None:
    url, served = storage
    served.content = BACKBONE + b"\0"  # another backbone that is as good: TFLite reads past its end
    new = wanted(
        on_backbone(head(), served.content), backbone_sha256=hashlib.sha256(served.content).hexdigest(),
        backbone_url=url, backbone_bytes=len(served.content),
    )  # fmt: skip
    gateway.want(new)
    assert gateway.steps == ["downloading", "trying", "installed"], gateway.said
    assert gateway.model_id == new.model_id
    assert gateway.on_disk == {"state.json", new.model_id}
    gateway.want(wanted(on_backbone(head(0.002), served.content), "2", backbone_sha256=new.backbone_sha256))
    assert gateway.steps[-1] == "installed", "a head for the new backbone needs no link"
    assert new.backbone_sha256 != BACKBONE_SHA256


def until(true: Callable[[], bool]) -> None:
    for _ in range(1200):
        if true():
            return
        NEVER.wait(0.05)
    pytest.fail("not within a minute")


def test_what_does_not_come_now_is_waited_for_and_tried_again(
    gateway: Gateway, storage: tuple[str, type[_Storage]]
) -> None:
    url, served = storage
    served.content, served.status = BACKBONE + b"\0", 403
    new = wanted(
        on_backbone(head(), served.content), backbone_sha256=hashlib.sha256(served.content).hexdigest(),
        backbone_url=url, backbone_bytes=len(served.content),
    )  # fmt: skip
    stop = threading.Event()
    running = threading.Thread(target=gateway.models.run, args=(stop,), kwargs={"beat": lambda **_: None})
    running.start()
    try:
        gateway.models.want(new.to_twin(), 1)
        until(lambda: gateway.steps[-1:] == ["waiting"])
        assert "403" in gateway.said
        assert "SECRET" not in gateway.said
        served.status = 200
        gateway.clock.pass_s(60)
        until(lambda: gateway.steps[-1:] == ["installed"])
        assert gateway.model_id == new.model_id
        gateway.clock.pass_s(PROVEN_AFTER_S)
        until(lambda: gateway.models._installed.state.proven)
    finally:
        stop.set()
        running.join(60)


def test_a_backbone_that_is_cut_short_or_none_is_refused(gateway: Gateway, storage: tuple[str, type[_Storage]]) -> None:
    url, served = storage
    for n, content in enumerate((BACKBONE[:-100_000], b"not a model" * 1000)):
        served.content = content
        digest = hashlib.sha256(content).hexdigest()
        gateway.want(
            wanted(on_backbone(head(), content), str(n), backbone_sha256=digest, backbone_url=url,
                   backbone_bytes=len(content))
        )  # fmt: skip
        assert "its trial" in gateway.said
        assert (gateway.model_id, gateway.steps[-1]) == (SHIPPED, "refused")
    assert gateway.on_disk == {"state.json"}
