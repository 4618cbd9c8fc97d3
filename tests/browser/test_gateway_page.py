"""The gateway's page on a technician's phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from edge_module.places import PlaceState
from tests.browser.test_pages_in_a_browser import grave
from tests.gateway_page import PIN, Served, confirm_all, serving
from tests.pictures import jpeg

from tests.browser.conftest import PHONE  # isort: skip

WAIT_MS = 60_000


@pytest.fixture
def served_page(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as made:
        yield made


def phone(chromium: Browser, served: Served, **options: object) -> BrowserContext:
    return chromium.new_context(base_url=f"http://127.0.0.1:{served.page.port}", viewport=PHONE, **options)  # type: ignore[arg-type]


def sign_in(page: Page) -> None:
    page.goto("/")
    page.get_by_label("PIN").fill(PIN)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


@pytest.mark.parametrize("language", ["en", "ne"])
def test_every_state_is_accessible_and_fits_a_phone(chromium: Browser, served_page: Served, language: str) -> None:
    context = phone(chromium, served_page)
    page, complaints = context.new_page(), []
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    findings = []

    def look() -> None:
        page.reload()
        findings.extend(grave(page))
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        findings.extend([f"{wide} px wider than the screen"] if wide > 0 else [])

    sign_in(page)
    page.goto(f"/language?to={language}")
    assert page.locator("html").get_attribute("lang") == language
    look()
    served_page.gateway.insert("sda1", {"a.jpg": jpeg(1)})
    served_page.gateway.wait("sda1", PlaceState.READ)
    look()
    served_page.connected = False
    served_page.gateway.clock.ahead_s += 300
    look()
    served_page.gateway.insert("twin 1", {"ponya.yml": b"card: x"})
    served_page.gateway.wait("twin 1", PlaceState.READ)
    served_page.gateway.insert("twin 2" + "x" * 200, {"ponya.yml": b"card: x"})
    served_page.gateway.wait("twin 2" + "x" * 200, PlaceState.CONFLICT)
    confirm_all(served_page.gateway)
    served_page.gateway.clock.ahead_s += 10
    look()
    assert page.locator("section.card.safe").count() == 2
    assert page.locator("section.card.error").count() == 1
    context.clear_cookies(name="ponya_session")
    look()
    assert findings + complaints == []
    context.close()


def test_the_page_follows_by_itself_and_what_is_read_aloud_changes_only_with_the_word(
    chromium: Browser, served_page: Served
) -> None:
    context = phone(chromium, served_page)
    page = context.new_page()
    page.goto("/")
    word = page.get_by_role("status")
    expect(word).to_have_text("Put a card in")
    page.evaluate("globalThis.spoken = document.getElementById('word')")
    served_page.gateway.insert("sda1", {"a.jpg": jpeg(1)})
    expect(word).to_have_text("Sending", timeout=WAIT_MS)
    confirm_all(served_page.gateway)
    served_page.gateway.clock.ahead_s += 10
    expect(word).to_have_text("Safe to wipe", timeout=WAIT_MS)
    assert page.evaluate("globalThis.spoken === document.getElementById('word')")
    expect(page.locator("section.card")).to_contain_text("The card may be wiped")
    context.close()


def test_without_scripts_the_page_loads_itself_again(chromium: Browser, served_page: Served) -> None:
    context = phone(chromium, served_page, java_script_enabled=False)
    page = context.new_page()
    sign_in(page)
    served_page.gateway.insert("sda1", {"a.jpg": jpeg(1)})
    expect(page.get_by_role("heading", name="sda1")).to_be_visible(timeout=WAIT_MS)
    context.close()


def test_scripts_in_names_do_not_run(chromium: Browser, served_page: Served) -> None:
    context = phone(chromium, served_page)
    page = context.new_page()
    sign_in(page)
    name = "<img src=x onerror='globalThis.hit=1'>"
    served_page.gateway.insert(name, {"a.jpg": jpeg(1)})
    expect(page.get_by_role("heading", name=name)).to_be_visible(timeout=WAIT_MS)
    assert page.evaluate("globalThis.hit") is None
    context.close()
