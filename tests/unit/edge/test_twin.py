"""The device twin's settings: whole or not at all, every fault named, and nothing said twice."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_module.errors import PermanentDelivery, StorageError, TransientDelivery, Trouble
from edge_module.reported import Reported
from edge_module.settings import SCHEMA, Settings
from edge_module.twin import Twin
from edge_module.verdict import DayNight, Thresholds
from edge_module.wire import Confirmed
from tests.gateway_cards import wait_until

OWN = DayNight(day=Thresholds(panda=0.8, review=0.3), night=Thresholds(panda=0.6, review=0.1))
REPORTED_MAX_BYTES = 32 * 1024


@dataclass
class Hub:
    """The twin's reported section, as IoT Hub keeps it: patches are merged, nulls remove."""

    properties: dict[str, Any] = field(default_factory=dict)
    patches: list[dict[str, Any]] = field(default_factory=list)
    up: bool = True

    def report(self, patch: dict[str, Any]) -> None:
        if not self.up:
            raise TransientDelivery("not connected")
        self.patches.append(patch)
        merge(self.properties, json.loads(json.dumps(patch)))


def merge(into: dict[str, Any], patch: Mapping[str, Any]) -> None:
    for name, value in patch.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, dict):
            inner = into.get(name)
            into[name] = inner if isinstance(inner, dict) else {}
            merge(into[name], value)
        else:
            into[name] = value


def twin(folder: Path, hub: Hub, **local: Any) -> Twin:
    def check(settings: Settings) -> object:
        return settings.thresholds(OWN)

    return Twin(
        folder=folder,
        local=(("environment", local),),
        check=check,
        confirm=lambda _confirmed: None,
        deployments=lambda _told: None,
        model=lambda *_: None,
        on_read=lambda: None,
        reported=Reported(hub.report),
    )


def test_a_patch_applies_and_is_answered_in_the_plug_and_play_form(tmp_path: Path) -> None:
    hub = Hub()
    made = twin(tmp_path, hub)
    made.apply({"$version": 7, "settings": {"workers": 3, "poll_s": 9}}, None)
    assert (made.settings.workers, made.settings.poll_s) == (3, 9)
    assert hub.properties["settings"] == {
        "workers": {"value": 3, "ac": 200, "av": 7, "ad": "applied"},
        "poll_s": {"value": 9, "ac": 200, "av": 7, "ad": "applied"},
    }
    assert "settings_fault" not in hub.properties


def test_a_patch_with_one_fault_changes_nothing_and_every_fault_is_named(tmp_path: Path) -> None:
    hub = Hub()
    made = twin(tmp_path, hub)
    made.apply({"$version": 1, "settings": {"workers": 3}}, None)
    faulty = {"workers": 0, "poll_s": 9, "event_gap_s": "soon", "wokers": 1, "data_dir": "/elsewhere"}
    made.apply({"$version": 2, "settings": faulty}, None)
    assert (made.settings.workers, made.settings.poll_s) == (3, 5)
    said = hub.properties["settings"]
    assert said["workers"]["value"] == 3
    assert {name: said[name]["ac"] for name in said} == dict.fromkeys(said, 400)
    assert "from 1 to 8" in said["workers"]["ad"]
    assert said["poll_s"]["ad"] == "not applied, see settings_fault"
    faults = hub.properties["settings_fault"]
    assert (faults["ac"], faults["av"]) == (400, 2)
    lines = faults["ad"].splitlines()
    assert len(lines) == 4
    for name in ("workers", "event_gap_s", "wokers", "data_dir"):
        assert any(name in line for line in lines), lines
    made.apply({"$version": 3, "settings": {"poll_s": 9}}, None)
    assert made.settings.poll_s == 9
    assert "settings_fault" not in hub.properties


def test_the_same_twice_is_neither_written_nor_told_again(tmp_path: Path) -> None:
    hub = Hub()
    made = twin(tmp_path, hub)
    made.apply({"$version": 4, "settings": {"workers": 3}}, None)
    kept, sent = (tmp_path / "twin.json").stat(), len(hub.patches)
    made.apply({"$version": 4, "settings": {"workers": 3}}, None)
    made.apply({"$version": 4, "settings": {"workers": 3}}, hub.properties)
    made.apply({"$version": 9, "settings": {"workers": 3}, "confirmed": None}, hub.properties)  # others wrote since
    assert len(hub.patches) == sent
    now = (tmp_path / "twin.json").stat()
    assert (now.st_ino, now.st_mtime_ns) == (kept.st_ino, kept.st_mtime_ns)
    again = twin(tmp_path, hub)  # and after a start
    again.apply({"$version": 10, "settings": {"workers": 3}}, hub.properties)
    assert len(hub.patches) == sent
    again.apply({"$version": 11, "settings": {"workers": "noise"}}, None)
    sent = len(hub.patches)
    again.apply({"$version": 12, "settings": {"workers": "noise"}}, hub.properties)
    assert len(hub.patches) == sent, "a fault that is known is not told again"


