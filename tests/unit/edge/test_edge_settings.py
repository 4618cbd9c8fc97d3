"""Wrong settings: one line a fault, with the setting, the value and what is allowed."""

from pathlib import Path
from typing import Any

import pytest

from edge_module.errors import ConfigError
from edge_module.settings import SCHEMA, Setting, combine, from_environment, from_file
from edge_module.verdict import DayNight, Thresholds
from tests.edge_cli import edge

OWN = DayNight(day=Thresholds(panda=0.8, review=0.3), night=Thresholds(panda=0.6, review=0.1))


def faults(*sources: tuple[str, dict[str, Any]]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        combine(*sources)
    return caught.value.faults


def test_without_any_source_the_defaults_hold() -> None:
    settings = combine()
    assert {setting.name: getattr(settings, setting.name) for setting in SCHEMA} == {s.name: s.default for s in SCHEMA}


def test_a_later_source_overrides_an_earlier_and_null_resets() -> None:
    file, environment = {"workers": 1, "event_gap_s": 5}, {"workers": "3"}
    settings = combine(("file", file), ("environment", environment), ("twin", {"event_gap_s": None}))
    assert (settings.workers, settings.event_gap_s) == (3, 60)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", 0), ("workers", 9), ("workers", 1.5), ("workers", "two"), ("workers", True), ("workers", [1]),
        ("workers", 10**400), ("event_gap_s", "nan"), ("event_gap_s", "inf"), ("event_gap_s", -1),
        ("camera_utc_offset_min", 841), ("log_level", "loud"), ("data_dir", ""), ("data_dir", 7),
        ("panda_threshold_day", 0), ("panda_threshold_day", "1.1"),
    ],
)  # fmt: skip
def test_a_fault_names_source_setting_value_and_what_is_allowed(name: str, value: object) -> None:
    (line,) = faults(("settings.yml", {name: value}))
    setting = next(s for s in SCHEMA if s.name == name)
    assert line.startswith(f"settings.yml: {name}: ")
    assert str(value)[:80] in line
    assert setting.allowed in line
    assert "\n" not in line


def test_all_faults_are_found_at_once() -> None:
    lines = faults(("file", {"wokers": 1, "log_level": "loud"}), ("environment", {"workers": "0"}))
    assert len(lines) == 3
    assert "'wokers': no such setting (do you mean workers?)" in lines[0]


@pytest.mark.parametrize(
    ("setting", "good", "bad"),
    [
        (Setting(doc="", default=True, kind=bool), [True, False, "true", "false"], [1, 0, "yes", "", "True", []]),
        (Setting(doc="", default=None, pattern=r"\d{4}", form="four digits"), ["0000"], ["00000", "0000\n", 1234, ""]),
        (Setting(doc="", default="x"), ["y", "\u0928", "y" * 500], ["y" * 501, "a\nb", "\0", "\ud800", {}, True]),
    ],
    ids=["true or false", "a form", "text"],
)
def test_kinds_of_settings(setting: Setting, good: list[object], bad: list[object]) -> None:
    for value in good:
        assert str(setting.check(value)).lower() == str(value).lower()
    for value in bad:
        with pytest.raises(ValueError):  # noqa: PT011 - says nothing by itself, `combine` does
            setting.check(value)


def test_no_setting_whatever_its_kind_takes_noise() -> None:
    for setting in SCHEMA:
        beyond = [value + sign for value, sign in ((setting.least, -1), (setting.most, 1)) if value is not None]
        for noise in ([1], {"a": 1}, "", "\0", "x" * 501, 10**400, *beyond):
            (line,) = faults(("twin", {setting.name: noise}))
            assert setting.allowed in line
            assert len(line) < 1000
    assert len(faults(("twin", dict.fromkeys(map(str, range(900)), "noise")))) == 900


def test_thresholds_must_fit_each_other_and_the_model() -> None:
    (line,) = faults(("twin", {"panda_threshold_night": 0.2, "review_threshold_night": 0.3}))
    assert "review_threshold_night: 0.3 is above panda_threshold_night 0.2" in line
    with pytest.raises(ConfigError, match="with this model"):
        combine(("twin", {"panda_threshold_day": 0.2})).thresholds(OWN)
    day = combine(("twin", {"panda_threshold_day": 0.5})).thresholds(OWN).day
    assert day == Thresholds(panda=0.5, review=0.3)


def test_the_environment_is_read_by_prefix() -> None:
    assert from_environment({"PONYA_EVENT_GAP_S": "5", "PATH": "x"}) == {"event_gap_s": "5"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"workers: [", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
        (b"[" * 5000, "not YAML"),
        (b"- workers", "must hold `setting: value` lines"),
        (b"workers", "must hold `setting: value` lines"),
    ],
)
def test_a_file_that_makes_no_sense_is_one_fault(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "settings.yml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        from_file(path)
    (line,) = caught.value.faults
    assert "\n" not in line


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    (tmp_path / "settings.yml").write_bytes(b"# nothing\n")
    assert from_file(tmp_path / "settings.yml") == {}


def test_the_command_says_each_fault_in_a_line_and_does_not_start(tmp_path: Path) -> None:
    file = tmp_path / "settings.yml"
    file.write_text("event_gap_s: -1\nwhat: 1\n")
    run = edge("--settings", file, "scan", tmp_path, "--workers", "99", settings={"log_level": "loud"})
    assert run.status == 2
    assert run.out == ""
    lines = run.err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("setting: ") for line in lines)
    for words in (
        (str(file), "event_gap_s", "'-1'", "a number from 0 to 3600 s"),
        (str(file), "what", "no such setting"),
        ("environment", "log_level", "'loud'", "one of debug, info, warning, error"),
        ("command line", "workers", "'99'", "a whole number from 1 to 8"),
    ):
        assert any(all(word in line for word in words) for line in lines), words


def test_a_settings_file_that_is_not_there(tmp_path: Path) -> None:
    run = edge("--settings", tmp_path / "absent.yml", "check-config")
    assert run.status == 2
    assert run.err.splitlines() == [f"setting: {tmp_path / 'absent.yml'}: No such file or directory"]


def test_check_config_shows_every_setting_with_its_value() -> None:
    run = edge("check-config", settings={"workers": 3})
    assert run.status == 0
    assert {line.split(":")[0] for line in run.out.splitlines()} >= {setting.name for setting in SCHEMA}
    assert "workers: 3 " in run.out
