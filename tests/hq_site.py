"""Headquarters' pages over a filled record, asked by Flask's client as a browser would.

Use it from a ``conftest.py`` by importing the fixtures::

    from tests.hq_site import empty_site, filled, filled_database, make_site, site  # noqa: F401

- ``site``: over a copy of the record that tests/hq_data.py makes, without pictures; ``filled`` says what is in it.
- ``empty_site``: over a record with nothing in it.
- ``make_site``: over any database, with settings of one's own.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cloud_sync import accounts, schema
from cloud_sync.accounts import Role
from cloud_sync.database import transaction
from cloud_sync.migrate import migrate
from cloud_sync.settings import WebSettings
from cloud_sync.store import Store
from cloud_sync.web.app import create_app, services_of
from cloud_sync.web.services import Services
from tests.hq_data import Filled, fill

NO_STORAGE = (
    "DefaultEndpointsProtocol=http;AccountName=nobody;AccountKey=bm9ib2R5;BlobEndpoint=http://127.0.0.1:9/nobody;"
)
PASSWORD = "seven stones by the river"
KEY = b"k" * 32


@cache
def _hashed() -> str:
    return accounts.hashed(PASSWORD)


@dataclass(slots=True)
class Browser:
    """A browser with its cookies, on one site."""

    client: FlaskClient
    sent: list[TestResponse] = field(default_factory=list)

    def get(self, path: str, **options: Any) -> TestResponse:
        response = self.client.get(path, **options)
        self.sent.append(response)
        return response

    def post(self, path: str, form: str | None = None, **values: str) -> TestResponse:
        """Send a form as its page has it: with the hidden token that `form` (default: the same address) shows."""
        page = self.client.get(form or path)
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert token, page.text
        return self.client.post(path, data={"csrf_token": token[1], **values})

    def sign_in(self, name: str, password: str = PASSWORD, **more: str) -> TestResponse:
        return self.post("/sign-in", name=name, password=password, **more)


@dataclass(slots=True)
class Site:
    """An application and what it works with."""

    services: Services
    app: Flask

    def browser(self) -> Browser:
        return Browser(self.app.test_client())

    def account(self, name: str, role: Role) -> None:
        """An account that has chosen its password. Hashing costs time on purpose: it is done once for all tests."""
        row = {
            "name": name,
            "role": role.value,
            "password_hash": _hashed(),
            "must_change": False,
            "created_at": datetime.now(UTC),
        }
        with transaction(self.services.engine) as connection:
            connection.execute(schema.accounts.insert(), [row])

    def signed_in(self, role: Role) -> Browser:
        self.account(role.value, role)
        browser = self.browser()
        assert browser.sign_in(role.value).status_code == 303
        return browser


@pytest.fixture(scope="session")
def filled_database(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Filled]:
    path = tmp_path_factory.mktemp("filled") / "hq.db"
    store = Store(f"sqlite:///{path}")
    migrate(store.engine)
    filled = fill(store)
    store.close()
    return path, filled


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    made: list[Site] = []

    def make(url: str, **environment: str) -> Site:
        values = {"PONYA_DATABASE_URL": url, "STORAGE_CONNECTION_STRING": NO_STORAGE, **environment}
        services = services_of(WebSettings.read(values))
        app = create_app(services, key=KEY)
        app.testing = False
        site = Site(services=services, app=app)
        made.append(site)
        return site

    yield make
    for site in made:
        site.services.engine.dispose()


@pytest.fixture
def site(filled_database: tuple[Path, Filled], tmp_path: Path, make_site: MakeSite) -> Site:
    """A site over a copy of the filled record."""
    path = tmp_path / "hq.db"
    shutil.copy(filled_database[0], path)
    return make_site(f"sqlite:///{path}")


@pytest.fixture
def empty_site(tmp_path: Path, make_site: MakeSite) -> Site:
    site = make_site(f"sqlite:///{tmp_path}/empty.db")
    migrate(site.services.engine)
    return site


@pytest.fixture
def filled(filled_database: tuple[Path, Filled]) -> Filled:
    return filled_database[1]
