"""Who gets in, and for how long."""

import re
from datetime import timedelta

import pytest

from cloud_sync import accounts
from cloud_sync.__main__ import main
from cloud_sync.accounts import Role
from cloud_sync.accounts_store import AccountsStore
from edge_module.errors import ConfigError
from tests.hq_site import PASSWORD, Site

A_MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/?camera=x&from=2026-11-01",
        "/cameras",
        "/cameras/new",
        "/cameras/0123456789abcdef",
        "/cameras/0123456789abcdef/edit",
        "/pictures/" + "0" * 64,
        "/media/" + "0" * 64 + "/frame.jpg",
        "/gateways",
        "/gateways/gateway-1",
        "/alerts",
        "/password",
    ],
)
def test_who_is_not_signed_in_is_led_to_the_sign_in_page_and_back(site: Site, path: str) -> None:
    browser = site.browser()
    response = browser.get(path)
    assert response.status_code == 303
    assert response.headers["Location"].startswith("/sign-in")
    site.account("asha", Role.COORDINATOR)
    form = browser.get(response.headers["Location"])
    back = re.search(r'name="next" value="([^"]*)"', form.text)
    assert back
    response = browser.sign_in("asha", next=back[1].replace("&amp;", "&"))
    assert (response.status_code, response.headers["Location"]) == (303, path)


def test_every_page_but_the_open_ones_asks_who_is_there(site: Site) -> None:
    """A page that is added is closed unless somebody opens it on purpose."""
    browser = site.browser()
    open_to_all = set()
    for rule in site.app.url_map.iter_rules():
        path = re.sub(r"<[^>]+>", "x", rule.rule)
        for method in rule.methods - {"OPTIONS", "HEAD"}:
            response = browser.client.open(path, method=method)
            if response.status_code == 401 or response.headers.get("Location", "").startswith("/sign-in"):
                continue
            open_to_all.add(rule.endpoint)
    assert open_to_all == {
        "assets.asset", "assets.favicon", "probes.healthz", "probes.readyz", "sign_in.form", "sign_in.enter",
        "language.choose",
    }  # fmt: skip


def test_a_program_is_told_401(site: Site) -> None:
    response = site.browser().get("/api/v1/map.geojson")
    assert response.status_code == 401
    assert response.json == {"status": 401, "title": "Please sign in", "detail": response.json["detail"]}


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/\n/x"]
)
def test_nobody_is_led_to_another_site(site: Site, target: str) -> None:
    site.account("asha", Role.COORDINATOR)
    response = site.browser().sign_in("asha", next=target)
    assert (response.status_code, response.headers["Location"]) == (303, "/")


@pytest.mark.parametrize(
    "name", ["asha", "nobody", "<script>alert(1)</script>", "' OR 1=1 --", "../../etc/passwd", "", "a" * 5000]
)
def test_a_wrong_password_is_told_without_saying_which_was_wrong(site: Site, name: str) -> None:
    site.account("asha", Role.COORDINATOR)
    browser = site.browser()
    response = browser.sign_in(name, "not the password")
    assert response.status_code == 401
    assert "Name and password do not match" in response.text
    assert "<script>alert" not in response.text
    assert browser.get("/").status_code == 303


def test_guessing_is_slowed_down_by_name_and_by_address(site: Site) -> None:
    site.account("asha", Role.COORDINATOR)
    browser = site.browser()

    def guesses_until_refused(name: str, most: int) -> int:
        # By the limit of an hour, however slow the machine; by that of a minute, ordinarily.
        answers = (browser.sign_in(name.format(n), f"guess {n}").status_code for n in range(most + 1))
        return next(n for n, answer in enumerate(answers) if answer == 429)

    assert 5 <= guesses_until_refused("asha", 30) <= 30
    refused = browser.sign_in("asha")
    assert refused.status_code == 429  # the right one too, or guessing would go on
    assert "Wait a minute" in refused.text
    assert guesses_until_refused("name{}", 100) <= 100  # another name each time, from one address


def test_the_one_time_password_has_to_be_changed_before_anything_else(site: Site) -> None:
    once = site.services.accounts.add("asha", Role.COORDINATOR)
    browser = site.browser()
    assert browser.sign_in("asha", once).status_code == 303
    assert browser.get("/").headers["Location"] == "/password"
    assert browser.get("/api/v1/map.geojson").status_code == 403
    assert "good for once" in browser.get("/password").text

    def change(old: str, new: str, again: str | None = None) -> str:
        return browser.post("/password", old=old, new=new, again=new if again is None else again).text

    assert "12 to 200 characters" in change(once, "short")
    assert "12 to 200 characters" in change(once, "x" * 201)
    assert "choose another" in change(once, once)
    assert "around your name" in change(once, "asha-asha-2026")
    assert "Too few different" in change(once, "aaaaaaaaaaaaa")
    site.services.accounts.sign_in("asha", once, lasts=A_MINUTE)


def test_a_changed_password_ends_every_other_session(site: Site) -> None:
    site.account("asha", Role.COORDINATOR)
    here, there = site.browser(), site.browser()
    for browser in (here, there):
        browser.sign_in("asha")
        assert browser.get("/").status_code == 200
    new = "another sentence altogether"
    assert "present password is not right" in here.post("/password", old="wrong", new=new, again=new).text
    assert "differ" in here.post("/password", old=PASSWORD, new=new, again=new + "!").text
    assert here.post("/password", old=PASSWORD, new=new, again=new).status_code == 303
    assert here.get("/").status_code == 200
    assert there.get("/").status_code == 303
    assert site.browser().sign_in("asha").status_code == 401
    assert site.browser().sign_in("asha", new).status_code == 303


