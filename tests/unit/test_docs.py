"""Docs cannot rot: what the code has, docs/settings.md says."""

from pathlib import Path

from edge_module.settings import SCHEMA
from edge_module.settings_doc import markdown

ROOT = Path(__file__).resolve().parents[2]


def test_settings_page_is_the_schema() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == markdown(SCHEMA), "run: make docs"


def test_make_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = text.split(".PHONY:")[1].splitlines()[0].split()
    documented = {line.split(":")[0] for line in text.splitlines() if ":" in line and "  ## " in line}
    assert set(phony) == documented