@pytest.mark.parametrize("by", ["a null", "a null for all", "its absence"])
def test_what_is_taken_back_is_reset_and_said_so(tmp_path: Path, by: str) -> None:
    hub = Hub()
    made = twin(tmp_path, hub, workers=4)
    made.apply({"$version": 1, "settings": {"workers": 3, "panda_threshold_day": 0.9}}, None)
    match by:
        case "a null":
            made.apply({"$version": 2, "settings": {"workers": None, "panda_threshold_day": None}}, None)
        case "a null for all":
            made.apply({"$version": 2, "settings": None}, None)
        case _:
            made = twin(tmp_path, hub, workers=4)
            made.apply({"$version": 2}, hub.properties)
    assert (made.settings.workers, made.settings.panda_threshold_day) == (4, None)
    assert hub.properties["settings"]["workers"] == {"value": 4, "ac": 200, "av": 2, "ad": "applied"}
    assert hub.properties["settings"]["panda_threshold_day"] == {"ac": 200, "av": 2, "ad": "applied"}
    assert twin(tmp_path, Hub(), workers=4).settings.workers == 4


def test_a_start_without_a_network_keeps_the_last_good_settings(tmp_path: Path) -> None:
    made = twin(tmp_path, Hub())
    made.apply({"$version": 1, "settings": {"workers": 3}}, None)
    made.apply({"$version": 2, "settings": {"workers": 99}}, None)
    assert twin(tmp_path, Hub(up=False)).settings.workers == 3
    (tmp_path / "twin.json").write_bytes(b"\0 torn")
    assert twin(tmp_path, Hub(up=False)).settings.workers == 2


def test_what_could_not_be_told_is_told_on_the_next_connection(tmp_path: Path) -> None:
    hub = Hub(up=False)
    made = twin(tmp_path, hub)
    made.apply({"$version": 1, "settings": {"workers": 3}}, None)
    assert hub.properties == {}
    hub.up = True
    made.apply({"$version": 1, "settings": {"workers": 3}}, {})
    assert hub.properties["settings"]["workers"]["value"] == 3


def test_a_twin_that_cannot_be_told_anything_stops_nothing(tmp_path: Path) -> None:
    def refuse(_patch: dict[str, Any]) -> None:
        raise PermanentDelivery("too large")

    made = Twin(
        folder=tmp_path, local=(), check=lambda _: None, confirm=lambda _: None,
        deployments=lambda _: None, model=lambda *_: None, on_read=lambda: None, reported=Reported(refuse),
    )  # fmt: skip
    made.apply({"$version": 1, "settings": {"workers": 3}}, None)
    assert made.settings.workers == 3


def test_settings_that_cannot_be_kept_do_not_apply(tmp_path: Path) -> None:
    hub = Hub()
    made = twin(tmp_path, hub)
    (tmp_path / ".twin.json.part").mkdir()  # as on a disk that refuses to be written to
    made.apply({"$version": 1, "settings": {"workers": 3}}, None)
    assert made.settings.workers == 2
    assert "cannot be kept" in hub.properties["settings_fault"]["ad"]
    (tmp_path / ".twin.json.part").rmdir()
    made.apply({"$version": 1, "settings": {"workers": 3}}, hub.properties)
    assert made.settings.workers == 3
    assert "settings_fault" not in hub.properties


def test_every_setting_wrong_at_once_fits_into_what_may_be_reported(tmp_path: Path) -> None:
    hub = Hub()
    made = twin(tmp_path, hub)
    made.apply({"$version": 2**31, "settings": {s.name: "\U0001f98a" * 500 for s in SCHEMA}}, None)
    assert set(hub.properties["settings"]) == {s.name for s in SCHEMA}
    assert len(json.dumps(hub.properties, ensure_ascii=False).encode()) < REPORTED_MAX_BYTES * 0.75, (
        "the model's share must fit too"
    )


