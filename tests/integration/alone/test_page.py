"""The page and the lamp of a gateway's process, as a technician beside it has them."""

import socket
from pathlib import Path

from tests.alone import Alone, alone
from tests.gateway_page import PIN, Visit
from tests.local_azure import wait_until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(gateway: Alone, port: int) -> bool:
    try:
        return Visit(port=port).get().startswith("<!doctype html>")
    except OSError:
        assert gateway.up, gateway.log()
        return False


def test_a_technician_reads_the_page_and_the_lamp_and_the_pin_stands_in_no_log(tmp_path: Path) -> None:
    port, shown = free_port(), tmp_path / "shown"
    lamp = tmp_path / "lamp"
    lamp.write_text(f"#!/bin/sh\necho $1 >> '{shown}'\n")
    lamp.chmod(0o755)
    with alone(tmp_path, page_port=port, page_pin=PIN, signal_command=lamp, log_level="debug") as gateway:
        gateway.start()
        wait_until(lambda: answers(gateway, port), timeout_s=120, what=gateway.log)
        visit = Visit(port=port)
        assert "There is no link to headquarters now" in visit.sign_in()
        gateway.insert("card")
        wait_until(lambda: "Headquarters still has to confirm 4 of them" in visit.get("/state"), timeout_s=120)
        wait_until(lambda: "sending" in shown.read_text().split(), timeout_s=60)
        words = shown.read_text().split()
        assert words[0] == "waiting"
        assert set(words) <= {"waiting", "reading", "sending"}
        visit.sign_in("111111")
        assert gateway.end() == 0
        assert "Traceback" not in gateway.log()
        for file in [tmp_path / "gateway.log", *gateway.data.glob("logs/*")]:
            assert PIN not in file.read_text()


def test_a_port_that_is_taken_keeps_no_card_from_being_read(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, alone(tmp_path) as gateway:
        gateway.start(page_port=taken.getsockname()[1], log_level="warning")
        gateway.insert("card")
        gateway.wait_ledger("SELECT count(*) FROM reading WHERE state = 'complete'", 1)
        gateway.wait_log("the page cannot listen on")
        assert gateway.end() == 0


def test_without_a_port_there_is_no_page(tmp_path: Path) -> None:
    with alone(tmp_path) as gateway:
        gateway.start(page_port=0)
        gateway.wait_log("edge hub not reached")
        assert gateway.end() == 0
        assert "page" not in gateway.log()
