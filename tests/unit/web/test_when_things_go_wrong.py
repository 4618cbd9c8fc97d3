"""Forged forms, pictures that are gone, a database that is away: the right status, a clear page, nothing half-done."""

import hashlib
import io
import json
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient
from PIL import Image
from sqlalchemy import select

from cloud_sync import schema
from cloud_sync.__main__ import main
from cloud_sync.accounts import Role
from cloud_sync.deployments_telling import Teller, tell_all
from cloud_sync.migrate import migrate
from cloud_sync.store import Store
from cloud_sync.web import blobs
from cloud_sync.web.app import cookie_key
from cloud_sync.web.security import policy
from edge_module.errors import ConfigError, MediaError
from tests.databases import PostgreSQL
from tests.hq_data import Filled, fill
from tests.hq_site import MakeSite, Site
from tests.local_azure import LocalAzure, wait_until


def test_a_form_from_elsewhere_is_refused_and_nothing_is_done(site: Site, filled: Filled) -> None:
    browser = site.signed_in(Role.COORDINATOR)
    before = site.services.deployments.all()
    key = filled.deployments[0].key
    for path in (
        "/cameras/new",
        f"/cameras/{key}/edit",
        f"/cameras/{key}/remove",
        "/sign-out",
        "/password",
        "/sign-in",
    ):
        for token in ({}, {"csrf_token": ""}, {"csrf_token": "IjEi.aaaa.bbbb"}):
            answer = browser.client.post(path, data={"deploymentID": "forged", **token})
            assert answer.status_code == 400
            assert "This form was not sent from this site" in answer.text
    assert site.services.deployments.all() == before
    assert browser.get("/").status_code == 200


def test_a_token_of_another_session_is_forged_too(site: Site) -> None:
    thief, asha = site.signed_in(Role.VIEWER), site.signed_in(Role.COORDINATOR)
    token = thief.get("/password").text.split('name="csrf_token" value="')[1].split('"')[0]
    assert asha.client.post("/sign-out", data={"csrf_token": token}).status_code == 400


def test_a_form_that_is_too_large_is_refused(site: Site) -> None:
    answer = site.browser().post("/sign-in", name="x" * 100_000, password="x")
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/pictures/" + "0" * 64,
        "/pictures/..%2f..%2fetc%2fpasswd",
        "/pictures/' OR 1=1 --",
        "/cameras/../../etc/passwd",
        "/cameras/%3Cscript%3Ealert(1)%3C/script%3E",
        "/gateways/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/gateways/..%2f..",
        "/media/" + "0" * 64 + "/frame.jpg",
        "/media/" + "0" * 64 + "/original.jpg",
        "/media/..%2f..%2fetc/frame.jpg",
        "/static/0123456789ab/app.css",
        "/static/0123456789ab/../../app.py",
    ],
)
def test_what_is_not_there_is_a_404(site: Site, path: str) -> None:
    answer = site.signed_in(Role.VIEWER).get(path)
    assert answer.status_code == 404
    assert "Not here" in answer.text
    assert "<script>alert" not in answer.text


@pytest.mark.parametrize(
    "query", ["tab=everything", "before=x", "before=1~00", "before=99999999999999999999999999~" + "0" * 64]
)
def test_a_listing_that_is_asked_for_nonsense_is_a_400(site: Site, query: str) -> None:
    assert site.signed_in(Role.VIEWER).get(f"/cameras/unassigned?{query}").status_code == 400


def test_a_method_that_is_not_meant_is_a_405(site: Site) -> None:
    assert site.signed_in(Role.VIEWER).client.delete("/healthz").status_code == 405


def test_every_answer_carries_the_headers(site: Site) -> None:
    browser = site.signed_in(Role.VIEWER)
    for path in (
        "/",
        "/nothing",
        "/sign-in",
        "/api/v1/map.geojson",
        "/healthz",
        site.app.jinja_env.globals["asset"]("app.css"),
    ):
        headers = browser.get(path).headers
        assert headers["Content-Security-Policy"] == policy(())
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert ("immutable" in headers["Cache-Control"]) == path.startswith("/static/")
        assert "no-store" in headers["Cache-Control"] or path.startswith("/static/")
    assert "unsafe" not in policy(())
    assert "default-src 'none'" in policy(())


