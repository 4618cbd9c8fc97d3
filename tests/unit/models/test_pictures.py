"""The labelled pictures beside the project."""

from pathlib import Path

import pytest

from models import pictures


def test_absent_pictures_are_named_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(pictures.PicturesAbsent, match=r"labels\.csv is absent") as refused:
        pictures.read(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_group_is_never_split_between_folds() -> None:
    try:
        labelled = pictures.read()
    except pictures.PicturesAbsent as exc:
        pytest.skip(str(exc))
    folds: dict[str, set[int]] = {}
    for picture in labelled:
        folds.setdefault(picture.group, set()).add(picture.fold(2))
    assert all(len(of_group) == 1 for of_group in folds.values())
    assert {f for of_group in folds.values() for f in of_group} == {0, 1}
