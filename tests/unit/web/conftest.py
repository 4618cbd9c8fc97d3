from collections.abc import Iterator

import pytest

from cloud_sync.store import Store
from tests.databases import database_url, postgresql  # noqa: F401 - fixtures
from tests.hq_site import empty_site, filled, filled_database, make_site, site  # noqa: F401 - fixtures
from tests.local_azure import local_azure  # noqa: F401 - fixture


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:  # noqa: F811
    opened = Store(database_url)
    yield opened
    opened.close()
