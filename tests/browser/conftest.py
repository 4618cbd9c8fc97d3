"""The pages served by waitress, with pictures in Azurite, looked at through Debian's chromium."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import waitress
from azure.storage.blob import BlobServiceClient
from playwright.sync_api import Browser, Page, sync_playwright
from sqlalchemy import select

from cloud_sync import schema
from cloud_sync.accounts import Role
from cloud_sync.migrate import migrate
from cloud_sync.settings import WebSettings
from cloud_sync.store import Store
from cloud_sync.web.app import create_app, services_of
from edge_module.domain import Fate
from tests.hq_data import Filled, fill
from tests.hq_site import KEY, PASSWORD, Site
from tests.local_azure import LocalAzure, local_azure  # noqa: F401 - fixture

CHROMIUM = shutil.which("chromium")
ARGUMENTS = (
    "--no-sandbox",  # the tests may run as root
    "--use-gl=angle",
    "--use-angle=swiftshader",  # there is no graphics card
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
)
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 800}
MAP_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running site and what is in it."""

    url: str
    site: Site
    filled: Filled

    def picture(self, fate: Fate, *, stored: bool) -> str:
        """The address of a picture's page."""
        media_ids = self.filled.pictures
        table = schema.records.c
        among = table.media_id.in_(media_ids) if stored else table.media_id.not_in(media_ids)
        with self.site.services.engine.begin() as connection:
            query = select(table.record_key).where(table.fate == fate, among, table.deployment_key.is_not(None))
            return f"/pictures/{bytes(connection.execute(query.limit(1)).scalar_one()).hex()}"


@dataclass(slots=True)
class Visit:
    """A page in a browser, and what it complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        self.page.goto(path, wait_until="load")

    def map_is_drawn(self) -> None:
        self.page.wait_for_selector("#map[data-drawn]", timeout=MAP_MS)


@pytest.fixture(scope="session")
def served(local_azure: LocalAzure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:  # noqa: F811
    url = f"sqlite:///{tmp_path_factory.mktemp('served')}/hq.db"
    storage = local_azure.service_env["STORAGE_CONNECTION_STRING"]
    store = Store(url)
    migrate(store.engine)
    with BlobServiceClient.from_connection_string(storage) as service:
        filled = fill(store, blobs=service, drawn=3)
    store.close()
    services = services_of(WebSettings.read({"PONYA_DATABASE_URL": url, "STORAGE_CONNECTION_STRING": storage}))
    app = create_app(services, key=KEY)
    site = Site(services=services, app=app)
    for role in Role:
        site.account(role.value, role)
    server = waitress.create_server(app, host="127.0.0.1", port=0, threads=4)
    thread = threading.Thread(target=server.run, name="waitress")
    thread.start()
    try:
        yield Served(url=f"http://127.0.0.1:{server.effective_port}", site=site, filled=filled)
    finally:
        server.close()
        thread.join(10)
        server.task_dispatcher.shutdown()
        services.engine.dispose()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser. Not for the session: while Playwright's synchronous interface is open, no other event loop can run."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian: chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def signed_in(served: Served, chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> dict[Role, Path]:
    """Cookies by role: signing in is rate-limited, and hashing costs time."""
    folder = tmp_path_factory.mktemp("cookies")
    states = {}
    for role in Role:
        context = chromium.new_context(base_url=served.url)
        page = context.new_page()
        page.goto("/sign-in")
        page.fill("#name", role.value)
        page.fill("#password", PASSWORD)
        page.click("main button")
        page.wait_for_url("**/")
        states[role] = folder / f"{role}.json"
        context.storage_state(path=states[role])
        context.close()
    return states


@pytest.fixture
def visit(
    request: pytest.FixtureRequest, served: Served, chromium: Browser, signed_in: dict[Role, Path]
) -> Iterator[Visit]:
    """A visit as a coordinator at a desk; ``indirect`` parameters: (role, viewport)."""
    role, viewport = getattr(request, "param", (Role.COORDINATOR, DESK))
    context = chromium.new_context(base_url=served.url, viewport=viewport, storage_state=signed_in[role])
    visit = Visit(page=context.new_page())
    visit.page.on("console", lambda m: visit.complaints.append(m.text) if m.type in ("error", "warning") else None)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    yield visit
    context.close()
