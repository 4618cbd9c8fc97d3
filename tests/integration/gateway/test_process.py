"""The process: starts without a link, ends when asked, reads a card once."""

import shutil

import pytest

from edge_module import wire
from tests import models_made
from tests.integration.gateway.conftest import Running, ordinary
from tests.local_azure import wait_until
from tests.pictures import jpeg


def test_the_end_comes_within_ten_seconds_also_while_storage_hangs(running: Running):
    own = f"own-{running.name}"
    running.service.create_container(own)
    running.azure.fault("blob-proxy", "storage", hang=True)
    running.start()
    running.insert("card")
    wait_until(lambda: running.sas_requests() >= 1, timeout_s=60, what=running.log)
    assert running.call("setUploadSas", running.credential(own))[0] == 200
    wait_until(lambda: running.azure.faults("blob-proxy")["storage"]["hits"], timeout_s=60, what=running.log)
    assert running.end(within_s=10) == 0
    running.azure.restore("blob-proxy")
    running.start()
    wait_until(lambda: running.sas_requests() >= 2, timeout_s=60, what=running.log)
    assert running.call("setUploadSas", running.credential(own))[0] == 200
    running.wait_messages(wire.MediaStored)


def test_verdicts_travel_while_storage_hangs(running: Running):
    own = f"own-{running.name}"
    running.service.create_container(own)
    running.azure.fault("blob-proxy", "storage", hang=True)
    running.start()
    wait_until(lambda: running.edge.status()["modules_connected"], timeout_s=60, what=running.log)
    wait_until(lambda: running.call("setUploadSas", running.credential(own))[0] == 200, timeout_s=60)
    running.insert("card")
    running.wait_read()
    running.wait_messages(wire.Records, 2)
    running.wait_messages(wire.Receipt)


def test_without_an_edge_hub_cards_are_read_and_everything_goes_when_it_is_there(running: Running):
    running.azure.end(running.name)
    running.start()
    running.insert("card")
    running.wait_read()
    assert running.up
    running.azure.restart(running.name)
    running.wait_messages(wire.Records, 2)
    running.wait_messages(wire.Receipt)


@pytest.mark.parametrize("how", ["ended", "killed"])
def test_a_card_is_read_once_however_often_it_is_put_in_and_the_gateway_started(running: Running, how: str):
    running.start()
    card = running.insert("card")
    running.wait_read()
    shutil.move(card, running.folder / "aside")
    wait_until(lambda: not card.exists())
    shutil.move(running.folder / "aside", card)
    if how == "ended":
        assert running.end() == 0
    else:
        running.end(with_signal=9)
    running.start()
    other = running.insert("other")
    running.wait_read(2)
    assert {row[0] for row in running.ledger("SELECT state FROM reading")} == {"complete"}
    new = next(iter(ordinary("new").values()))
    (other / "IMG_9.JPG").write_bytes(new)
    running.wait_read(3)
    assert running.value("SELECT count(DISTINCT card_id) FROM reading") == 2


def test_a_card_pulled_out_half_read_is_read_to_its_end_when_it_is_back(running: Running):
    files = {f"IMG_{n:03}.JPG": jpeg(n) for n in range(40)}
    running.start(workers="1")
    card = running.insert("card", files)
    settled = "SELECT count(*) FROM media"
    wait_until(lambda: (running.value(settled) or 0) > 0, timeout_s=60, what=running.log)
    shutil.move(card, running.folder / "aside")
    wait_until(
        lambda: running.value("SELECT state FROM reading") in ("interrupted", "complete"),
        timeout_s=60, what=running.log,
    )  # fmt: skip
    # Another card meanwhile: the gateway looks, and finds the first one gone.
    running.insert("other")
    wait_until(lambda: running.value("SELECT count(*) FROM reading") == 2, timeout_s=60, what=running.log)
    shutil.move(running.folder / "aside", card)
    wait_until(
        lambda: running.ledger("SELECT DISTINCT state FROM reading") == [("complete",)],
        timeout_s=60, what=running.log,
    )  # fmt: skip
    assert running.value("SELECT count(*) FROM media") == 40 + 3


def test_the_end_comes_also_while_a_model_is_tried_which_is_tried_again_after_it(running: Running):
    def state() -> str:
        return str((running.reported().get("model") or {}).get("value", {}).get("state"))

    running.start()
    running.desire(model=models_made.wanted(models_made.head(0.002)).to_twin())
    wait_until(lambda: state() == "trying", timeout_s=120, what=running.log)
    assert running.end(within_s=30) == 0
    assert "Traceback" not in running.log()
    running.start()
    wait_until(lambda: state() == "installed", timeout_s=120, what=running.log)
