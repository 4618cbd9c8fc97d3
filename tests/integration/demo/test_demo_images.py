"""README's pictures, as `make screenshots` leaves them."""

import pytest
from PIL import Image

from tests.edge_cli import ROOT

WIDTH_PX = {"map": 1280, "picture": 1280, "gateway-page": 390}


@pytest.mark.parametrize("name", WIDTH_PX)
def test_a_picture_is_there_and_small(name):
    path = ROOT / "docs/images" / f"{name}.png"
    assert path.stat().st_size <= 200_000
    with Image.open(path) as image:
        assert image.width == WIDTH_PX[name]
        assert len(image.getcolors(1 << 24)) > 8


def test_every_picture_is_shown():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = {f"docs/images/{path.name}" for path in (ROOT / "docs/images").iterdir()}
    assert {picture for picture in pictures if picture not in readme} == set()
