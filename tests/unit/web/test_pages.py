"""What people find on the pages, and what no viewer finds on any of them."""

import hashlib
import html
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from sqlalchemy import update

from cloud_sync import geo, schema
from cloud_sync.accounts import Role
from cloud_sync.geo import Position
from cloud_sync.web import gateway_words
from tests.hq_data import Filled
from tests.hq_site import Browser, Site
from tests.unit.test_docs import alert_codes

LINK = re.compile(r'(?:href|src|action|data-[a-z]+)="(/[^"#]*)')


def everything(browser: Browser, start: str = "/") -> dict[str, str]:
    """Every answer that can be reached by following links, and the API; by address."""
    found: dict[str, str] = {}
    todo = [start, "/api/v1/map.geojson", "/cameras/unassigned", "/nothing", "/cameras/new"]
    while todo:
        path = todo.pop().replace("&amp;", "&")
        if path in found or path.startswith(("/static/", "/sign-out")):
            continue
        response = browser.get(path)
        found[path] = f"{response.status_code}\n{response.headers}\n{response.text}"
        todo += LINK.findall(response.text)
    return found


def spellings(position: Position) -> set[str]:
    """How an exact place may be written: any prefix that is sharper than the grid."""
    return {
        f"{value:.{digits}f}" for value in (position.latitude_deg, position.longitude_deg) for digits in (3, 4, 5, 6)
    }


def test_no_answer_to_a_viewer_holds_an_exact_place(site: Site, filled: Filled) -> None:
    viewer = everything(site.signed_in(Role.VIEWER))
    assert len(viewer) > 100
    assert {path.split("/")[1].split("?")[0] for path in viewer} >= {"cameras", "pictures", "gateways", "alerts", "api"}
    exact = set().union(*(spellings(d.position) for d in filled.deployments))
    leaks = {(path, text) for path, answer in viewer.items() for text in exact if text in answer}
    assert leaks == set()
    # The same walk finds them as a coordinator, so that the search itself is known to work.
    coordinator = "".join(everything(site.signed_in(Role.COORDINATOR)).values())
    assert all(f"{d.position.latitude_deg:.5f}" in coordinator for d in filled.deployments)


def test_no_filter_makes_a_viewers_places_sharper(site: Site, filled: Filled) -> None:
    browser = site.signed_in(Role.VIEWER)
    for deployment in filled.deployments:
        cell = geo.shown(deployment.position, Role.VIEWER)
        for query in ({}, {"camera": deployment.key}, {"camera": deployment.key, "from": "2026-10-01"}):
            answer = browser.get("/api/v1/map.geojson?" + urlencode(query)).json
            mine = [f for f in answer["features"] if f["properties"].get("key") == deployment.key]
            assert mine
            assert {tuple(f["geometry"]["coordinates"]) for f in mine} == {(cell.longitude_deg, cell.latitude_deg)}


def test_the_map_says_what_was_seen(site: Site, filled: Filled) -> None:
    answer = site.signed_in(Role.COORDINATOR).get("/api/v1/map.geojson")
    assert answer.mimetype == "application/geo+json"
    cameras = {f["properties"]["label"]: f for f in answer.json["features"] if f["properties"]["kind"] == "camera"}
    assert set(cameras) == {d.label for d in filled.deployments}
    for deployment in filled.deployments:
        camera = cameras[deployment.label]
        place = [deployment.position.longitude_deg, deployment.position.latitude_deg]
        assert camera["geometry"]["coordinates"] == place
        assert camera["properties"]["ended"] == (deployment.label == "Burnt clearing")
    assert cameras["Maple canopy"]["properties"]["state"] == "panda"
    assert cameras["Old cowshed"]["properties"]["panda"] == 0
    sightings = [f for f in answer.json["features"] if f["properties"]["kind"] == "sighting"]
    pandas = sum(f["properties"]["pictures"] for f in sightings)
    assert pandas == sum(c["properties"]["panda"] for c in cameras.values()) > 0
    assert not [f for f in answer.json["features"] if f["properties"]["kind"] == "cell"]


def test_the_answer_travels_compressed(site: Site) -> None:
    browser = site.signed_in(Role.VIEWER)
    plain = browser.get("/api/v1/map.geojson")
    packed = browser.get("/api/v1/map.geojson", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.data) < len(plain.data) / 3


