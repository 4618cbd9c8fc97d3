"""The pages as people have them before their eyes and under their fingers."""

import io
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from cloud_sync.accounts import Role
from edge_module.domain import Fate

from tests.browser.conftest import ARGUMENTS, CHROMIUM, DESK, PHONE, Served, Visit  # isort: skip

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
SEEING = [(Role.COORDINATOR, DESK), (Role.VIEWER, DESK), (Role.COORDINATOR, PHONE), (Role.VIEWER, PHONE)]
NAMED = [f"{role}-{viewport['width']}px" for role, viewport in SEEING]
FIRST_VIEW_MAX_BYTES = 700_000


def pages(served: Served) -> dict[str, str]:
    camera = next(d for d in served.filled.deployments if d.label == "Maple canopy").key
    gone = served.filled.deployments[-1].key
    return {
        "map": "/",
        "map with a filter": f"/?camera={camera}&from=2026-10-01&heat=1",
        "cameras": "/cameras",
        "form": "/cameras/new",
        "changing": f"/cameras/{camera}/edit",
        "pictures": f"/cameras/{camera}",
        "an empty tab": f"/cameras/{gone}?tab=panda",
        "without a camera": "/cameras/unassigned",
        "picture": served.picture(Fate.PANDA, stored=True),
        "picture not sent": served.picture(Fate.BLANK, stored=False),
        "gateways": "/gateways",
        "gateway": "/gateways/gateway-1",
        "a gateway that is new": "/gateways/gateway-3",
        "alerts": "/alerts",
        "password": "/password",
        "nothing": "/nothing",
    }