def test_thirty_two_kilobytes_of_noise_are_one_refusal(tmp_path: Path) -> None:
    hub = Hub()
    made = twin(tmp_path, hub)
    noise = {f"{n}\u0928{'x' * 20}": {"deeper": ["\U0001f98a" * 10]} for n in range(600)}
    assert len(json.dumps(noise, ensure_ascii=False).encode()) > 32 * 1024
    made.apply({"$version": 3, "settings": noise}, None)
    assert made.settings.workers == 2
    said = hub.properties["settings_fault"]["ad"]
    assert len(said.encode()) <= 4000
    assert said.count("no such setting") + int(said.splitlines()[-1].split()[1]) == 600, "each named, or counted"
    made.apply({"$version": 4, "settings": "x" * 32 * 1024, "confirmed": "x" * 4000, "$version2": []}, None)
    assert made.settings.workers == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(
    section=st.dictionaries(st.sampled_from([s.name for s in SCHEMA]) | st.text(max_size=10), JSON, max_size=6) | JSON,
    complete=st.booleans(),
)
def test_whatever_arrives_the_twin_goes_on(
    tmp_path_factory: pytest.TempPathFactory, section: Any, complete: bool
) -> None:
    made = twin(tmp_path_factory.mktemp("twin"), Hub())
    for name in ("settings", "confirmed"):
        made.apply({"$version": 1, name: section}, {} if complete else None)
    assert made.settings.thresholds(OWN)


def test_an_answer_that_did_not_get_through_on_a_link_that_stays_is_given_again(tmp_path: Path) -> None:
    hub, stop = Hub(up=False), threading.Event()
    made = Twin(
        folder=tmp_path, local=(), check=lambda _: None, confirm=lambda _: None, deployments=lambda _: None,
        model=lambda *_: None, on_read=lambda: None, reported=Reported(hub.report, again_s=0.1),
    )  # fmt: skip
    made.apply({"$version": 2, "settings": {"workers": 3}}, None)
    assert hub.properties == {}
    hub.up = True
    thread = threading.Thread(target=made.run, args=(stop,), kwargs={"beat": lambda: None})
    thread.start()
    try:
        wait_until(lambda: "settings" in hub.properties, lambda: "it is never said")
    finally:
        stop.set()
        thread.join(60)
    assert hub.properties["settings"]["workers"]["av"] == 2
    assert len(hub.patches) == 1


def test_what_an_edge_hub_tells_after_a_cut_is_but_what_differs(tmp_path: Path) -> None:
    confirmed: list[Confirmed] = []
    deployments: list[object] = []
    models: list[object] = []
    made = Twin(
        folder=tmp_path, local=(), check=lambda _: None, confirm=confirmed.append, deployments=deployments.append,
        model=lambda model, _version: models.append(model), on_read=lambda: None, reported=Reported(Hub().report),
    )  # fmt: skip
    made.apply(
        {
            "confirmed": {"ledger_id": "a", "through": 312, "highest": 315, "missing": [[313, 313]]},
            "deployments": {"d1": {"start": "2026-01-01"}, "d2": {}},
            "model": {"head": {"sha256": "x", "chunks": {"0": "a"}}},
        },
        {},
    )
    made.apply({"confirmed": {"through": 394, "highest": 394, "missing": None}}, None)
    assert (confirmed[-1].ledger_id, confirmed[-1].through, confirmed[-1].missing) == ("a", 394, ())
    made.apply({"deployments": {"d2": None}}, None)
    assert deployments[-1] == {"d1": {"start": "2026-01-01"}}
    made.apply({"model": {"head": {"chunks": {"1": "b"}}}}, None)
    assert models[-1] == {"head": {"sha256": "x", "chunks": {"0": "a", "1": "b"}}}
    assert (len(confirmed), len(deployments), len(models)) == (2, 2, 2)


def test_confirmations_are_heard_and_noise_is_not(tmp_path: Path) -> None:
    heard: list[int] = []
    made = Twin(
        folder=tmp_path, local=(), check=lambda _: None, on_read=lambda: None,
        confirm=lambda confirmed: heard.append(confirmed.through), deployments=lambda _: None,
        model=lambda *_: None, reported=Reported(Hub().report),
    )  # fmt: skip
    made.apply({"confirmed": {"through": -1}}, None)
    made.apply({"confirmed": {"ledger_id": "a", "through": 3, "highest": 3}}, None)
    assert heard == [3]


def test_a_confirmation_that_the_disk_does_not_take_now_is_taken_later(tmp_path: Path) -> None:
    heard: list[int] = []
    full = True
    stop = threading.Event()

    def confirm(confirmed: Confirmed) -> None:
        if full:
            raise StorageError("disk is full", Trouble.FULL)
        heard.append(confirmed.through)
        stop.set()

    made = Twin(
        folder=tmp_path, local=(), check=lambda _: None, confirm=confirm, deployments=lambda _: None,
        model=lambda *_: None, on_read=lambda: None, reported=Reported(Hub().report),
    )  # fmt: skip
    made.receive({"confirmed": {"ledger_id": "a", "through": 3, "highest": 3}}, None)
    with pytest.raises(StorageError):
        made.run(stop, beat=lambda: None)
    full = False
    made.run(stop, beat=lambda: None)
    assert heard == [3]