def test_the_filter_stands_in_the_address_and_counts(site: Site, filled: Filled) -> None:
    browser = site.signed_in(Role.VIEWER)
    maple = next(d for d in filled.deployments if d.label == "Maple canopy")
    query = urlencode({"camera": maple.key, "from": "2026-10-01", "to": "2026-10-31"})
    page = browser.get(f"/?{query}").text
    assert f'value="{maple.key}" selected' in page
    assert 'value="2026-10-01"' in page
    [camera] = [
        f for f in browser.get(f"/api/v1/map.geojson?{query}").json["features"] if f["properties"]["kind"] == "camera"
    ]
    whole = browser.get(f"/api/v1/map.geojson?camera={maple.key}").json["features"][0]
    assert 0 < camera["properties"]["pictures"] < whole["properties"]["pictures"]
    empty = browser.get("/?from=2001-01-01&to=2001-01-02").text
    assert "in the days and cameras chosen" in empty
    assert "Maple canopy" in empty


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("from=2026-13-01", "is not a day such as 2026-11-01"),
        ("from=yesterday", "is not a day"),
        ("to=0001-01-01", "out of range"),
        ("to=9999-12-31", "out of range"),
        ("from=2026-11-02&to=2026-11-01", "lies before the first"),
        ("camera=' OR 1=1 --", "asks for a camera that is not known"),
        ("camera=../../etc/passwd", "asks for a camera that is not known"),
        ("camera=<script>alert(1)</script>", "asks for a camera that is not known"),
        ("camera=" + "x" * 4000, "asks for a camera that is not known"),
        ("camera=a%00b", "asks for a camera that is not known"),
    ],
)
def test_a_filter_out_of_range_is_a_clear_400(site: Site, query: str, says: str) -> None:
    browser = site.signed_in(Role.VIEWER)
    page, program = browser.get(f"/?{query}"), browser.get(f"/api/v1/map.geojson?{query}")
    assert page.status_code == program.status_code == 400
    assert says in page.text
    assert says in program.json["detail"]
    assert "<script>alert" not in page.text


def test_tabs_count_and_page_through_every_picture_once(site: Site, filled: Filled) -> None:
    browser = site.signed_in(Role.VIEWER)
    for deployment in filled.deployments[:3]:
        counts, listed = {}, {}
        for tab in ("all", "panda", "not-panda", "to-review"):
            path, seen = f"/cameras/{deployment.key}?tab={tab}", []
            while path:
                page = browser.get(path).text
                seen += re.findall(r'class="tile" href="/pictures/([0-9a-f]{64})"', page)
                older = re.search(r'rel="next" href="([^"]+)"', page)
                path = older[1].replace("&amp;", "&") if older else ""
            shown = re.search(rf'tab={tab}">[^<]*<span class="count">([^<]*)', page)
            counts[tab], listed[tab] = int(shown[1]), seen
        assert counts == {tab: len(seen) for tab, seen in listed.items()}
        assert all(len(set(seen)) == len(seen) for seen in listed.values())
        assert set(listed["all"]) == set(listed["panda"]) | set(listed["not-panda"]) | set(listed["to-review"])
        assert len(listed["all"]) == counts["panda"] + counts["not-panda"] + counts["to-review"]


def test_pictures_without_a_camera_are_listed_with_what_to_do(site: Site) -> None:
    coordinator = site.signed_in(Role.COORDINATOR)
    page = coordinator.get("/cameras").text
    assert "Pictures without a camera" in page
    assert "STRAY-7" in page
    link = re.search(r'href="(/cameras/new\?cameraID=STRAY-7[^"]*)"', page)
    assert 'value="STRAY-7"' in coordinator.get(link[1].replace("&amp;", "&")).text
    strays = coordinator.get("/cameras/unassigned").text
    assert strays.count('class="tile"') == 6  # five others and one unreadable; the ignored file is no picture
    assert "6 pictures</a> belong to no camera" in coordinator.get("/").text


