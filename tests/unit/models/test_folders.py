"""Judging one's own labelled folder."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_module.model_store import SHIPPED_MODEL_DIR
from models.folders import UnusableFolder, as_text, bursts, judge_folder

GOLDEN = SHIPPED_MODEL_DIR / "golden"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A labelled folder: single frames, a burst, and one broken picture."""
    for label in ("red_panda", "other", "blank"):
        (tmp_path / label).mkdir()
    shutil.copy(GOLDEN / "panda_day_1.jpg", tmp_path / "red_panda" / "a.jpg")
    (tmp_path / "red_panda" / "walk").mkdir()
    for i in (1, 2, 3):
        shutil.copy(GOLDEN / f"panda_burst_{i}.jpg", tmp_path / "red_panda" / "walk")
    shutil.copy(GOLDEN / "deer_day.jpg", tmp_path / "other")
    shutil.copy(GOLDEN / "leaves_day.jpg", tmp_path / "blank")
    (tmp_path / "blank" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "blank" / "notes.txt").write_text("not a picture")
    return tmp_path


def test_every_frame_is_judged_and_counted(own: Path) -> None:
    found = judge_folder(own)
    assert len(found["frames"]) == 7
    assert found["verdicts"]["red_panda"] == {"panda": 4}
    assert found["verdicts"]["blank"] == {"blank": 1, "unreadable": 1}
    assert found["figures"]["red_panda found, day"]["frames"] == 4
    assert "unreadable" in as_text(found)


def test_a_folder_inside_a_label_is_one_burst(own: Path) -> None:
    walk = next(b for b in bursts(own) if b.name == "red_panda/walk")
    assert [f.name for f in walk.files] == ["panda_burst_1.jpg", "panda_burst_2.jpg", "panda_burst_3.jpg"]


def test_labels_from_a_csv(own: Path) -> None:
    (own / "labels.csv").write_text("file,label\nred_panda/a.jpg,red_panda\nother/deer_day.jpg,other\n")
    assert [(b.name, b.label) for b in bursts(own)] == [
        ("red_panda/a.jpg", "red_panda"),
        ("other/deer_day.jpg", "other"),
    ]


def test_labels_from_camtrap_dp(own: Path) -> None:
    (own / "media.csv").write_text(
        "mediaID,timestamp,filePath\nm2,2026-01-01T00:00:02Z,red_panda/walk/panda_burst_2.jpg\n"
        "m1,2026-01-01T00:00:01Z,red_panda/walk/panda_burst_1.jpg\nm3,,other/deer_day.jpg\nm4,,red_panda/a.jpg\n"
    )
    (own / "observations.csv").write_text(
        "mediaID,eventID,observationType,scientificName\nm1,e1,animal,Ailurus fulgens\nm2,e1,animal,Ailurus fulgens\n"
        "m3,e2,animal,Muntiacus muntjak\nm4,e3,unclassified,\n"
    )
    found = bursts(own)
    assert [(b.name, b.label, [f.name for f in b.files]) for b in found] == [
        ("e1", "red_panda", ["panda_burst_1.jpg", "panda_burst_2.jpg"]),
        ("e2", "other", ["deer_day.jpg"]),
    ]


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda _: None, "no pictures"),
        (lambda folder: (folder / "yeti").mkdir(), "unknown label 'yeti'"),
        (lambda folder: (folder / "labels.csv").write_text("file\nx.jpg\n"), "lacks the column label"),
        (lambda folder: (folder / "labels.csv").write_bytes(b"file,label\n\xff\xfe,blank\n"), "labels.csv"),
        (lambda folder: (folder / "media.csv").write_text("mediaID,filePath\n"), "observations.csv"),
    ],
)
def test_an_unusable_folder_is_refused_in_one_line(tmp_path: Path, prepare, words: str) -> None:
    prepare(tmp_path)
    with pytest.raises(UnusableFolder, match=words) as refused:
        bursts(tmp_path)
    assert "\n" not in str(refused.value)


def test_the_command_line_speaks_json_and_refuses_with_status_2(
    own: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    command = [sys.executable, "-m", "models.evaluate", "--json", "--folder"]
    root = SHIPPED_MODEL_DIR.parent.parent
    answer = subprocess.run([*command, str(own)], cwd=root, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(answer.stdout)["verdicts"]["red_panda"] == {"panda": 4}
    empty = tmp_path_factory.mktemp("empty")
    refused = subprocess.run([*command, str(empty)], cwd=root, capture_output=True, text=True, check=False, timeout=120)
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1
