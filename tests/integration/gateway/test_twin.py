"""Settings and methods from afar: what is good applies, what is noise is told and changes nothing."""

import json

import pytest

from tests.integration.gateway.conftest import Running
from tests.local_azure import wait_until
from tests.pictures import exif, jpeg

NOISE = [
    "noise",
    "",
    0,
    [1, 2],
    {"no_such_setting": 1},
    {"poll_s": "soon"},
    {"poll_s": -1},
    {"poll_s": {"a": {"b": 1}}},
    {"workers": 2.5},
    {"poll_s": 2**52 - 1},
    {"data_dir": "/somewhere/else"},
    {"poll_s": 7, "workers": 99},
    {"panda_threshold_day": 0.2, "review_threshold_day": 0.9},
    {"panda_threshold_day": 0.002},
    {"\U0001f98a" * 100: "\U0001f98a" * 900},
]
"""The last but one is good by itself and makes no sense with the model's own thresholds."""


def test_a_patch_of_noise_is_told_and_the_last_good_settings_stay_and_survive_a_start_without_a_link(running: Running):
    running.start()
    running.wait_heard(camera_utc_offset_min=-90)
    for noise in NOISE:
        running.desire(settings=noise)
        version = running.registry.get_module_twin(running.name, "camtrap").properties.desired["$version"]

        def refused(version: int = version) -> bool:
            fault = running.reported().get("settings_fault") or {}
            return bool(fault.get("ac") == 400 and fault.get("av") == version and fault.get("ad"))

        wait_until(refused, timeout_s=60, what=f"{noise}: {running.reported()}")
        known = {name for name in noise if name == "poll_s"} if isinstance(noise, dict) else set()
        for name in known:
            assert running.reported()["settings"][name]["ac"] == 400
            assert running.reported()["settings"][name]["value"] == 0.2
    assert running.call("getStatus")[0] == 200
    running.wait_heard(poll_s=0.3)
    assert running.reported().get("settings_fault") is None
    running.desire(settings={"camera_utc_offset_min": "noise"})
    assert running.end() == 0
    running.azure.end(running.name)
    running.start()
    running.insert("card", {"IMG_1.JPG": jpeg(1, exif=exif(taken="2026:03:14 05:20:00"))})
    running.wait_read()
    assert _offset_min(running, b"IMG_1.JPG") == -90
    running.azure.restart(running.name)
    wait_until(lambda: (running.reported().get("settings_fault") or {}).get("ac") == 400, timeout_s=60)
    running.desire(settings=None)  # everything is taken back
    wait_until(lambda: running.reported().get("settings_fault") is None, timeout_s=60)
    running.insert("other", {"IMG_2.JPG": jpeg(2, exif=exif(taken="2026:03:14 05:20:00"))})
    running.wait_read(2)
    assert _offset_min(running, b"IMG_2.JPG") == 345


def _offset_min(running: Running, path: bytes) -> int:
    return int(json.loads(running.value("SELECT body FROM record WHERE path = ?", path))["utc_offset_min"])


def test_methods_answer_whatever_they_are_asked(running: Running):
    running.start()
    wait_until(lambda: running.edge.status()["modules_connected"], timeout_s=60, what=running.log)
    wait_until(lambda: "camtrap" in str(running.edge.status()), timeout_s=60)
    status, measures = running.call("getStatus")
    assert status == 200
    assert measures["activity"] == "waiting for a card"
    assert measures["messages_owed"] >= 0
    good = running.credential("container")
    for payload in (
        None, 7, "noise", [], {}, {"container_url": 1},
        {**good, "container_url": "ftp://example.org/c"},
        {**good, "container_url": "http://localhost:1@example.org/c"},
        {**good, "container_url": "https://[/c"},
        {**good, "container_url": "https://"},
        {**good, "expires_at": "soon"},
        {**good, "sas": None},
    ):  # fmt: skip
        status, answer = running.call("setUploadSas", payload)
        assert (status, "error" in answer) == (400, True), payload
        assert good["sas"] not in str(answer)
    assert running.call("setUploadSas", good) == (200, {})
    status, answer = running.call("no-such-method", {"a": 1})
    assert status == 404
    assert "getStatus" in answer["error"]
    for nonsense in ("noise" * 25_000, {"x" * 1000: ["y" * 100] * 1000}):
        status, answer = running.call("getStatus", nonsense)
        assert (status, len(answer["error"]) < 2000) == (400, True)
    assert good["sas"] not in running.log()


@pytest.mark.parametrize("lose", ["sessions", "edge hub"])
def test_a_gateway_hears_again_after_its_edge_hub_lost_the_session_or_was_killed(running: Running, lose: str):
    running.start()
    running.wait_heard(poll_s=0.3)
    if lose == "sessions":
        running.edge.drop_sessions()
    else:
        running.azure.kill(running.name)
        running.azure.restart(running.name)
    running.wait_heard(poll_s=0.4)
    assert running.call("getStatus")[0] == 200
    assert running.up