def test_a_picture_says_everything_known_of_it(site: Site, filled: Filled) -> None:
    browser = site.signed_in(Role.COORDINATOR)
    maple = next(d for d in filled.deployments if d.label == "Maple canopy")
    panda = re.search(r'class="tile" href="([^"]+)"', browser.get(f"/cameras/{maple.key}?tab=panda").text)
    page = browser.get(panda[1]).text
    for text in (
        "EXIF time, as written",
        "+05:45, from the gateway\N{RIGHT SINGLE QUOTATION MARK}s setting",
        f"{maple.position.latitude_deg:.5f}, {maple.position.longitude_deg:.5f}",
        "ponya-lite0-v1",
        "HQ-1006",
        "DCIM/",
        "It has not arrived yet: the gateway keeps the original",
    ):
        assert text in page, text
    assert re.search(r"red panda</dt>\s*<dd><meter[^>]*></meter> \d+\.\d %", page)
    assert f"{maple.position.latitude_deg:.3f}" not in site.signed_in(Role.VIEWER).get(panda[1]).text


def test_a_name_hides_nothing_that_turns_the_writing_around(site: Site) -> None:
    browser = site.signed_in(Role.COORDINATOR)
    named = "\u202egpj.exe\u202c/a\nb/\u0939\u093e\u092c\u094d\u200d\u0930\u0947.JPG"
    with site.services.engine.begin() as connection:
        key = connection.execute(schema.records.select().limit(1)).one().record_key
        connection.execute(update(schema.records).where(schema.records.c.record_key == key).values(path=named))
    text = html.unescape(browser.get(f"/pictures/{bytes(key).hex()}").text)
    assert "\\u202egpj.exe\\u202c/a\\nb/\u0939\u093e\u092c\u094d\u200d\u0930\u0947.JPG" in text


def test_a_picture_that_was_never_sent_says_why(site: Site) -> None:
    browser = site.signed_in(Role.VIEWER)
    unassigned = browser.get("/cameras/unassigned").text
    pages = "".join(browser.get(p).text for p in re.findall(r'class="tile" href="([^"]+)"', unassigned))
    assert "The card is the archive" in pages
    assert "the file is cut short" in pages
    assert "could not be read" in pages
    assert "one of 50 discards like it" in pages
    assert "It was drawn for people to look at, and has not arrived yet." in pages
    assert "There may be a person in it: such pictures never leave the gateway." in pages


def test_a_gateways_page_says_what_is_safe_to_wipe(site: Site) -> None:
    page = site.signed_in(Role.VIEWER).get("/gateways/gateway-1").text
    assert "safe to wipe" in page
    assert "do not wipe" in page
    assert "headquarters has not confirmed 3 verdicts" in page
    assert "waiting for a card" in page
    assert "Messages in the queue" in page


def test_every_receipt_balances_on_its_page(site: Site) -> None:
    page = site.signed_in(Role.VIEWER).get("/gateways/gateway-1").text
    balances = re.findall(r"<strong>(\d+) seen</strong> =(.*?)</p>", page, re.DOTALL)
    assert balances
    for seen, classes in balances:
        assert int(seen) == sum(int(n) for n in re.findall(r"(\d+) [a-z]+", classes))


def test_alerts_tell_of_silence_forgery_and_parked_messages(site: Site) -> None:
    page = site.signed_in(Role.COORDINATOR).get("/alerts").text
    for text in (
        "Silent gateways",
        "gateway-3",
        "unknown sender",
        "malformed message",
        "card_error",
        "not-one-of-ours",
    ):
        assert text in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert(1)" not in page
    viewer = site.signed_in(Role.VIEWER).get("/alerts").text
    assert "alert(1)" not in viewer  # nobody knows what stands in it


def test_a_gateway_that_has_just_been_heard_is_not_silent(site: Site) -> None:
    with site.services.engine.begin() as connection:
        connection.execute(update(schema.gateways).values(last_message_at=datetime.now(UTC) - timedelta(hours=25)))
    browser = site.signed_in(Role.VIEWER)
    assert "Silent gateways" not in browser.get("/alerts").text
    with site.services.engine.begin() as connection:
        connection.execute(update(schema.gateways).values(last_message_at=datetime.now(UTC) - timedelta(hours=27)))
    assert browser.get("/alerts").text.count('class="badge bad">silent') == 3


