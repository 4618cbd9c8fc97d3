"""The command for a lamp: one word whenever it changes, whatever the command does."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_module.errors import ConfigError
from edge_module.lamp import Lamp
from edge_module.settings import BY_NAME, combine
from tests.gateway_cards import LIMIT_S, wait_until


@contextmanager
def shining(command: str, word: list[str]) -> Iterator[Lamp]:
    stop, lamp = threading.Event(), Lamp(command, lambda: word[0])
    thread = threading.Thread(target=lamp.run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield lamp
    finally:
        stop.set()
        lamp.wake()
        thread.join(LIMIT_S)
    assert not thread.is_alive()


def lines(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


def test_each_word_is_shown_once(tmp_path: Path) -> None:
    shown, word = tmp_path / "shown", ["waiting"]
    command = tmp_path / "lamp"
    command.write_text(f"#!/bin/sh\necho $1 $2 >> '{shown}'\n")
    command.chmod(0o755)
    with shining(f"{command} green", word) as lamp:
        wait_until(lambda: lines(shown) == ["green", "waiting"], lambda: str(lines(shown)))
        lamp.wake()
        word[0] = "reading"
        lamp.wake()
        wait_until(lambda: lines(shown)[2:] == ["green", "reading"], lambda: str(lines(shown)))


@pytest.mark.parametrize("command", ["/absent/lamp", "false", "'", "/"])
def test_a_command_that_fails_is_said_once_and_tried_again(
    command: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = threading.Semaphore(0)

    def word() -> str:
        asked.release()
        return "safe"

    stop, lamp = threading.Event(), Lamp(command, word)
    thread = threading.Thread(target=lamp.run, args=(stop,), daemon=True)
    with caplog.at_level(logging.WARNING, "edge_module.lamp"):
        thread.start()
        for _ in range(3):
            assert asked.acquire(timeout=LIMIT_S)
            lamp.wake()
        stop.set()
        lamp.wake()
        thread.join(LIMIT_S)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("signal_command")


def test_the_command_is_never_set_from_afar_and_the_pin_never_shown() -> None:
    settings = combine(("twin", {"page_pin": "271828"}))
    for name in ("signal_command", "page_address", "page_port", "bundles_dir"):
        assert not BY_NAME[name].twin, name
    assert settings.shown(BY_NAME["page_pin"]) == "set"
    for wrong in ("12345", "1" * 13, "27182x", 271828, "\u0968\u096d\u0967\u096e\u0968\u096e"):
        with pytest.raises(ConfigError) as refused:
            combine(("twin", {"page_pin": wrong}))
        assert str(wrong) not in str(refused.value)