def test_a_style_of_ones_own_is_let_in_and_nothing_else(site: Site, make_site: MakeSite) -> None:
    url = site.services.settings.database_url
    own = make_site(
        url, PONYA_MAP_STYLE_URL="https://tiles.example.org/style.json", PONYA_MAP_ORIGINS="https://a.example"
    )
    browser = own.signed_in(Role.VIEWER)
    page = browser.get("/")
    assert 'data-style="https://tiles.example.org/style.json"' in page.text
    csp = page.headers["Content-Security-Policy"]
    assert "connect-src 'self' https://a.example https://tiles.example.org;" in csp
    assert "script-src 'self';" in csp


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PONYA_WEB_URL", "ponya.example.org"),
        ("PONYA_MAP_ORIGINS", "https://a.example; script-src *"),
        ("PONYA_MAP_STYLE_URL", "javascript:alert(1)"),
        ("PONYA_SURVEY_BOX", "105,24,78,35"),
        ("PONYA_SURVEY_BOX", "everywhere"),
        ("PONYA_WEB_PROXIES", "1.5"),
        ("PONYA_SESSION_HOURS", "nan"),
        ("PONYA_UTC_OFFSET_MIN", "9000"),
    ],
)
def test_a_wrong_setting_is_named(make_site: MakeSite, name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name.replace("STYLE_URL", "ORIGINS")):
        make_site("sqlite://", **{name: value})


def test_the_cookie_key_is_made_once_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = cookie_key(path)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert cookie_key(path) == key
    path.write_bytes(b"")
    with pytest.raises(ConfigError, match="is no key"):
        cookie_key(path)


# --- the database is away -----------------------------------------------------------------------------------------


def test_a_database_that_is_away_is_a_503_and_comes_back(postgresql: PostgreSQL, make_site: MakeSite) -> None:
    name = postgresql.new_database()
    site = make_site(name)
    browser = site.signed_in(Role.COORDINATOR)
    assert browser.get("/readyz").status_code == 200
    postgresql.stop()
    try:
        for path in ("/", "/cameras", "/cameras/new", "/gateways/x", "/alerts", "/pictures/" + "0" * 64):
            answer = browser.get(path)
            assert answer.status_code == 503
            assert "The database is away" in answer.text
            assert answer.headers["Retry-After"]
        program = browser.get("/api/v1/map.geojson")
        assert (program.status_code, program.json["title"]) == (503, "The database is away")
        assert browser.post("/sign-in", name="asha", password="x").status_code == 503
        assert browser.get("/readyz").status_code == 503
        assert browser.get("/healthz").status_code == 200
    finally:
        postgresql.restart()
    assert browser.get("/").status_code == 200


def test_what_the_database_has_no_text_for_is_a_400(postgresql: PostgreSQL, make_site: MakeSite) -> None:
    site = make_site(postgresql.new_database())
    browser = site.signed_in(Role.COORDINATOR)
    assert browser.get("/cameras/a%00b").status_code == 400
    assert browser.get("/gateways/a%00b").status_code == 404
    assert browser.sign_in("a\0b").status_code in {400, 401}


def test_a_database_of_another_form_is_not_ready(tmp_path: Path, make_site: MakeSite) -> None:
    site = make_site(f"sqlite:///{tmp_path}/new.db")
    assert site.browser().get("/readyz").status_code == 503
    migrate(site.services.engine)
    assert site.browser().get("/readyz").status_code == 200


# --- pictures -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictured(local_azure: LocalAzure, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Filled]:
    """A record whose pictures lie in Azurite."""
    url = f"sqlite:///{tmp_path_factory.mktemp('pictured')}/hq.db"
    store = Store(url)
    migrate(store.engine)
    with BlobServiceClient.from_connection_string(local_azure.service_env["STORAGE_CONNECTION_STRING"]) as service:
        filled = fill(store, blobs=service, drawn=2, events_each=6)
    store.close()
    return url, filled


