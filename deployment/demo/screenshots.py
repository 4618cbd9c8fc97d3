"""``make screenshots``: pictures of the running demonstration, for README; they show drawings of the project's own.

Needs Chromium (Debian: ``apt-get install chromium``).
"""

import argparse
import io
import secrets
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

from cloud_sync.accounts import Role
from deployment.demo.demo import Options, Running, running
from deployment.demo.errors import DemoError
from edge_module.errors import PonyaError

_DESK: Final = ViewportSize(width=1280, height=800)
_PHONE: Final = ViewportSize(width=390, height=844)
_PATIENCE_S: Final = 120.0
_MAX_BYTES: Final = 200_000
_COLOURS: Final = (None, 256, 128, 64, 32)
_CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")
_WEBGL_WITHOUT_GPU: Final = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def take(demo: Running, folder: Path, chromium: str) -> None:
    """Sign in as the coordinator, and as the technician beside the gateway, and take every picture.

    Args:
        demo: that runs.
        folder: to write to.
        chromium: the program.
    """
    address, password = demo.address, demo.passwords[Role.COORDINATOR]
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=_WEBGL_WITHOUT_GPU) as browser,
    ):
        with browser.new_context(base_url=address, viewport=_DESK) as context:
            page = context.new_page()
            _sign_in(page, password)
            for name, show in _VIEWS.items():
                show(page)
                _save(page, folder / f"{name}.png")
        with browser.new_context(
            base_url=demo.page_address, viewport=_PHONE, is_mobile=True, has_touch=True, locale="ne-NP"
        ) as context:
            page = context.new_page()
            page.goto("/")
            page.fill("#pin", demo.pin)
            page.click("main button")
            expect(page.locator("section.card.safe")).to_be_visible(timeout=60_000)
            _save(page, folder / "gateway-page.png")


def _sign_in(page: Page, one_time: str) -> None:
    page.goto("/sign-in")
    page.fill("#name", Role.COORDINATOR.value)
    page.fill("#password", one_time)
    page.click("main button")
    password = secrets.token_urlsafe(24)
    for field, value in {"old": one_time, "new": password, "again": password}.items():
        page.fill(f"#{field}", value)
    page.click("main button")


def _show_map(page: Page) -> None:
    page.goto("/")
    expect(page.locator("#map")).to_have_attribute("data-drawn", "true", timeout=60_000)


def _show_picture(page: Page) -> None:
    page.goto("/cameras")
    page.get_by_role("link", name="Invented ridge").first.click()
    page.locator("a[href^='/pictures/']").last.click()


_VIEWS: Final[dict[str, Callable[[Page], None]]] = {
    "map": _show_map,
    "picture": _show_picture,
}


def _save(page: Page, path: Path) -> None:
    """Save what is seen, with as many colours as fit into `_MAX_BYTES`: all of them, if they do."""
    page.wait_for_load_state("networkidle")
    with Image.open(io.BytesIO(page.screenshot())) as opened:
        seen = opened.convert("RGB")
        for colours in _COLOURS:
            out = io.BytesIO()
            (seen.quantize(colours) if colours else seen).save(out, "PNG", optimize=True)
            if len(out.getvalue()) <= _MAX_BYTES:
                break
    path.write_bytes(out.getvalue())


def main() -> int:
    """Run the demonstration, take the pictures, end it."""
    parser = argparse.ArgumentParser(prog="python -m deployment.demo.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"), metavar="DIR", help="default: docs/images")
    folder = parser.parse_args().out
    options = Options(card="", once=True, state=Path("build/screenshots"), port=0, patience_s=_PATIENCE_S)
    try:
        chromium = next(filter(None, map(shutil.which, _CHROMIUM)), None)
        if chromium is None:
            raise DemoError("Chromium is missing; Debian has it: apt-get install chromium")
        folder.mkdir(parents=True, exist_ok=True)
        with running(options) as demo:
            demo.watch(patience_s=options.patience_s)
            take(demo, folder, chromium)
    except PonyaError as exc:
        print(f"screenshots: {exc}", file=sys.stderr)  # noqa: T201 - a command line prints
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
