"""A lamp beside the card slot, or whatever a command can do: it is called with one word whenever that changes."""

import logging
import shlex
import subprocess
import threading
from collections.abc import Callable
from typing import Final

_log = logging.getLogger(__name__)

_LONGEST_S: Final = 10.0
_EVERY_S: Final = 10.0
"""Some words change with time alone, as when a link turns out to be slow."""
_PAUSE_S: Final = 1.0


class Lamp:
    """Calls the command in a thread of its own; `wake` may be called from any.

    Args:
        command: as a shell would split it, without a shell.
        word: what to show now.
    """

    def __init__(self, command: str, word: Callable[[], str]) -> None:
        self._command = command
        self._word = word
        self._wake = threading.Event()
        self._told = False

    def wake(self) -> None:
        """The word may have changed."""
        self._wake.set()

    def run(self, stop: threading.Event, *, beat: Callable[[], None] = lambda: None) -> None:
        """Show until told to stop; the last word then is not taken back."""
        shown = ""
        while not stop.is_set():
            beat()
            self._wake.clear()
            word = self._word()
            if word != shown and self._call(word):
                shown = word
            if not stop.wait(_PAUSE_S):
                self._wake.wait(_EVERY_S)

    def _call(self, word: str) -> bool:
        try:
            done = subprocess.run(  # noqa: S603 - the owner of the gateway wrote it; never from afar
                [*shlex.split(self._command), word], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, timeout=_LONGEST_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            self._fault(f"took longer than {_LONGEST_S:.0f} s")
        except (OSError, ValueError) as exc:
            self._fault(str(exc))
        else:
            if done.returncode == 0:
                self._told = False
                return True
            self._fault(f"ended with status {done.returncode}")
        return False

    def _fault(self, why: str) -> None:
        """Said once, until it has worked again."""
        if not self._told:
            _log.warning("signal_command %s", why)
        self._told = True