@pytest.fixture
def gallery(pictured: tuple[str, Filled], make_site: MakeSite, local_azure: LocalAzure) -> Site:
    site = make_site(pictured[0], STORAGE_CONNECTION_STRING=local_azure.service_env["STORAGE_CONNECTION_STRING"])
    with site.services.engine.begin() as connection:
        connection.execute(schema.accounts.delete())
    return site


def medium(site: Site, number: int):
    with site.services.engine.begin() as connection:
        return connection.execute(select(schema.media).order_by(schema.media.c.media_id)).all()[number]


def record_of(site: Site, media_id: str) -> str:
    with site.services.engine.begin() as connection:
        query = select(schema.records.c.record_key).where(schema.records.c.media_id == media_id)
        return bytes(connection.execute(query).scalar_one()).hex()


def test_a_picture_is_shown_to_who_is_signed_in(gallery: Site) -> None:
    media = medium(gallery, 0)
    browser = gallery.signed_in(Role.VIEWER)
    whole = browser.get(f"/media/{media.media_id}/frame.jpg")
    assert whole.status_code == 200
    assert hashlib.sha256(whole.data).hexdigest() == media.blob_sha256
    assert whole.mimetype == "image/jpeg"
    assert "sandbox" in whole.headers["Content-Security-Policy"]
    assert "private" in whole.headers["Cache-Control"]
    small = browser.get(f"/media/{media.media_id}/small.jpg")
    assert Image.open(io.BytesIO(small.data)).width == blobs.THUMBNAIL_PX
    assert len(small.data) < 30_000
    page = browser.get(f"/pictures/{record_of(gallery, media.media_id)}").text
    assert f"/media/{media.media_id}/frame.jpg" in page
    assert gallery.browser().get(f"/media/{media.media_id}/frame.jpg").status_code == 303


def test_a_deleted_picture_says_so(gallery: Site) -> None:
    media = medium(gallery, 1)
    gallery.services.blobs._service.get_blob_client(media.container, media.blob_name).delete_blob()
    browser = gallery.signed_in(Role.VIEWER)
    answer = browser.get(f"/media/{media.media_id}/frame.jpg")
    assert answer.status_code == 404
    assert "has been deleted from storage" in answer.text
    page = browser.get(f"/pictures/{record_of(gallery, media.media_id)}")
    assert page.status_code == 200
    assert "has been deleted from storage since" in page.text
    assert "EXIF time, as written" in page.text


def test_a_picture_that_was_changed_afterwards_is_not_shown(gallery: Site) -> None:
    media = medium(gallery, 2)
    blob = gallery.services.blobs._service.get_blob_client(media.container, media.blob_name)
    blob.upload_blob(b"<svg onload=alert(1)>", overwrite=True)
    answer = gallery.signed_in(Role.VIEWER).get(f"/media/{media.media_id}/frame.jpg")
    assert answer.status_code == 404
    assert "changed since it was recorded" in answer.text


def test_an_original_is_for_coordinators_byte_for_byte(gallery: Site) -> None:
    media = medium(gallery, 4)
    content = b"\xff\xd8 as the camera wrote it, with its place"
    row = dict(media._mapping) | {
        "variant": "original",
        "blob_name": f"{media.media_id}/original",
        "blob_sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
    }
    with gallery.services.engine.begin() as connection:
        connection.execute(schema.media.insert(), [row])
    blob = gallery.services.blobs._service.get_blob_client(media.container, row["blob_name"])
    blob.upload_blob(content, overwrite=True)
    path, page = f"/media/{media.media_id}/original", f"/pictures/{record_of(gallery, media.media_id)}"
    viewer = gallery.signed_in(Role.VIEWER)
    assert viewer.get(path).status_code == 403
    assert viewer.get(f"{path}.jpg").status_code == 404
    assert path not in viewer.get(page).text
    coordinator = gallery.signed_in(Role.COORDINATOR)
    assert f'href="{path}"' in coordinator.get(page).text
    answer = coordinator.get(path)
    assert answer.data == content
    assert answer.headers["Content-Disposition"] == f"attachment; filename={media.media_id[:16]}.jpg"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert coordinator.get(f"/media/{'0' * 64}/original").status_code == 404


