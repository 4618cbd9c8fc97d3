"""The labelled pictures beside the project: which there are, and which must stay together.

They lie in ``../shared/data`` and are not the project's to give away: nothing made of them but numbers is committed.
"""

import csv
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from edge_module.domain import LABEL_BLANK, LABEL_HUMAN, LABEL_PANDA
from edge_module.errors import PonyaError

DATA_DIR = Path(__file__).resolve().parents[2] / "shared" / "data"
LABEL_OTHER = "other_animal"
LABEL_VEHICLE = "vehicle"

_LABELS = {
    "red_panda": LABEL_PANDA,
    "other_animal": LABEL_OTHER,
    "animal_day": LABEL_OTHER,
    "animal_night": LABEL_OTHER,
    "blank_day": LABEL_BLANK,
    "blank_night": LABEL_BLANK,
    "people": LABEL_HUMAN,
    "vehicle": LABEL_VEHICLE,
}


_SYNSET = re.compile(r"n(\d{8})_")
_WARM_BLOODED = ((1_514_668, 1_622_779), (1_795_545, 1_883_070), (2_002_556, 2_142_000), (2_325_366, 2_510_455))
"""WordNet numbers of ImageNet's birds and mammals, by eye from its list of classes."""


def synset_of(name: str) -> int | None:
    """The number of the ImageNet class in a file's or a group's name, where there is one."""
    found = _SYNSET.search(name)
    return int(found[1]) if found else None


def fold_of(group: str, folds: int) -> int:
    """Which of some folds a group belongs to."""
    return hashlib.sha256(group.encode()).digest()[0] % folds


class PicturesAbsent(PonyaError):  # noqa: N818 - says what is the case
    """The labelled pictures are not on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One labelled picture.

    Args:
        path: the file.
        label: red_panda, other_animal, blank, human or vehicle.
        trap: a real camera-trap frame, not a photograph.
        night: taken at night or by infrared light.
        group: the photograph, or the camera; never split between training and testing.
        burst: the folder whose frames are one burst, where it is one.
    """

    path: Path
    label: str
    trap: bool
    night: bool
    group: str
    burst: str | None

    @property
    def warm_blooded(self) -> bool:
        """Whether a photograph shows a mammal or bird, by its ImageNet synset: what a trap's heat sensor fires at."""
        synset = synset_of(self.path.name)
        return synset is None or any(low <= synset <= high for low, high in _WARM_BLOODED)

    def fold(self, folds: int) -> int:
        """Which fold the picture's group belongs to: the same on every machine and in every run."""
        return fold_of(self.group, folds)


def read(folder: Path = DATA_DIR) -> list[Labelled]:
    """Read `labels.csv`.

    Raises:
        PicturesAbsent: it is not there.
    """
    table = folder / "labels.csv"
    try:
        with table.open(newline="", encoding="utf-8") as lines:
            return [_labelled(folder, row) for row in csv.DictReader(lines)]
    except FileNotFoundError as exc:
        raise PicturesAbsent(f"{table} is absent: training and evaluation need the labelled pictures") from exc


def _labelled(folder: Path, row: dict[str, str]) -> Labelled:
    file = Path(row["file"])
    return Labelled(
        path=folder / file,
        label=_LABELS[row["label"]],
        trap=row["kind"] == "trap",
        night=row["night"] == "1",
        group=row["group"],
        burst=file.parent.name if "bursts" in file.parts else None,
    )
