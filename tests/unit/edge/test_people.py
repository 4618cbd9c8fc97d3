"""The detector of people: asked about pictures that are about to leave."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from edge_module import model_store
from edge_module.classify import classify
from edge_module.errors import ModelError
from edge_module.frame import decode
from edge_module.people import People, perhaps_in, shipped
from edge_module.settings import combine
from models import pictures

FOLDER = model_store.SHIPPED_MODEL_DIR
GOLDEN = sorted((FOLDER / "golden").glob("*.jpg"))


@pytest.fixture(scope="module")
def people() -> People:
    return shipped()


def labelled(label: str, *, trap: bool) -> list[Path]:
    try:
        return [p.path for p in pictures.read() if p.label == label and p.trap == trap]
    except pictures.PicturesAbsent as exc:
        pytest.skip(str(exc))


def seen(people: People, paths: list[Path]) -> int:
    return sum(people.perhaps(Image.open(path).convert("RGB")) for path in paths)


def test_people_before_a_trap_are_seen(people: People) -> None:
    paths = labelled("human", trap=True)
    assert seen(people, paths) == len(paths) == 9


def test_other_frames_seldom_pass_for_people(people: People) -> None:
    assert seen(people, labelled("red_panda", trap=False)) <= 1  # of 46
    assert seen(people, labelled("other_animal", trap=True)) <= 4  # of 176
    assert seen(people, labelled("blank", trap=True)) == 0  # of 44


def test_a_file_that_somebody_asks_for_is_looked_at_as_the_gateway_decodes_it() -> None:
    assert not perhaps_in((FOLDER / "golden" / "panda_day_1.jpg").read_bytes())
    assert not perhaps_in(b"no picture")
    assert any(perhaps_in(path.read_bytes()) for path in labelled("human", trap=True))


def test_no_golden_frame_is_withheld(people: People) -> None:
    assert not any(people.perhaps(decode(path.read_bytes()).image) for path in GOLDEN)


def test_a_panda_beside_whom_a_person_may_be_is_for_review_and_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = model_store.load(FOLDER), FOLDER / "golden" / "panda_day_1.jpg"
    (before,) = classify([path], model, combine())
    assert (before["verdict"], before["withheld"]) == ("panda", False)
    monkeypatch.setattr(People, "perhaps", lambda *_: True)
    (line,) = classify([path], model, combine())
    assert (line["verdict"], line["withheld"]) == ("review", True)


def test_what_would_not_leave_is_not_looked_at_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(People, "perhaps", lambda *_: pytest.fail("asked"))
    (line,) = classify([FOLDER / "golden" / "leaves_day.jpg"], model_store.load(FOLDER), combine())
    assert (line["verdict"], line["withheld"]) == ("blank", False)


def test_a_file_that_is_no_detector_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"people\.tflite: not a usable TFLite model"):
        People(b"not a model", name="people.tflite")
    with pytest.raises(ModelError, match=r"people\.tflite: needs uint8 input \[1, 300, 300, 3\]"):
        People((FOLDER / "backbone.tflite").read_bytes(), name="people.tflite")


def test_a_missing_or_damaged_detector_is_noticed_at_start(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "model"))
    (folder / model_store.PEOPLE).write_bytes(b"another file")
    with pytest.raises(ModelError, match=r"people\.tflite: SHA-256 is .* install the model again"):
        model_store.people(folder)
    (folder / model_store.PEOPLE).unlink()
    with pytest.raises(ModelError, match=r"people\.tflite: No such file"):
        model_store.people(folder)
