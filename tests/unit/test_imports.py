"""Imports run one way (docs: design of the houses): the gateway knows nothing of headquarters."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOUSES = ("edge_module", "cloud_sync", "deployment", "models", "tests")

CONTRACT = {"wire", "as_json", "columns", "fields", "domain", "errors", "bundle_format", "model_wire"}
SCORING_PATH = {"frame", "burst", "gaze", "backbone", "head", "scorer", "verdict", "model_store"}
MAY_IMPORT = {
    "edge_module": {"edge_module"},
    "cloud_sync": {"cloud_sync"} | {f"edge_module.{room}" for room in CONTRACT | SCORING_PATH},
    "deployment": {"deployment", "edge_module", "cloud_sync", "models"},
    "models": {"models", "edge_module", "cloud_sync"},
}


def rooms_imported(file: Path) -> Iterator[tuple[int, str]]:
    """Line and name of each module of ours that a file imports, as ``house.room``."""
    package = ".".join(file.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parent = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (parent, node.module) if part)
            # `from edge_module import wire` names a room, `from edge_module.wire import Record` what is in one.
            names = [f"{module}.{alias.name}" for alias in node.names] if module in HOUSES else [module]
        else:
            continue
        yield from ((node.lineno, ".".join(name.split(".")[:2])) for name in names if name.split(".")[0] in HOUSES)


@pytest.mark.parametrize("house", list(MAY_IMPORT))
def test_a_house_imports_only_what_it_may(house: str) -> None:
    allowed = MAY_IMPORT[house]
    files = sorted((ROOT / house).rglob("*.py"))
    assert files
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in files
        for line, name in rooms_imported(file)
        if name not in allowed and name.split(".")[0] not in allowed
    ]
    assert wrong == []


def test_the_contract_and_the_scoring_path_lead_nowhere_else() -> None:
    """What headquarters imports must not bring the gateway's ledger and threads along."""
    reached, todo = set[str](), CONTRACT | SCORING_PATH
    while todo:
        room = todo.pop()
        reached.add(room)
        imported = {name.split(".")[1] for _, name in rooms_imported(ROOT / "edge_module" / f"{room}.py")}
        todo |= imported - reached
    assert reached == CONTRACT | SCORING_PATH


def test_wire_needs_the_standard_library_only() -> None:
    for room in CONTRACT - {"bundle_format"}:
        for node in ast.walk(ast.parse((ROOT / "edge_module" / f"{room}.py").read_bytes())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names | {"edge_module"}, room


def test_a_scan_starts_without_the_sdks_of_the_cloud() -> None:
    """They take longer to import than a card takes to its first verdict."""
    code = "import edge_module.app, sys; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert not {"azure", "aiohttp", "requests", "paho"} & set(loaded.stdout.split())