@pytest.mark.parametrize("role", list(Role))
def test_an_empty_system_says_what_to_do_next(empty_site: Site, role: Role) -> None:
    browser = empty_site.signed_in(role)
    assert "No cameras yet" in browser.get("/").text
    assert "deployments import" in browser.get("/").text or role is Role.VIEWER
    assert "gateway add gateway-1" in browser.get("/gateways").text
    assert "No cameras yet" in browser.get("/cameras").text
    assert "Nothing to worry about" in browser.get("/alerts").text
    assert browser.get("/api/v1/map.geojson").json == {"type": "FeatureCollection", "features": []}


# --- the form -----------------------------------------------------------------------------------------------------

GOOD = {
    "deploymentID": "bamboo-9",
    "locationName": "Bamboo nine",
    "latitude": "27.901234",
    "longitude": "86.501234",
    "deploymentStart": "2026-11-10T00:00",
    "deploymentEnd": "",
    "offset": "+05:45",
    "cameraID": "STRAY-7",
    "card": "",
    "gateway": "gateway-1",
    "deploymentComments": "by the stream",
}


def test_a_coordinator_adds_a_camera_and_its_pictures_come_with_it(site: Site) -> None:
    browser = site.signed_in(Role.COORDINATOR)
    saved = browser.post("/cameras/new", **GOOD)
    assert saved.status_code == 303
    page = browser.get(saved.headers["Location"]).text
    assert "Bamboo nine is saved; 5 pictures have found their place." in page
    assert page.count('class="tile"') == 5
    kept = site.services.deployments.get(saved.headers["Location"].rpartition("/")[2])
    assert kept.starts_at.isoformat() == "2026-11-10T00:00:00+05:45"
    assert kept.details == {"deploymentComments": "by the stream"}
    assert "gateway-1" in site.services.deployments.to_tell()


def test_a_change_keeps_what_the_form_does_not_show(site: Site, filled: Filled) -> None:
    browser = site.signed_in(Role.COORDINATOR)
    before = replace(filled.deployments[0], details={"habitat": "fir", "deploymentTags": "canopy", "cameraTilt": "5"})
    site.services.deployments.save([before], by="test")
    path = f"/cameras/{before.key}/edit"
    page = browser.get(path).text
    shown = dict(re.findall(r'name="([A-Za-z]+)" type="[a-z-]+" value="([^"]*)"', page))
    assert shown["latitude"] == str(before.position.latitude_deg)
    saved = browser.post(path, **{**shown, "gateway": before.gateway_id, "locationName": "Renamed"})
    assert saved.status_code == 303, saved.text
    assert site.services.deployments.get(before.key) == replace(before, name="Renamed")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"latitude": "86.501234", "longitude": "27.901234"},
            "swapped: did you mean latitude 27.9012, longitude 86.50",
        ),
        ({"latitude": "95"}, "outside of the area"),
        ({"latitude": ""}, "is not a number in decimal degrees"),
        ({"deploymentStart": ""}, "is needed"),
        ({"offset": "5:45"}, "is no time with its offset"),
        ({"offset": "+99:99"}, "is no time with its offset"),
        ({"deploymentEnd": "2026-01-01T00:00"}, "must be later than deploymentStart"),
        ({"cameraID": ""}, "give the camera&#39;s serial number"),
        ({"cameraID": "HQ-1000"}, "stands at &#39;Rhododendron ridge&#39; and at"),
        ({"gateway": "gateway-9"}, "is not registered"),
        ({"deploymentID": "maple-canopy-2026"}, "is taken"),
        ({"deploymentID": "x" * 300}, "at most 200 characters"),
        ({"locationName": "two\nlines"}, "none of them a control character"),
        ({"locationName": "Bamboo nine (27.9012 N)"}, "gives the place away"),
        ({"deploymentID": "86,50_27,90"}, "gives the place away"),
    ],
)
def test_a_mistake_in_the_form_is_named_and_nothing_is_saved(site: Site, changes: dict[str, str], says: str) -> None:
    browser = site.signed_in(Role.COORDINATOR)
    before = site.services.deployments.all()
    response = browser.post("/cameras/new", **{**GOOD, **changes})
    assert response.status_code == 400
    assert says in response.text
    assert "Nothing has been saved" in response.text
    assert 'value="Bamboo nine"' in response.text or "locationName" in changes  # what was typed is still there
    assert site.services.deployments.all() == before


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "'; DROP TABLE deployments; --", "../../etc/passwd", "{{ 7*7 }}"]
)
def test_a_hostile_name_is_a_name(site: Site, name: str) -> None:
    browser = site.signed_in(Role.COORDINATOR)
    saved = browser.post("/cameras/new", **{**GOOD, "deploymentID": name, "locationName": name})
    assert saved.status_code == 303
    assert re.fullmatch(r"/cameras/[0-9a-f]{16}", saved.headers["Location"])
    for path in ("/", "/cameras", saved.headers["Location"], saved.headers["Location"] + "/edit"):
        text = browser.get(path).text
        assert "<script>alert" not in text
        assert "49" not in re.findall(r"<h1[^>]*>([^<]*)", text)
    assert name in [d.label for d in site.services.deployments.all()]
    feature = browser.get("/api/v1/map.geojson").json["features"]
    assert name in {f["properties"].get("label") for f in feature}


