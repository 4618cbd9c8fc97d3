"""The command line: everything starts with one command, keeps its state, and leaves nothing behind."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from deployment.local.state import read_env
from tests.local_azure import wait_until

COMMAND = [sys.executable, "-m", "deployment.local"]


@pytest.fixture
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("s")


def processes_of(folder):
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.fsencode(folder) in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def start(folder, *arguments):
    process = subprocess.Popen(
        [*COMMAND, "up", "--state", str(folder), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    return process, json.loads(process.stdout.readline())


def test_everything_starts_keeps_its_state_and_ends(folder):
    process, ready = start(folder, "--gateways", "2")
    with process:
        service = read_env(Path(ready["service_env"]))
        modules = {name: read_env(Path(file)) for name, file in ready["module_env"].items()}
        assert len({env["IOTEDGE_GATEWAYHOSTNAME"] for env in modules.values()}) == 2
        with BlobServiceClient.from_connection_string(service["STORAGE_CONNECTION_STRING"]) as blobs:
            blobs.create_container("kept").upload_blob("a.jpg", b"picture")
        process.terminate()
        assert process.wait(20) == 0
    assert processes_of(folder) == []

    process, again = start(folder, "--gateways", "2")
    with process:
        assert again == ready
        assert read_env(Path(again["service_env"])) == service
        assert {name: read_env(Path(file)) for name, file in again["module_env"].items()} == modules
        with BlobServiceClient.from_connection_string(service["STORAGE_CONNECTION_STRING"]) as blobs:
            assert blobs.get_blob_client("kept", "a.jpg").download_blob().readall() == b"picture"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert processes_of(folder) == []


def test_nothing_is_left_when_the_command_is_killed(folder):
    process, _ready = start(folder)
    with process:
        process.kill()
    wait_until(lambda: processes_of(folder) == [])


def test_secrets_are_for_their_owner_only(local_azure, gateway):
    assert stat.S_IMODE(local_azure.folder.stat().st_mode) == 0o700
    secrets = [p for p in local_azure.folder.rglob("*") if p.suffix in {".key", ".token", ".env", ".json", ".sqlite"}]
    ours = [p for p in secrets if "__azurite" not in p.name]
    assert len(ours) > 8
    assert {stat.S_IMODE(path.stat().st_mode) for path in ours} == {0o600}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["edge-hub", "--gateway", "one"], "start the hub first"),
        (["edge-hub", "--gateway", "../one"], "must not"),
        (["azurite", "--cache", "/dev/null/x"], "/dev/null/x"),
    ],
)
def test_what_cannot_start_says_why(folder, arguments, says):
    done = subprocess.run(
        [*COMMAND, *arguments, "--state", str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_gateway_that_is_not_registered_is_named(local_azure):
    state = str(local_azure.folder)
    done = subprocess.run(
        [*COMMAND, "edge-hub", "--state", state, "--gateway", "nobody"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "nobody is not registered" in done.stderr