def grave(page: Page) -> list[str]:
    """axe-core's findings of level serious or worse."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{page.url}: {v['id']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for v in found["violations"]
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
    ]


@pytest.mark.parametrize("visit", SEEING, ids=NAMED, indirect=True)
def test_every_page_is_accessible_fits_the_screen_and_complains_of_nothing(served: Served, visit: Visit) -> None:
    findings: list[str] = []
    for name, path in pages(served).items():
        visit.open(path)
        if name.startswith("map"):
            visit.map_is_drawn()
        findings += grave(visit.page)
        wide = visit.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        findings += [f"{name}: {wide} px wider than the screen"] if wide > 0 else []
    # A page that is refused or missing says so on the console too; that is no fault.
    visit.complaints = [c for c in visit.complaints if "status of 40" not in c]
    assert findings + visit.complaints == []


def test_the_sign_in_page_is_accessible_and_says_what_is_wrong(served: Served, chromium: Browser) -> None:
    context = chromium.new_context(base_url=served.url, viewport=PHONE)
    page = context.new_page()
    page.goto("/gateways")
    assert grave(page) == []
    page.fill("#name", "nobody")
    page.fill("#password", "guess")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Name and password do not match. Please try again.")
    assert grave(page) == []
    context.close()


@pytest.mark.parametrize("visit", SEEING[::3], ids=NAMED[::3], indirect=True)
def test_the_map_draws_land_and_cameras(visit: Visit) -> None:
    visit.open("/")
    visit.map_is_drawn()
    canvas = visit.page.locator("#map canvas")
    picture = Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")
    colours = Counter(picture.get_flattened_data())
    assert colours[0xF4, 0xF1, 0xE6] > 0.4 * picture.width * picture.height  # land
    assert colours[0xB3, 0x3A, 0x10] > 50  # cameras that have seen a panda
    assert len(colours) > 100  # borders and letters
    assert visit.complaints == []


def test_a_tap_on_a_camera_opens_its_pictures(served: Served, visit: Visit) -> None:
    camera = served.filled.deployments[1]
    visit.open(f"/?camera={camera.key}")
    visit.map_is_drawn()
    canvas = visit.page.locator("#map canvas").bounding_box()
    assert canvas
    visit.page.mouse.click(canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2)
    visit.page.wait_for_url(f"**/cameras/{camera.key}")
    expect(visit.page.get_by_role("heading", name=camera.label)).to_be_visible()
    tabs = visit.page.get_by_role("navigation", name="Pictures").get_by_role("link")
    assert [text.split()[0] for text in tabs.all_inner_texts()] == ["All", "Panda", "Not", "To"]


def test_the_filter_follows_without_a_new_page_and_stands_in_the_address(served: Served, visit: Visit) -> None:
    visit.open("/")
    visit.map_is_drawn()
    visit.page.evaluate("globalThis.stayed = true")
    before = visit.page.locator("#map").get_attribute("data-features")
    camera = served.filled.deployments[0]
    with visit.page.expect_response(lambda r: "map.geojson" in r.url):
        visit.page.select_option("#camera", label=camera.label)
    expect(visit.page.locator(".camera-row")).to_have_count(1)
    expect(visit.page.locator("#map")).not_to_have_attribute("data-features", str(before))
    assert parse_qs(urlparse(visit.page.url).query) == {"camera": [camera.key]}
    assert "map=" in urlparse(visit.page.url).fragment
    assert visit.page.evaluate("globalThis.stayed") is True
    visit.page.reload()
    expect(visit.page.locator(".camera-row")).to_have_count(1)
    visit.page.go_back()
    expect(visit.page.locator(".camera-row")).to_have_count(len(served.filled.deployments))


def test_a_picture_is_seen(served: Served, visit: Visit) -> None:
    visit.open(served.picture(Fate.PANDA, stored=True))
    picture = visit.page.locator("img.picture")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.complete && image.naturalWidth") == 960


def test_a_coordinator_adds_a_camera(served: Served, visit: Visit) -> None:
    page = visit.page
    visit.open("/cameras")
    page.get_by_role("link", name="Add a camera").click()
    page.fill("#deploymentID", "by-hand-1")
    page.fill("#locationName", "<b>By hand</b>")
    page.fill("#latitude", "86.5")
    page.fill("#longitude", "27.9")
    page.fill("#deploymentStart", "2026-11-01T09:30")
    page.fill("#cameraID", "BY-HAND")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("look swapped: did you mean latitude 27.9, longitude 86.5?")).to_be_visible()
    assert grave(page) == []
    page.fill("#latitude", "27.9")
    page.fill("#longitude", "86.5")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("<b>By hand</b> is saved")
    saved = page.url
    page.get_by_role("link", name="Change").click()
    page.get_by_text("Remove this deployment").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("status")).to_contain_text("is removed")
    assert served.site.services.deployments.get(saved.rpartition("/")[2]) is None


def test_without_scripts_the_list_and_the_filter_work(
    served: Served, chromium: Browser, signed_in: dict[Role, Path]
) -> None:
    context = chromium.new_context(
        base_url=served.url, storage_state=signed_in[Role.VIEWER], java_script_enabled=False, viewport=PHONE
    )
    page = context.new_page()
    page.goto("/")
    assert page.locator(".camera-row").count() == len(served.filled.deployments)
    page.select_option("#camera", label="Fir saddle")
    page.get_by_role("button", name="Show").click()
    assert page.locator(".camera-row").count() == 1
    context.close()


def test_without_webgl_the_page_says_so_and_the_list_works(
    served: Served, chromium: Browser, signed_in: dict[Role, Path]
) -> None:
    # Drawing is switched off for a whole browser: a second one.
    plain = chromium.browser_type.launch(executable_path=CHROMIUM, args=[*ARGUMENTS[:1], "--disable-3d-apis"])
    page = plain.new_context(base_url=served.url, storage_state=signed_in[Role.VIEWER]).new_page()
    page.goto("/")
    expect(page.locator("#map-wait")).to_contain_text("The map cannot be drawn here", timeout=30_000)
    page.select_option("#camera", label="Fir saddle")
    expect(page.locator(".camera-row")).to_have_count(1)
    plain.close()


def test_the_first_view_is_light_and_the_second_comes_from_the_cache(visit: Visit) -> None:
    session = visit.page.context.new_cdp_session(visit.page)
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    session.send("Network.enable")
    visit.open("/")
    visit.map_is_drawn()
    first = sum(sizes)
    # What a worker fetches does not appear among a page's requests: MapLibre's own is counted by its answer.
    worker = visit.page.locator("#map").get_attribute("data-worker")
    head = visit.page.request.head(str(worker), headers={"Accept-Encoding": "gzip"})
    packed = int(head.headers["content-length"])
    assert 300_000 < first + packed < FIRST_VIEW_MAX_BYTES
    sizes.clear()
    visit.page.reload()
    visit.map_is_drawn()
    assert sum(sizes) < 0.1 * first


def test_nothing_is_asked_of_anybody_else(served: Served, visit: Visit) -> None:
    asked: list[str] = []
    visit.page.context.on("request", lambda request: asked.append(request.url))
    for path in pages(served).values():
        visit.open(path)
    others = {url for url in asked if not url.startswith((served.url, "data:", "blob:"))}
    assert others == set()
    assert len(asked) > 30