def test_a_session_ends_by_itself(site: Site, make_site) -> None:
    site.account("asha", Role.COORDINATOR)
    url = site.services.settings.database_url
    hasty = make_site(url, PONYA_SESSION_HOURS="0.01")
    browser = hasty.browser()
    browser.sign_in("asha")
    assert browser.get("/").status_code == 200
    from sqlalchemy import text  # noqa: PLC0415

    with hasty.services.engine.begin() as connection:  # 36 s later
        connection.execute(text("UPDATE web_sessions SET expires_at = datetime(expires_at, '-1 minute')"))
    response = browser.get("/cameras")
    assert response.headers["Location"] == "/sign-in?next=/cameras"


def test_signing_out_ends_the_session_for_a_stolen_cookie_too(site: Site) -> None:
    browser = site.signed_in(Role.VIEWER)
    cookie = browser.client.get_cookie("ponya")
    assert browser.post("/sign-out", form="/").status_code == 303
    thief = site.browser()
    thief.client.set_cookie("ponya", cookie.value)
    assert thief.get("/").status_code == 303


def test_a_removed_account_and_a_changed_role_count_at_once(site: Site) -> None:
    browser = site.signed_in(Role.COORDINATOR)
    assert browser.get("/cameras/new").status_code == 200
    site.services.accounts.remove("coordinator")
    assert browser.get("/cameras/new").status_code == 303


def test_a_cookie_of_ones_own_making_is_none(site: Site) -> None:
    browser = site.browser()
    for value in ("", "x", "eyJ0b2tlbiI6ICJ4In0.aaaaaa.bbbbbbbbbbbbbbbb", "\\0", "a" * 3000):
        browser.client.set_cookie("ponya", value)
        assert browser.get("/").status_code == 303


def test_cookies_are_for_the_server_alone(site: Site, make_site) -> None:
    site.account("asha", Role.COORDINATOR)
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie_of(site, "ponya").split("; "))
    encrypted = make_site(site.services.settings.database_url, PONYA_WEB_URL="https://ponya.example.org")
    browser = encrypted.browser()
    page = browser.get("/sign-in", base_url="https://ponya.example.org")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(page.headers["Set-Cookie"].split("; "))
    assert page.headers["Set-Cookie"].startswith("__Host-ponya=")
    assert "max-age=31536000" in page.headers["Strict-Transport-Security"]


def test_a_cookie_is_set_by_signing_in_and_by_nothing_that_a_cache_may_keep(site: Site) -> None:
    browser = site.signed_in(Role.VIEWER)
    style = browser.get(site.app.jinja_env.globals["asset"]("app.css"))
    assert style.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "Set-Cookie" not in style.headers
    assert "Cookie" not in style.headers["Vary"]
    browser.get("/")  # its form brings the token against forgery
    for path in ("/", "/cameras", "/api/v1/map.geojson"):
        assert "Set-Cookie" not in browser.get(path).headers


def cookie_of(site: Site, name: str) -> str:
    response = site.browser().sign_in("asha")
    return next(c for c in response.headers.getlist("Set-Cookie") if c.startswith(name))


def test_accounts_from_the_command_line(
    store, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PONYA_DATABASE_URL", database_url)
    assert main(["account", "add", "asha", "--role", "coordinator"]) == 0
    once = capsys.readouterr().out.splitlines()[-1]
    mine = AccountsStore(store.engine)
    token = mine.sign_in("asha", once, lasts=A_MINUTE)
    assert token
    assert mine.signed_in(token).must_change
    assert main(["account", "add", "asha", "--role", "viewer"]) == 2
    assert "there is an account asha" in capsys.readouterr().err
    assert main(["account", "add", "../Asha", "--role", "viewer"]) == 2
    assert main(["account", "reset", "asha"]) == 0
    assert mine.signed_in(token) is None
    assert mine.sign_in("asha", once, lasts=A_MINUTE) is None
    assert main(["account", "list"]) == 0
    assert "asha" in capsys.readouterr().out
    assert main(["account", "remove", "asha"]) == 0
    assert main(["account", "remove", "asha"]) == 2
    with pytest.raises(ConfigError, match="no account"):
        mine.reset("asha")


def test_an_expired_session_is_swept_away(store) -> None:
    mine = AccountsStore(store.engine)
    once = mine.add("asha", Role.VIEWER)
    gone = mine.sign_in("asha", once, lasts=timedelta(0))
    assert gone
    assert mine.signed_in(gone) is None
    kept = mine.sign_in("asha", once, lasts=A_MINUTE)
    assert mine.signed_in(kept).role is Role.VIEWER


def test_no_password_is_stored_as_it_is(store) -> None:
    hashed = accounts.hashed(PASSWORD)
    assert hashed.startswith("$argon2id$")
    assert PASSWORD not in hashed
    assert accounts.matches(hashed, PASSWORD)
    assert not accounts.matches(hashed, PASSWORD + " ")
    assert not accounts.matches(None, PASSWORD)
    assert not accounts.matches("damaged", PASSWORD)
