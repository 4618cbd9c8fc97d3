"""Anyone's own labelled pictures, judged by the shipped model: `python -m models.evaluate --folder DIR`.

Three ways to label:

* folders ``red_panda/``, ``other/``, ``blank/``, ``human/``; a folder inside one of them is a burst, by order of names;
* ``labels.csv`` with the columns ``file,label``;
* Camtrap DP: ``media.csv`` and ``observations.csv`` (https://camtrap-dp.tdwg.org), the media of one
  ``eventID`` being a burst.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_module import model_store
from edge_module.domain import KEPT_FATES, LABEL_PANDA, Fate
from edge_module.errors import MediaError, PonyaError
from edge_module.frame import Frame, decode
from edge_module.people import shipped
from edge_module.scorer import Scorer
from edge_module.verdict import judge, withhold
from models.metrics import share

LABELS = ("red_panda", "other", "blank", "human")
_SUFFIXES = {".jpg", ".jpeg", ".png"}
_RED_PANDA_NAMES = {"ailurus fulgens", "ailurus styani", "ailurus"}
_VERDICTS = (Fate.PANDA, Fate.REVIEW, Fate.OTHER, Fate.BLANK, Fate.HUMAN, Fate.UNREADABLE)


class UnusableFolder(PonyaError):  # noqa: N818 - says what is the case
    """The folder has no labelled pictures that can be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Pictures of one event, in order, and what is on them."""

    name: str
    label: str
    files: tuple[Path, ...]


def bursts(folder: Path) -> list[Burst]:
    """Find the labelled pictures of a folder.

    Raises:
        UnusableFolder: there are none, or a label is unknown.
    """
    if not folder.is_dir():
        raise UnusableFolder(f"{folder}: not a folder")
    if (folder / "media.csv").exists():
        found = list(_camtrap_dp(folder))
    elif (folder / "labels.csv").exists():
        found = list(_csv(folder))
    else:
        found = list(_folders(folder))
    if not found:
        raise UnusableFolder(f"{folder}: no pictures in folders named {', '.join(LABELS)}, labels.csv or media.csv")
    return found


def _folders(folder: Path) -> Iterator[Burst]:
    for labelled in sorted(p for p in folder.iterdir() if p.is_dir()):
        label = _known(labelled.name, labelled)
        for entry in sorted(labelled.iterdir()):
            files = sorted(entry.iterdir()) if entry.is_dir() else [entry]
            chosen = tuple(f for f in files if f.suffix.lower() in _SUFFIXES)
            if chosen:
                yield Burst(name=entry.relative_to(folder).as_posix(), label=label, files=chosen)


def _csv(folder: Path) -> Iterator[Burst]:
    for line, row in enumerate(_rows(folder / "labels.csv", "file", "label"), start=2):
        label = _known(row["label"], f"{folder / 'labels.csv'} line {line}")
        yield Burst(name=row["file"], label=label, files=(folder / row["file"],))


def _camtrap_dp(folder: Path) -> Iterator[Burst]:
    labels: dict[str, set[str]] = defaultdict(set)
    events: dict[str, str] = {}
    for row in _rows(folder / "observations.csv", "mediaID", "observationType"):
        species = row.get("scientificName", "").strip().lower()
        kind = row["observationType"]
        label = {"animal": "other"}.get(kind, kind)
        labels[row["mediaID"]].add("red_panda" if species in _RED_PANDA_NAMES else label)
        events[row["mediaID"]] = row.get("eventID", "") or row["mediaID"]
    together: dict[tuple[str, str], list[tuple[str, Path]]] = defaultdict(list)
    for row in _rows(folder / "media.csv", "mediaID", "filePath"):
        # What matters most is what the frame counts as.
        foremost = next((known for known in LABELS if known in labels[row["mediaID"]]), None)
        if foremost is not None:
            event = events[row["mediaID"]]
            together[event, foremost].append((row.get("timestamp", ""), folder / row["filePath"]))
    for (event, label), files in together.items():
        yield Burst(name=event, label=label, files=tuple(path for _, path in sorted(files)))


def _rows(table: Path, *columns: str) -> Iterator[dict[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            missing = set(columns) - set(reader.fieldnames or ())
            if missing:
                raise UnusableFolder(f"{table}: lacks the column {', '.join(sorted(missing))}")
            yield from reader
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise UnusableFolder(f"{table}: {exc}") from exc


def _known(label: str, where: object) -> str:
    if label not in LABELS:
        raise UnusableFolder(f"{where}: unknown label {label!r}; known are {', '.join(LABELS)}")
    return label


def judge_folder(folder: Path, model_dir: Path = model_store.SHIPPED_MODEL_DIR) -> dict[str, Any]:
    """Judge a folder with a model.

    Returns:
        `frames`, one line each; `verdicts`, by label; `figures`, shares with intervals clustered by burst.
    """
    found = bursts(folder)
    model = model_store.load(model_dir)
    scorer, people = Scorer(model), shipped()
    lines: list[dict[str, Any]] = []
    for burst in found:
        frames, names, broken = _decoded(burst, folder)
        lines += broken
        for name, frame, scores in zip(names, frames, scorer.score(frames) if frames else [], strict=True):
            verdict = judge(scores, model.head.thresholds)
            person = verdict in KEPT_FATES and people.perhaps(frame.image)
            verdict, withheld = withhold(verdict, person=person)
            line: dict[str, Any] = {"file": name, "label": burst.label, "verdict": verdict.value, "night": frame.night}
            lines.append(line | {"withheld": withheld, "panda_probability": scores.panda, "burst": burst.name})
    verdicts: Mapping[str, Counter[str]] = {label: Counter() for label in LABELS}
    for line in lines:
        verdicts[line["label"]][line["verdict"]] += 1
    return {
        "model_id": model.model_id,
        "frames": lines,
        "verdicts": {label: dict(count) for label, count in verdicts.items() if count},
        "figures": _figures([line for line in lines if "burst" in line]),
    }


def _decoded(burst: Burst, folder: Path) -> tuple[list[Frame], list[str], list[dict[str, Any]]]:
    frames, names, broken = [], [], []
    for file in burst.files:
        name = file.relative_to(folder).as_posix()
        try:
            frames.append(decode(file.read_bytes()))
            names.append(name)
        except (MediaError, OSError) as exc:
            broken.append({"file": name, "label": burst.label, "verdict": "unreadable", "reason": str(exc)})
    return frames, names, broken


def _figures(lines: list[dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for label in LABELS:
        for name, night in (("day", False), ("night", True)):
            chosen = [line for line in lines if line["label"] == label and line["night"] == night]
            if chosen:
                on = np.array([line["verdict"] in KEPT_FATES for line in chosen])
                source = np.array([line["burst"] for line in chosen])
                what = "found" if label == LABEL_PANDA else "passed on"
                found[f"{label} {what}, {name}"] = asdict(share(on, source))
    return found


def as_text(found: dict[str, Any]) -> str:
    """The result as a table for people."""
    lines = [f"model {found['model_id']}, {len(found['frames'])} frames", ""]
    lines.append(f"{'label':<12}" + "".join(f"{v.value:>12}" for v in _VERDICTS))
    for label, counts in found["verdicts"].items():
        lines.append(f"{label:<12}" + "".join(f"{counts.get(v.value, 0):>12}" for v in _VERDICTS))
    lines.append("")
    for name, figure in found["figures"].items():
        interval = f"[{figure['low']:.2f}, {figure['high']:.2f}]"
        lines.append(f"{name:<28}{figure['value']:.3f}  95 % {interval}  of {figure['frames']}")
    return "\n".join(lines)
