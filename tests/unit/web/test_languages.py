"""Every text of the pages in every language; people read the one they chose."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import Environment

from cloud_sync import accounts
from cloud_sync.accounts import Role
from cloud_sync.web import texts
from tests.hq_data import Filled
from tests.hq_site import Browser, Site
from tests.unit.web.test_pages import everything

WEB = Path(texts.__file__).parent
TEMPLATES = sorted(WEB.glob("templates/*.html"))
FOREIGN = sorted(set(texts.LANGUAGES) - {"en"})
HOLES = re.compile(r"%\(\w+\)s|\{\w+\}|<[^>]+>|`[^`]+`")
MARKERS = {"say": 0, "mark": 0, "plural": 1}
"""Functions of texts.py -> the argument that is the catalogue's key."""
BARE = {"Ponya", "survey"}
"""A name, and the class of the map's page."""


def said() -> Iterator[str]:
    """The key of every text that templates and code say."""
    environment = Environment(extensions=["jinja2.ext.i18n"], autoescape=True)
    for template in TEMPLATES:
        for _, _, found in environment.extract_translations(template.read_text("utf-8")):
            yield found if isinstance(found, str) else [text for text in found if text][-1]
    for module in WEB.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKERS:
                key = node.args[MARKERS[node.func.id]]
                if isinstance(key, ast.Constant):
                    yield str(key.value)
    name, old = "somebody", "correct horse battery"
    for new in ("short", old, "somebody1234", "a" * 30):
        fault = accounts.fault_of_password(new, name=name, old=old)
        assert fault
        yield fault


@pytest.mark.parametrize("language", FOREIGN)
def test_every_text_is_there_in_every_language_and_no_other(language: str) -> None:
    wanted, found = set(said()), set(texts.catalogue(language))
    assert len(wanted) > 200
    assert sorted(wanted - found) == [], f"add these to cloud_sync/web/texts/{language}.json"
    assert sorted(found - wanted) == [], f"remove these from cloud_sync/web/texts/{language}.json: nothing says them"


@pytest.mark.parametrize("language", FOREIGN)
def test_a_translation_has_the_values_and_the_markup_of_its_original(language: str) -> None:
    for english, told in texts.catalogue(language).items():
        for text in [told] if isinstance(told, str) else told:
            assert sorted(HOLES.findall(text)) == sorted(HOLES.findall(english)), english
            assert text.strip() == text != ""


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_says_anything_past_the_catalogue(template: Path) -> None:
    """What a template writes as it is, without tags, has no letters: a word there would be English for everybody."""
    written = "".join(
        value if kind == "data" else "\0"
        for _, kind, value in Environment(autoescape=True).lex(template.read_text("utf-8"))
    )
    attributes = re.findall(r'(?:alt|title|placeholder|aria-label)="([^"\0]*[A-Za-z][^"\0]*)"', written)
    between = re.sub(r"<[^>]*>", "", written).replace("\0", " ")
    assert [word for word in re.findall(r"[A-Za-z]+", between) if word not in BARE] == []
    assert attributes == []


def choose(browser: Browser, language: str, **more: str) -> None:
    assert browser.post("/language", "/sign-in", language=language, **more).status_code == 303


def test_a_language_is_kept_through_signing_in_and_out(site: Site) -> None:
    browser = site.signed_in(Role.VIEWER)
    assert 'lang="en"' in browser.get("/").text
    choose(browser, "ne", back="/gateways")
    page = browser.get("/gateways").text
    assert '<html lang="ne">' in page
    assert "पछिल्लो सन्देश" in page
    browser.post("/sign-out", "/")
    assert "साइन इन" in browser.get("/sign-in").text
    choose(browser, "en")
    assert '<h1 class="h3 mb-3">Sign in</h1>' in browser.get("/sign-in").text


def test_every_page_speaks_nepali(site: Site, filled: Filled) -> None:
    assert filled.deployments
    browser = site.signed_in(Role.COORDINATOR)
    choose(browser, "ne")
    pages = {path: answer for path, answer in everything(browser).items() if "<html" in answer}
    assert len(pages) > 50
    for path, answer in pages.items():
        assert '<html lang="ne">' in answer, path
        assert not re.search(r"%\(\w+\)s", answer), path


def test_a_browser_that_asks_for_nepali_gets_it_and_one_that_asks_for_another_gets_english(site: Site) -> None:
    browser = site.browser()
    assert '<html lang="ne">' in browser.get("/sign-in", headers={"Accept-Language": "ne-NP,ne;q=0.9,en;q=0.5"}).text
    assert '<html lang="en">' in browser.get("/sign-in", headers={"Accept-Language": "fr"}).text


@pytest.mark.parametrize("language", ["", "xx", "../en", "NE"])
def test_a_language_that_is_not_spoken_is_refused(site: Site, language: str) -> None:
    browser = site.browser()
    answer = browser.post("/language", "/sign-in", language=language)
    assert answer.status_code == 400
    assert '<html lang="en">' in browser.get("/sign-in").text
