"""The demo card: drawn by the project, and judged by the model that ships."""

import hashlib
from collections import Counter

import pytest

from deployment.demo import card
from models.draw import Animal
from tests.edge_cli import assert_balanced, scan

PANDAS_SURE_MIN = 6
"""Of the drawn pandas, so many are `panda` outright: what the demonstration shows on its map."""


@pytest.fixture(scope="module")
def drawn():
    return {str(file.path): file for file in card.files()}


@pytest.fixture(scope="module")
def judged(drawn, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    assert card.write(folder / "card") == len(drawn)
    run = scan(folder / "card", folder / "data")
    assert run.status == 0
    assert_balanced(run)
    return run


def test_every_drawn_panda_is_found_and_nothing_else_is_taken_for_one(drawn, judged):
    verdicts = {path: judged.by_path[path]["verdict"] for path, file in drawn.items() if file.is_picture}
    pandas = {path for path, file in drawn.items() if file.shows is Animal.RED_PANDA}
    assert {verdicts[path] for path in pandas} <= {"panda", "review"}
    assert sum(verdicts[path] == "panda" for path in pandas) >= PANDAS_SURE_MIN
    assert {verdicts[path] for path in verdicts.keys() - pandas} <= {"other", "blank", "review"}


def test_what_goes_wrong_on_real_cards_is_on_it(drawn, judged):
    assert 55 <= len(drawn) <= 65
    fates = Counter(line["verdict"] for line in judged.files)
    assert fates["duplicate"] == 1
    assert fates["unreadable"] == 2
    assert fates["ignored"] == 2
    assert judged.by_path["DEMO-03/DCIM/100PONYA/PNYA9003.MP4"]["verdict"] == "review"
    assert judged.by_path["DEMO-04/DCIM/100PONYA/PNYA9004.TIF"]["verdict"] == "review"
    assert fates["other"] > 5
    assert fates["blank"] > 5


def test_times_are_nepals_and_cameras_are_told_apart(drawn, judged):
    first = judged.by_path["DEMO-01/DCIM/100PONYA/PNYA0001.JPG"]
    assert first["captured_at"] == "2026-10-19T06:41:10+05:45"
    assert set(judged.receipt["cameras"]) == {"DEMO-01", "DEMO-02", "DEMO-03", "DEMO-04"}


def test_a_camera_without_pandas_is_to_review(judged):
    """So that the map shows that colour too; the file's EXIF says whose it is."""
    unscored = judged.by_path["DEMO-04/DCIM/100PONYA/PNYA9004.TIF"]
    assert unscored["captured_at"].startswith("2026-10-30T18:03")
    assert "panda" not in {one["verdict"] for path, one in judged.by_path.items() if path.startswith("DEMO-04")}


def test_the_same_bytes_are_drawn_each_time(drawn):
    again = {str(file.path): hashlib.sha256(file.content).digest() for file in card.files()}
    assert again == {path: hashlib.sha256(file.content).digest() for path, file in drawn.items()}


def test_the_card_says_that_it_is_a_drawing(drawn):
    assert all(
        b"not a photograph" in f.content
        for f in drawn.values()
        if f.path.match("PNYA0???.JPG") and len(f.content) > 30_000
    )


def test_a_folder_that_is_there_is_left_alone(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    monkeypatch.setattr("sys.argv", ["card", str(tmp_path)])
    assert card.main() == 1
    assert capsys.readouterr().err.strip() == f"demo card: {tmp_path}: File exists"
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
