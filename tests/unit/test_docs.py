"""Docs cannot rot: what the code has, docs/settings.md says."""

import json
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
