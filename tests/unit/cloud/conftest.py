from collections.abc import Iterator

import pytest

from cloud_sync.store import Store
from tests.databases import database_url, postgresql  # noqa: F401 - fixtures


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:  # noqa: F811
    opened = Store(database_url)
    yield opened
    opened.close()
