"""Direct methods of a running gateway, as headquarters calls them."""

import json
from typing import Any

from edge_module import wire
from tests.integration.gateway.conftest import Running
from tests.local_azure import wait_until


def alert(running: Running, code: str, begins: str) -> str:
    """Wait for the alert of a job."""

    def said() -> list[str]:
        alerts = [m.payload for m in running.messages() if isinstance(m.payload, wire.Alert)]
        return [a.text for a in alerts if a.code == code and a.text.startswith(begins)]

    wait_until(said, timeout_s=120, what=lambda: f"{code} {begins}: {running.log()[-3000:]}")
    return said()[0]


def test_every_method_does_what_docs_methods_md_says(running: Running) -> None:
    running.start()
    running.wait_heard(poll_s=0.3)

    def call(method: str, payload: Any, status: int) -> dict[str, Any]:
        wait_until(lambda: running.call("getStatus")[0] == 200, timeout_s=60, what=running.log)
        found, answer = running.call(method, payload)
        assert found == status, (method, answer)
        assert isinstance(answer, dict)
        return answer

    running.insert("north")
    running.wait_read()
    card_id = str(running.value("SELECT card_id FROM reading"))
    fates = {fate: media_id.hex() for fate, media_id in running.ledger("SELECT fate, media_id FROM media")}
    panda = fates.pop("panda")
    discard = next(iter(fates.values()))

    assert call("getStatus", None, 200)["uptime_s"] >= 0
    assert call("rescanCard", {"card_id": card_id}, 202) == {"card_ids": [card_id]}
    running.wait_read(2)
    assert "error" in call("rescanCard", {"card_id": "nobody"}, 404)
    assert call("uploadMedia", {"media_id": "0" * 64, "variant": "crop"}, 404) == {"state": "unknown"}
    assert call("uploadMedia", {"media_id": panda, "variant": "original"}, 202) == {"state": "queued"}
    assert call("uploadMedia", {"media_id": discard, "variant": "frame"}, 202) == {"state": "queued"}, "its card is in"
    assert call("releaseMedia", {"media_ids": [panda, "0" * 64]}, 200) == {"released": 1, "not_kept": ["0" * 64]}
    assert set(call("retryFailed", {}, 200)) == {"messages", "pictures"}
    lines = call("getLogs", {"lines": 20, "level": "debug"}, 200)["lines"]
    assert 0 < len(lines) <= 20
    assert all(json.loads(line)["text"] for line in lines)
    assert call("assignCard", {"card_id": card_id, "deployment_key": "d-17"}, 200)["deployment_key"] == "d-17"
    assert "never read" in call("assignCard", {"card_id": "nobody", "deployment_key": None}, 400)["error"]
    job = call("runSelfTest", None, 202)["job"]
    assert "passed with model" in alert(running, "job_done", f"runSelfTest {job}: ")
    job = call("reclassify", {"card_id": card_id}, 202)["job"]
    assert "1 cards that are in are read for it too" in alert(running, "job_done", f"reclassify {job}: ")
    running.wait_read(3)
    assert running.value("SELECT count(*) - count(DISTINCT path || model_id) FROM record") == 0, "the same model, once"