def test_where_storage_is_away_the_words_remain(gallery: Site, make_site: MakeSite) -> None:
    media = medium(gallery, 3)
    away = make_site(gallery.services.settings.database_url)
    browser = away.signed_in(Role.VIEWER)
    assert browser.get(f"/media/{media.media_id}/frame.jpg").status_code == 503
    page = browser.get(f"/pictures/{record_of(away, media.media_id)}")
    assert page.status_code == 200
    assert "Blob Storage does not answer just now" in page.text


def jpeg(**options: object) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((64, 48), 50).convert("RGB").save(out, "JPEG", **options)
    return out.getvalue()


def test_metadata_never_leaves_even_if_a_gateway_sent_it() -> None:
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (27.0, 42.0, 44.4), 3: "E", 4: (88.0, 6.0, 44.4)}
    exif[0x010E] = "27.712345 88.112345"
    for located in (jpeg(exif=exif.tobytes()), jpeg(comment=b"27.712345 88.112345"), jpeg(xmp=b"<x>27.712345</x>")):
        assert b"27.712345" in located
        for shown in (blobs.without_metadata(located), blobs.thumbnail(located)):
            image = Image.open(io.BytesIO(shown))
            assert b"27.7" not in shown
            assert not image.getexif()
            assert image.size == (64, 48)
    plain = jpeg()
    assert blobs.without_metadata(plain) == plain


@pytest.mark.parametrize(
    "content", [b"", b"<svg onload=alert(1)>", b"GIF89a" + b"\0" * 40, jpeg()[:300], b"\xff\xd8\xff\xe1\xff\xff"]
)
def test_what_is_no_jpeg_is_never_shown(content: bytes) -> None:
    with pytest.raises(MediaError):
        blobs.thumbnail(content)


# --- telling gateways ---------------------------------------------------------------------------------------------


def test_gateways_are_told_by_the_running_pages_and_again_after_an_outage(
    local_azure: LocalAzure, site: Site, make_site: MakeSite
) -> None:
    with local_azure.environment():
        telling = make_site(site.services.settings.database_url, **local_azure.service_env)
        from cloud_sync import azure  # noqa: PLC0415

        registry = azure.registry(local_azure.service_env["IOTHUB_CONNECTION_STRING"])
        teller = telling.services.teller
        assert isinstance(teller, Teller)
        deployments = telling.services.deployments
        assert list(deployments.to_tell()) == ["gateway-1", "gateway-2"]
        outcome = tell_all(deployments, teller._fleet)
        assert "IoT Hub answered 404" in outcome["gateway-1"]  # nobody has registered it there yet
        assert list(deployments.to_tell()) == ["gateway-1", "gateway-2"]
        assert (
            "Not told of their deployments yet: gateway-1, gateway-2"
            in telling.signed_in(Role.VIEWER).get("/cameras").text
        )
        for gateway_id in ("gateway-1", "gateway-2"):
            teller._fleet.register(gateway_id)
        teller.start()
        try:
            wait_until(lambda: not deployments.to_tell(), what="both gateways to be told")
        finally:
            teller.stop()
        desired = registry.get_module_twin("gateway-1", "camtrap").properties.desired
        told = json.dumps(desired["deployments"])
        assert len(desired["deployments"]) == 5
        for deployment in deployments.all():
            assert f"{deployment.position.latitude_deg:.3f}" not in told
            assert deployment.name not in told


@pytest.mark.parametrize("port", ["0", "-1", "65536", "70000", "http", "", "٣"])
def test_a_port_that_is_none_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["web", "--port", port])
    assert ended.value.code == 2
    assert "is no port: 1 to 65535" in capsys.readouterr().err