def test_a_viewer_changes_nothing(site: Site, filled: Filled) -> None:
    browser = site.signed_in(Role.VIEWER)
    key = filled.deployments[0].key
    before = site.services.deployments.all()
    for path in ("/cameras/new", f"/cameras/{key}/edit"):
        refused = browser.get(path)
        assert refused.status_code == 403
        assert "Only a coordinator" in refused.text
    for path in ("/cameras/new", f"/cameras/{key}/edit", f"/cameras/{key}/remove"):
        assert browser.post(path, form="/password", **GOOD).status_code == 403
    assert site.services.deployments.all() == before


def test_a_removed_deployment_leaves_its_pictures(site: Site, filled: Filled) -> None:
    browser = site.signed_in(Role.COORDINATOR)
    gone = filled.deployments[0]
    pictures = int(re.search(r'All <span class="count">(\d+)', browser.get(f"/cameras/{gone.key}").text)[1])
    removed = browser.post(f"/cameras/{gone.key}/remove", form=f"/cameras/{gone.key}/edit")
    assert removed.status_code == 303
    assert f"{pictures} pictures have changed their place" in browser.get("/cameras").text
    assert browser.get(f"/cameras/{gone.key}").status_code == 404
    assert gone.camera_id in browser.get("/cameras").text  # among those without a camera
    assert browser.get(f"/cameras/{gone.key}/edit").status_code == 404


def test_every_measure_and_every_alert_has_a_name_for_people() -> None:
    wire = (Path(__file__).parents[3] / "docs" / "wire.md").read_text()
    [table] = re.findall(r"\| measure \| meaning \|\n\|---\|---\|\n((?:\|.*\n)+)", wire)
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(gateway_words.MEASURES)
    assert alert_codes() == set(gateway_words.ALERTS)


def test_a_status_is_written_with_units_and_what_is_new_is_called_what_it_is() -> None:
    told = {"moss": 3, "disk_free_share": 0.055, "cpu_temperature_c": 71.25, "work_lowered": 1, "storage": "full"}
    assert gateway_words.measures(told) == [
        ("State of its disk", "full: no card is read"),
        ("Free share of its disk", "5.5 %"),
        ("Temperature of the processor", "71.2 °C"),
        ("Work lowered for the heat", "yes"),
        ("moss", "3"),
    ]


def test_older_alerts_go_on_where_the_page_ended_even_if_all_came_at_once(site: Site) -> None:
    at = datetime.now(UTC)
    rows = [
        {
            "alert_key": hashlib.sha256(f"alert {n}".encode()).digest(),
            "gateway_id": "gateway-1",
            "source": "hq",
            "code": "job_done",
            "text": f"this is alert {n}.",
            "at": at,
            "received_at": at,
        }
        for n in range(120)
    ]
    with site.services.engine.begin() as connection:
        connection.execute(schema.alerts.insert(), rows)
    browser, path, seen = site.signed_in(Role.VIEWER), "/alerts", list[str]()
    for _ in range(5):
        page = browser.get(path).text
        seen += re.findall(r"this is alert (\d+)\.", page)
        older = re.search(r'href="(/alerts\?before=[^"]+)"', page)
        if older is None:
            break
        path = html.unescape(older[1])
    assert sorted(seen) == sorted(str(n) for n in range(120))
