import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployment.image.build import Image
from tests.image.inside import Container
from tests.integration.gateway.conftest import registry, stream  # noqa: F401 - fixtures
from tests.local_azure import gateway, local_azure  # noqa: F401 - fixtures


@pytest.fixture(scope="session")
def image() -> Image:
    """The image that `make image-test` has built."""
    folder = os.environ.get("PONYA_IMAGE")
    if folder is None:
        pytest.skip("the image's tests are `make image-test`")
    return Image(Path(folder).resolve())


@pytest.fixture
def container(image: Image, tmp_path: Path) -> Iterator[Container]:
    made = Container(image=image, host=tmp_path / "host")
    made.make_folders()
    yield made
    shutil.rmtree(tmp_path / "host")
