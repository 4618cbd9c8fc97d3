"""Headquarters sends models by its command line, and a running gateway takes them between two readings."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from edge_module import wire
from edge_module.model_store import SHIPPED_MODEL_DIR, load
from tests.integration.gateway.conftest import ROOT, Running
from tests.local_azure import wait_until
from tests.models_made import BACKBONE, blind_head, head, on_backbone


def headquarters(running: Running, *words: str | Path, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cloud_sync", *words],
        cwd=ROOT,
        env={**os.environ, **running.azure.service_env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def wait_model(running: Running, state: str, ac: int) -> str:
    """Wait for what is reported of the model; the id of the one in force."""

    def there() -> bool:
        model = running.reported().get("model") or {}
        return bool(model.get("value", {}).get("state") == state and model["ac"] == ac)

    wait_until(
        there, timeout_s=120, what=lambda: f"{state}: {running.reported().get('model')}\n{running.log()[-3000:]}"
    )
    return str(running.reported()["model"]["value"]["model_id"])


def test_a_head_then_a_whole_model_and_back_while_the_gateway_runs(running: Running, tmp_path: Path) -> None:
    running.start()
    shipped = wait_model(running, "installed", 200)
    assert shipped == load(SHIPPED_MODEL_DIR).model_id
    assert f"{shipped}  installed: the software's own" in headquarters(running, "model", "status", running.name)

    (tmp_path / "head.json").write_bytes(head())
    told = headquarters(running, "model", "send", running.name, "--head", tmp_path / "head.json")
    wait_until(lambda: running.reported()["model"]["value"]["model_id"] != shipped, timeout_s=120, what=running.log)
    first = wait_model(running, "installed", 200)
    assert first in told
    running.insert("card")
    running.wait_read()
    assert {row[0] for row in running.ledger("SELECT model_id FROM record WHERE model_id <> ''")} == {first}

    folder = tmp_path / "model"
    folder.mkdir()
    backbone = BACKBONE + b"\0"
    files = {"backbone.tflite": backbone, "head.json": on_backbone(head(0.002), backbone)}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    sums = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()]
    (folder / "SHA256SUMS").write_text("".join(sums))
    told = headquarters(running, "model", "send", running.name, "--folder", folder)
    wait_until(lambda: running.reported()["model"]["value"]["model_id"] != first, timeout_s=120, what=running.log)
    second = wait_model(running, "installed", 200)
    assert second in told
    assert "sig=" not in running.log()

    (tmp_path / "head.json").write_bytes(blind_head())
    headquarters(running, "model", "send", running.name, "--head", tmp_path / "head.json")
    assert wait_model(running, "refused", 400) == second
    assert [a.payload.code for a in running.wait_messages(wire.Alert)] == ["model_refused"]  # type: ignore[union-attr]

    assert running.end() == 0
    running.start()
    status = json.loads(_until_called(running))
    assert status["model_id"] == second
    headquarters(running, "model", "reset", running.name)
    assert wait_model(running, "installed", 200) == shipped


def _until_called(running: Running) -> str:
    """Call a method by the command line once the gateway listens."""
    wait_until(lambda: running.call("getStatus")[0] == 200, timeout_s=60, what=running.log)
    return headquarters(running, "gateway", "call", running.name, "getStatus")


def test_what_headquarters_cannot_send_is_said_in_a_line(running: Running, tmp_path: Path) -> None:
    (tmp_path / "head.json").write_bytes(b"{}")
    said = headquarters(running, "model", "send", running.name, "--head", tmp_path / "head.json", status=1)
    assert "not a valid head file" in said
    said = headquarters(running, "model", "send", running.name, "--folder", tmp_path, status=1)
    assert "SHA256SUMS: No such file" in said
    said = headquarters(running, "gateway", "call", running.name, "getStatus", "{noise", status=2)
    assert "is none" in said
    said = headquarters(running, "model", "status", "nobody", status=1)
    assert "nobody" in said
