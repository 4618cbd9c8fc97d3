"""One file for whoever is to help: whole, also when something is broken, and without secrets and places."""

import json
import tarfile
from pathlib import Path

from edge_module.domain import Fate
from tests.edge_cli import edge
from tests.ledgers import TestClock, open_ledger, read_card

SAS = "sv=2024-11-04&sr=c&sp=cw&sig=c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYzE%3D"
SECRETS = (SAS, "c2VjcmV0", "AccountKey=abc", "27.71724", "88.32391", "4711")


def bundle(data: Path, out: Path, **settings: object) -> tuple[int, dict[str, str], str]:
    run = edge("support-bundle", "--data", data, "--out", out, settings=settings)
    with tarfile.open(out) as found:
        parts = {
            member.name.removeprefix("support-bundle/"): found.extractfile(member).read().decode()  # type: ignore[union-attr]
            for member in found.getmembers()
        }
    return run.status, parts, run.err


def broken_into(data: Path) -> None:
    """A gateway's folder in which secrets have been written wherever something can write."""
    data.mkdir()
    with open_ledger(data, TestClock()) as ledger:
        files = {"at 27.71724, 88.32391/IMG_1.JPG": ("one", Fate.PANDA), "IMG_2.JPG": ("two", Fate.UNREADABLE)}
        ledger.end(read_card(ledger, files))
        (owed,) = ledger.outbox.lease(limit=1, lease_s=1)
        ledger.outbox.release(owed.sequence, delay_s=1, reason=f"put https://x.blob.core.windows.net/gw?{SAS} failed")
    (data / "logs").mkdir()
    (data / "logs" / "gateway.jsonl").write_text(
        f"{json.dumps({'text': f'AccountKey=abc {SAS}'})}\n{json.dumps({'text': 'GPSLatitude: 27.71724'})}\n"
    )
    (data / "twin.json").write_text(json.dumps({"local_page_pin": "4711", "site": "27.71724 N 88.32391 E"}))
    (data / "last-words.json").write_text("not JSON, but AccountKey=abc")


def test_it_holds_what_is_needed_and_nothing_that_is_secret(tmp_path: Path) -> None:
    broken_into(tmp_path / "data")
    status, parts, err = bundle(tmp_path / "data", tmp_path / "out.tar.gz")
    assert (status, err) == (0, "")
    assert {
        "versions.json", "settings.json", "health.json", "ledger.json", "receipts.json", "mounts.txt",
        "logs/gateway.jsonl", "twin.json", "last-words.json", "missing.txt",
    } == set(parts)  # fmt: skip
    assert [(name, secret) for name, text in parts.items() for secret in SECRETS if secret in text] == []
    assert json.loads(parts["settings.json"])["poll_s"]
    assert json.loads(parts["ledger.json"])["rows"]["file.panda"] == 1
    assert json.loads(parts["receipts.json"])[0]["panda"] == 1
    assert json.loads(parts["versions.json"])["packages"]["numpy"]
    assert json.loads(parts["health.json"])["disk_free_bytes"]
    assert "/proc" in parts["mounts.txt"]
    assert (tmp_path / "out.tar.gz").stat().st_mode & 0o077 == 0


def test_a_damaged_ledger_is_named_and_the_rest_is_there(tmp_path: Path) -> None:
    broken_into(tmp_path / "data")
    (tmp_path / "data" / "ledger.sqlite").write_bytes(b"no ledger at all" * 1000)
    status, parts, err = bundle(tmp_path / "data", tmp_path / "out.tar.gz")
    assert status == 0
    assert "ledger.json: ledger " in err
    assert "ledger.json" in parts["missing.txt"]
    assert "logs/gateway.jsonl" in parts


def test_a_gateway_that_never_ran_has_a_bundle_too(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    status, parts, err = bundle(tmp_path / "data", tmp_path / "out.tar.gz")
    assert status == 0
    assert "there is none" in err
    assert json.loads(parts["settings.json"])["data_dir"] == str(tmp_path / "data")


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    run = edge("support-bundle", "--data", tmp_path, "--out", tmp_path / "absent" / "out.tar.gz")
    assert run.status == 2
    assert "No such file or directory; choose another file with --out" in run.err
