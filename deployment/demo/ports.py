"""The port of the demonstration's pages."""

import contextlib
import fcntl
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deployment.demo.errors import DemoError

WEB_PORT: Final = 8080
_PORTS_TRIED: Final = 20


@contextlib.contextmanager
def claimed_port(wanted: int) -> Iterator[int]:
    """The port that was asked for, or the first free one from `WEB_PORT` on; no other demonstration takes it meanwhile.

    It is long until the pages listen there: a port that is only found free may be gone by then.
    """
    for port in [wanted] if wanted else range(WEB_PORT, WEB_PORT + _PORTS_TRIED):
        with contextlib.suppress(OSError, OverflowError), contextlib.ExitStack() as claimed:
            claim = claimed.enter_context((Path(tempfile.gettempdir()) / f"ponya-demo-{port}.lock").open("a"))
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
            held = claimed.pop_all()
            break
    else:
        if wanted:
            raise DemoError(
                f"port {wanted} cannot be had, something else uses it: choose another, or none for a free one"
            )
        raise DemoError(f"ports {WEB_PORT} to {WEB_PORT + _PORTS_TRIED - 1} are all in use: choose another")
    with held:
        yield port
