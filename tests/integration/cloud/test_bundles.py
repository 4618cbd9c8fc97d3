"""A gateway without a link: `bundle enrol`, `bundle import`, and the confirmation that is carried back."""

from datetime import UTC, datetime

import pytest

from cloud_sync import schema
from edge_module.bundle_format import BundleWriter, GatewayKeys, read_confirmation
from edge_module.domain import Fate
from tests.cloud_messages import body, receipt, records
from tests.integration.cloud.conftest import stored
from tests.local_azure import Gateway

PICTURE = b"a picture " * 2000


@pytest.fixture
def enrolled(hq):
    """A gateway that headquarters knows and that never connects, and its keys."""
    gateway = Gateway(hq.azure, "far-away", {})
    hq.run("gateway", "add", gateway.gateway_id)
    hq.run("bundle", "key")
    out = hq.folder / "far-away.keys"
    hq.run("bundle", "enrol", gateway.gateway_id, "--out", str(out))
    assert out.stat().st_mode & 0o077 == 0
    return gateway, GatewayKeys.from_json(out.read_text())


def write(path, keys, *, ledger_id="ledger-1", messages=(), blobs=()):
    with path.open("wb") as file:
        bundle = BundleWriter(file, keys, ledger_id=ledger_id, created_at=datetime.now(UTC))
        for name, data in blobs:
            bundle.add_blob(name, len(data), [data])
        for sequence, payload in messages:
            bundle.add_message(sequence, payload if isinstance(payload, bytes) else body(sequence, payload, ledger_id))
        bundle.finish()
    return path


def usual(path, keys, ledger_id):
    messages = [
        (1, records(0, 250)),
        (2, records(900, 1, fate=Fate.PANDA)),
        (3, stored(f"frame/{ledger_id}.jpg", PICTURE)),
        (4, receipt()),
        (5, b"not a message"),
    ]
    return write(path, keys, ledger_id=ledger_id, messages=messages, blobs=[(f"frame/{ledger_id}.jpg", PICTURE)])


def test_a_bundle_is_recorded_and_its_confirmation_carried_back(hq, enrolled, tmp_path):
    gateway, keys = enrolled
    ledger_id = tmp_path.name
    bundle = usual(tmp_path / "a.ponya-bundle", keys, ledger_id)
    for _ in range(2):
        said = hq.run("bundle", "import", str(bundle)).stdout
        assert "5 messages, 1 pictures of far-away" in said
        confirmed, _at = read_confirmation((tmp_path / "a.ponya-confirmation").read_bytes(), keys)
        assert (confirmed.ledger_id, confirmed.through, confirmed.missing) == (ledger_id, 5, ())
        assert confirmed.parked == (5,)
        assert len(hq.rows(schema.records, gateway)) == 251
        assert [m["variant"] for m in hq.rows(schema.media, gateway)] == ["frame"]
        assert hq.alerts(gateway) == ["malformed"]
    with hq.container(gateway) as container:
        assert container.download_blob(f"frame/{ledger_id}.jpg").readall() == PICTURE


def test_more_than_one_transaction_of_messages(hq, enrolled, tmp_path):
    gateway, keys = enrolled
    messages = [(n, records(n, 1)) for n in range(1, 251)]
    hq.run("bundle", "import", str(write(tmp_path / "a.ponya-bundle", keys, messages=messages)))
    assert read_confirmation((tmp_path / "a.ponya-confirmation").read_bytes(), keys)[0].through == 250
    assert len(hq.rows(schema.records, gateway)) == 250


def test_a_bad_bundle_leaves_nothing_and_the_good_one_beside_it_is_recorded(hq, enrolled, tmp_path):
    gateway, keys = enrolled
    good = usual(tmp_path / "good.ponya-bundle", keys, tmp_path.name)
    whole = good.read_bytes()
    flipped = bytearray(whole)
    flipped[-2000] ^= 1
    bad = {
        "cut.ponya-bundle": whole[:-1],
        "altered.ponya-bundle": bytes(flipped),
        "longer.ponya-bundle": whole + b"x",
        "picture.ponya-bundle": b"\xff\xd8\xff\xe0",
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    names = [str(tmp_path / name) for name in bad]
    failed = hq.run("bundle", "import", *names, status=1)
    assert len(failed.stderr.splitlines()) == len(bad)
    for name in bad:
        assert f"{name}: " in failed.stderr
        assert not (tmp_path / name).with_suffix(".ponya-confirmation").exists()
    for table in (schema.messages, schema.records, schema.media, schema.held_bodies, schema.alerts):
        assert hq.rows(table, gateway) == []
    hq.run("bundle", "import", names[0], str(good), status=1)
    assert len(hq.rows(schema.records, gateway)) == 251


def test_a_bundle_for_another_headquarters_and_one_with_a_voided_key_are_refused(hq, enrolled, tmp_path):
    gateway, keys = enrolled
    bundle = usual(tmp_path / "a.ponya-bundle", keys, tmp_path.name)
    other = {"PONYA_BUNDLE_KEY_FILE": str(tmp_path / "other.ponya-key")}
    hq.run("bundle", "key", **other)
    assert "another headquarters" in hq.run("bundle", "import", str(bundle), status=1, **other).stderr
    hq.run("bundle", "enrol", gateway.gateway_id, "--out", str(tmp_path / "new.keys"))
    assert "not signed by far-away" in hq.run("bundle", "import", str(bundle), status=1).stderr
    assert hq.rows(schema.messages, gateway) == []


def test_storage_that_is_away_loses_nothing(hq, enrolled, tmp_path):
    gateway, keys = enrolled
    bundle = usual(tmp_path / "a.ponya-bundle", keys, tmp_path.name)
    hq.azure.fault("blob-proxy", "storage", cut=True)
    try:
        assert "import it again" in hq.run("bundle", "import", str(bundle), status=1).stderr
    finally:
        hq.azure.restore("blob-proxy")
    hq.run("bundle", "import", str(bundle))
    assert len(hq.rows(schema.records, gateway)) == 251


def test_keys_are_never_overwritten(hq, enrolled, tmp_path):
    assert "is not overwritten" in hq.run("bundle", "key", status=2).stderr
    assert (
        "is not overwritten"
        in hq.run("bundle", "enrol", "far-away", "--out", f"{hq.folder}/far-away.keys", status=2).stderr
    )
    assert (
        "not a registered gateway" in hq.run("bundle", "enrol", "nobody", "--out", str(tmp_path / "k"), status=2).stderr
    )
    assert not (tmp_path / "k").exists()
