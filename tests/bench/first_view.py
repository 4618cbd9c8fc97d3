"""``python -m tests.bench.first_view``: how long the first view of the map takes over 1 Mbit/s, in a real browser.

A proxy on this machine lets bytes through at that pace in both directions together, workers' included, each answer
after 50 ms. Needs Chromium. Never a test: a time that is asserted fails on somebody else's machine.
"""

import asyncio
import contextlib
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

import waitress
from playwright.sync_api import Browser, sync_playwright

from cloud_sync.accounts import Role
from cloud_sync.migrate import migrate
from cloud_sync.settings import WebSettings
from cloud_sync.store import Store
from cloud_sync.web.app import create_app, services_of
from tests.browser.conftest import ARGUMENTS, DESK, PASSWORD
from tests.hq_data import fill
from tests.hq_site import KEY, NO_STORAGE, Site

_BYTES_PER_S: Final = 125_000
_LATENCY_S: Final = 0.05
_CHUNK_BYTES: Final = 4096
_ROUNDS: Final = 5


class _Link:
    """A slow line to a port."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free_at = 0.0
        self.carried_bytes = 0
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._carry(reader, onward_writer), self._carry(onward_reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            fresh = True
            while chunk := await reader.read(_CHUNK_BYTES):
                now = self._loop.time()
                self._free_at = max(self._free_at, now) + len(chunk) / _BYTES_PER_S
                self.carried_bytes += len(chunk)
                await asyncio.sleep(self._free_at - now + (_LATENCY_S if fresh else 0))
                fresh = len(chunk) < _CHUNK_BYTES
                writer.write(chunk)
        writer.close()


@contextlib.contextmanager
def _site() -> Iterator[int]:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/hq.db"
        store = Store(url)
        migrate(store.engine)
        fill(store)
        store.close()
        services = services_of(WebSettings.read({"PONYA_DATABASE_URL": url, "STORAGE_CONNECTION_STRING": NO_STORAGE}))
        app = create_app(services, key=KEY)
        Site(services=services, app=app).account(Role.COORDINATOR.value, Role.COORDINATOR)
        server = waitress.create_server(app, host="127.0.0.1", port=0, threads=8)
        threading.Thread(target=server.run, daemon=True).start()
        yield server.effective_port
        server.close()
        services.engine.dispose()


def _visit(browser: Browser, url: str, cookies: Path) -> tuple[float, float]:
    """Seconds until the list is painted, and until the map is drawn."""
    context = browser.new_context(base_url=url, viewport=DESK, storage_state=cookies)
    page = context.new_page()
    began_s = time.monotonic()
    page.goto("/", wait_until="commit")
    page.wait_for_selector("#map[data-drawn]", timeout=120_000)
    drawn_s = time.monotonic() - began_s
    painted_ms: float = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    listed_s = painted_ms / 1000
    context.close()
    return listed_s, drawn_s


def main() -> None:
    """Measure, and print one JSON object."""
    with (
        _site() as port,
        contextlib.closing(_Link(port)) as link,  # before Playwright, whose own loop then runs in this thread
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
        cookies = Path(folder) / "cookies.json"
        with browser.new_context(base_url=f"http://127.0.0.1:{port}") as context:
            page = context.new_page()
            page.goto("/sign-in")
            page.fill("#name", Role.COORDINATOR.value)
            page.fill("#password", PASSWORD)
            page.click("main button")
            page.wait_for_url("**/")
            context.storage_state(path=cookies)
        direct = [_visit(browser, f"http://127.0.0.1:{port}", cookies) for _ in range(_ROUNDS)]
        slow = [_visit(browser, f"http://127.0.0.1:{link.port}", cookies) for _ in range(_ROUNDS)]
        browser.close()
    print(  # noqa: T201 - a command line prints
        json.dumps(
            {
                "list_s": round(median(listed for listed, _ in slow), 2),
                "map_s": round(median(drawn for _, drawn in slow), 2),
                "map_s_least": round(min(drawn for _, drawn in slow), 2),
                "map_s_without_the_link": round(median(drawn for _, drawn in direct), 2),
                "kb_carried": round(link.carried_bytes / _ROUNDS / 1000),
            }
        )
    )


if __name__ == "__main__":
    main()
