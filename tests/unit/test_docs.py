"""Docs cannot rot: what the code has, docs/settings.md says."""

import json
import re
from pathlib import Path

from edge_module import dtdl
from edge_module.methods import METHODS
from edge_module.settings import SCHEMA
from edge_module.settings_doc import markdown
from tests.models_made import HEAD, wanted

ROOT = Path(__file__).resolve().parents[2]


def test_settings_page_is_the_schema() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == markdown(SCHEMA), "run: make docs"


def test_dtdl_is_the_schema() -> None:
    found = json.loads((ROOT / "docs" / "settings.dtdl.json").read_text())
    assert found == dtdl.interface(), "run: make docs"
    (settings,) = [content for content in found["contents"] if content["name"] == "settings"]
    fields = {field["name"]: field for field in settings["schema"]["fields"]}
    assert set(fields) == {setting.name for setting in SCHEMA if setting.twin}
    assert len(fields) <= 80, "DTDL allows no more in an object"
    for setting in SCHEMA:
        if setting.twin:
            assert setting.doc in fields[setting.name]["description"]
            assert setting.allowed in fields[setting.name]["description"]
            assert len(fields[setting.name]["description"]) <= 512


def test_dtdl_has_every_direct_method_with_its_parameters() -> None:
    commands = {c["name"]: c for c in dtdl.interface()["contents"] if c["@type"] == "Command"}
    assert list(commands) == list(METHODS)
    for name, method in METHODS.items():
        asked = commands[name].get("request", {"schema": {"fields": []}})["schema"]["fields"]
        assert {field["name"] for field in asked} == method.parameters


def test_dtdl_has_every_field_of_the_desired_model() -> None:
    (model,) = [content for content in dtdl.interface()["contents"] if content["name"] == "model"]
    said = set(wanted(HEAD).to_twin())
    assert {field["name"] for field in model["schema"]["fields"]} == said | {"model_id", "state"}
    documented = (ROOT / "docs" / "models.md").read_text()
    assert [name for name in sorted(said) if f"| `{name}` |" not in documented] == []


def test_make_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = text.split(".PHONY:")[1].splitlines()[0].split()
    documented = {line.split(":")[0] for line in text.splitlines() if ":" in line and "  ## " in line}
    assert set(phony) == documented


def alert_codes() -> set[str]:
    """Every code that the contract names."""
    text = (ROOT / "docs" / "wire.md").read_text()
    tables = re.findall(r"\| code \| meaning \|\n\|---\|---\|\n((?:\|.*\n)+)", text)
    assert len(tables) == 2
    return {
        code for table in tables for row in table.splitlines() for code in re.findall(r"`(\w+)`", row.split("|")[1])
    }


def test_the_contract_names_every_alert_that_the_code_raises() -> None:
    said = {
        code
        for house in ("edge_module", "cloud_sync")
        for file in (ROOT / house).glob("*.py")
        for code in re.findall(
            r"""(?:code=|_alert_once\(place, |write_last_words\(self\._folder, )"(\w+)\"""", file.read_text()
        )
    }
    assert {"card_hangs", "buried", "worker_stalled"} <= said, "the pattern finds them"
    assert said <= alert_codes()


def test_operating_says_what_each_alert_means_and_what_to_do() -> None:
    text = (ROOT / "docs" / "operating.md").read_text()
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    explained = {row[1].strip(" `"): row[3].strip() for row in rows if len(row) == 5}
    assert set(explained) == alert_codes()
    assert all(explained.values())


def test_routing_queries_ask_for_fields_that_messages_have() -> None:
    contract = (ROOT / "docs" / "wire.md").read_text()
    paths = re.findall(r"\$body\.([\w.]+)", (ROOT / "docs" / "telemetry.md").read_text())
    assert paths
    for name in {name for path in paths for name in path.split(".")}:
        assert f"`{name}`" in contract, name


def test_commands_in_the_operating_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    options = (ROOT / "deployment" / "host" / "setup.sh").read_text()
    for page in ("operating.md", "telemetry.md"):
        text = (ROOT / "docs" / page).read_text()
        assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
        for line in re.findall(r"setup\.sh ([^`]*)`", text):
            for option in re.findall(r"--[a-z0-9-]+", line):
                assert f"{option} " in options or f"{option})" in options, option
        for folder in re.findall(r"`(deployment/[\w/.-]+)`", text):
            assert (ROOT / folder).exists(), folder
        for house, words in re.findall(r"python3? -m (cloud_sync|edge_module) ((?:[a-z-]+ ?)+)", text):
            rooms = (ROOT / house / "__main__.py", *(ROOT / house / "commands").glob("*.py"))
            assert any(f'"{words.split()[0]}"' in room.read_text() for room in rooms), words
