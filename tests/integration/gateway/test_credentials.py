"""Upload credentials that do not do: the gateway asks for another, loses nothing, and says no more than it must."""

from datetime import timedelta

import pytest

from edge_module.wire import MediaStored
from tests.integration.gateway.conftest import Running, panda
from tests.local_azure import wait_until

DECADE = timedelta(days=3652)


@pytest.mark.parametrize(
    "fault",
    ["expired", "of a clock ten years ahead", "of another container", "without the right", "noise"],
)
def test_a_credential_that_storage_refuses_is_asked_for_again_until_the_picture_is_there(running: Running, fault: str):
    service = running.service
    own, other = f"own-{running.name}", f"other-{running.name}"
    container = service.create_container(own)
    service.create_container(other)
    bad = {
        "expired": lambda: running.credential(own, starts=-2 * DECADE, ends=-DECADE),
        "of a clock ten years ahead": lambda: running.credential(own, starts=DECADE, ends=DECADE + timedelta(days=7)),
        "of another container": lambda: running.credential(own, of_container=other),
        "without the right": lambda: running.credential(own, rights="r"),
        "noise": lambda: {**running.credential(own), "sas": "sv=noise&sig=noise"},
    }[fault]()
    running.start()
    running.insert("card", {"IMG_1.JPG": panda(running.name)})
    wait_until(lambda: running.sas_requests() >= 1, timeout_s=60, what=running.log)
    asked = running.sas_requests()
    assert running.call("setUploadSas", bad)[0] == 200
    wait_until(lambda: running.sas_requests() > asked, timeout_s=60, what=running.log)
    state, reason = running.ledger("SELECT state, reason FROM upload")[0]
    assert state == "ready"
    assert "blob crop/" in reason
    assert list(container.list_blob_names()) == []
    assert running.call("setUploadSas", running.credential(own))[0] == 200
    (stored,) = running.wait_messages(MediaStored)
    assert list(container.list_blob_names()) == [stored.payload.blob_name]
    assert bad["sas"] not in running.log()


def test_a_container_that_is_gone_is_waited_for(running: Running):
    own = f"own-{running.name}"
    running.start()
    running.insert("card", {"IMG_1.JPG": panda(running.name)})
    wait_until(lambda: running.sas_requests() >= 1, timeout_s=60, what=running.log)
    assert running.call("setUploadSas", running.credential(own))[0] == 200
    missing = "SELECT state FROM upload WHERE reason LIKE '%ContainerNotFound%'"
    assert wait_until(lambda: running.value(missing), timeout_s=60, what=running.log) == "ready"
    container = running.service.create_container(own)
    wait_until(lambda: list(container.list_blob_names()), timeout_s=60, what=running.log)
    wait_until(lambda: running.value("SELECT state FROM upload") == "done", timeout_s=60)


def test_storage_that_says_no_for_ever_is_not_asked_about_in_a_hurry(running: Running):
    """A firewall answers 403 to every credential: headquarters must not be asked more often than it may answer."""
    own = f"own-{running.name}"
    running.service.create_container(own)
    running.azure.fault("blob-proxy", "storage", status=403)
    running.start(confirm_interval_s="3600")
    running.insert("card", {"IMG_1.JPG": panda(running.name)})
    wait_until(lambda: running.sas_requests() == 1, timeout_s=60, what=running.log)
    for refusals in range(1, 6):
        assert running.call("setUploadSas", running.credential(own))[0] == 200
        wait_until(
            lambda n=refusals: running.azure.faults("blob-proxy")["storage"]["hits"] >= n,
            timeout_s=60, what=running.log,
        )  # fmt: skip
    assert running.sas_requests() == 1
    running.azure.restore("blob-proxy")
    wait_until(lambda: running.value("SELECT state FROM upload") == "done", timeout_s=60, what=running.log)
