"""Which card this is, whatever somebody put on it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_module.card import Mount
from edge_module.domain import Fate
from edge_module.errors import CardError
from edge_module.kinds import MARKER_NAME

_LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)


def test_a_marker_names_the_card_wherever_it_is_mounted(tmp_path: Path) -> None:
    cards = [tmp_path / "sda1", tmp_path / "sdb1"]
    for card in cards:
        card.mkdir()
        (card / MARKER_NAME).write_text("card: Ilam 7\n")
    first, second = (Mount(card).identify() for card in cards)
    assert first == second
    assert first.source == "marker"
    assert "Ilam" not in first.card_id


def test_a_folder_without_a_marker_is_known_by_its_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    a, b, a_again = (Mount(tmp_path / name).identify() for name in ("a", "b", "a/../a"))
    assert a == a_again != b
    assert a.source == "folder"
    assert str(tmp_path) not in a.card_id


def _secret(marker: Path) -> None:
    (marker.parent.parent / "outside.yml").write_text("card: outside\n")
    marker.symlink_to("../outside.yml")


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda marker: marker.write_text("[" * 4000), id="too deep"),
        pytest.param(lambda marker: marker.write_text(f"{_LAUGHS}card: *j\n"), id="a billion laughs"),
        pytest.param(lambda marker: marker.write_text("card: ["), id="not YAML"),
        pytest.param(lambda marker: marker.write_text("just a word"), id="not a mapping"),
        pytest.param(lambda marker: marker.write_text("card:\n"), id="no name"),
        pytest.param(lambda marker: marker.write_bytes(b"card: \xff\xfe\x00"), id="not text"),
        pytest.param(lambda marker: marker.write_bytes(b""), id="empty"),
        pytest.param(lambda marker: marker.mkdir(), id="a folder"),
        pytest.param(os.mkfifo, id="a pipe that nobody writes to"),
        pytest.param(_secret, id="a link out of the card"),
    ],
)
def test_a_marker_that_makes_no_sense_is_no_marker(tmp_path: Path, write: Callable[[Path], object]) -> None:
    card = tmp_path / "card"
    card.mkdir()
    write(card / MARKER_NAME)
    assert Mount(card).identify().source == "folder"


def test_a_name_that_is_no_unicode_still_names_the_card(tmp_path: Path) -> None:
    (tmp_path / MARKER_NAME).write_text('card: "\\ud800"\n')
    assert Mount(tmp_path).identify().source == "marker"


@pytest.mark.parametrize("name", ["absent", "a_file"])
def test_what_is_no_card_is_refused_with_advice(tmp_path: Path, name: str) -> None:
    (tmp_path / "a_file").write_text("")
    with pytest.raises(CardError, match=f"{name}: .*; insert the card, or name a folder that can be read"):
        Mount(tmp_path / name)


def test_a_card_that_is_gone_interrupts_the_listing(tmp_path: Path) -> None:
    card = tmp_path / "card"
    (card / "DCIM").mkdir(parents=True)
    mount = Mount(card)
    card.rename(tmp_path / "away")
    with pytest.raises(CardError, match="the card was taken out"):
        list(mount.files())
    (tmp_path / "away").rename(card)
    assert list(mount.files()) == []


def test_a_path_longer_than_the_system_allows_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(20):
            os.mkdir("d" * 250, dir_fd=here)
            deeper = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
    finally:
        os.close(here)
    (tmp_path / "z.txt").write_text("")
    listed = {entry.media.path: entry for entry in Mount(tmp_path).files()}
    (too_deep,) = (entry for path, entry in listed.items() if path.endswith(b"/"))
    assert too_deep.fate is Fate.UNREADABLE
    assert "File name too long" in too_deep.reason
    assert listed[b"z.txt"].fate is Fate.IGNORED
