"""The golden frames: drawn pictures whose verdicts a gateway checks before it trusts a new model.

`python -m models.golden` draws them, records what the shipped model says of each, and writes the model's SHA256SUMS.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path

from PIL import Image

from edge_module.domain import Fate, Scores
from edge_module.frame import decode
from edge_module.head import Head
from edge_module.model_store import SHIPPED_MODEL_DIR
from edge_module.people import perhaps_in
from edge_module.scorer import Model, Scorer
from edge_module.verdict import Thresholds, judge
from models.draw import Animal, Picture, Shot, burst, draw

_ROUNDING = 0.1
"""On another processor kernels may round a little otherwise: golden frames keep that far below the thresholds, red
pandas half as far above theirs, which is near to one."""

_QUALITY, _OTHER_QUALITIES = 82, (60, 66, 71, 75, 79, 85, 89, 93, 96)
"""Of the JPEG. Decoders round otherwise, too, and move the place of a closer look: what is written a little better or
worse has to get the right verdict as well."""

_TRIED = 30
"""Drawings of each kind, if need be: the first that serves is kept."""

_CAMERA_START = datetime(2026, 3, 14, 5, 20)  # noqa: DTZ001 - a camera's clock knows no zone
_EXIF_IFD, _TIME, _MAKE, _MODEL, _SERIAL = 0x8769, 0x9003, 0x010F, 0x0110, 0xA431

_SHOTS = {
    "panda_day_1": Shot(seed=0, animal=Animal.RED_PANDA, animal_width=0.55),
    "panda_day_2": Shot(seed=2, animal=Animal.RED_PANDA, animal_width=0.5, leaves=True),
    "panda_night_1": Shot(seed=1, animal=Animal.RED_PANDA, animal_width=0.55, night=True),
    "deer_day": Shot(seed=3, animal=Animal.DEER),
    "deer_night": Shot(seed=8, animal=Animal.DEER, night=True),
    "boar_night": Shot(seed=4, animal=Animal.BOAR, night=True),
    "pheasant_day": Shot(seed=5, animal=Animal.PHEASANT),
    "leaves_day": Shot(seed=6, leaves=True),
    "leaves_night": Shot(seed=7, leaves=True, night=True),
    "panda_burst": Shot(seed=12, animal=Animal.RED_PANDA, animal_width=0.34),
}
_BURST = "panda_burst"


def jpeg(picture: Picture, taken: datetime, quality: int = _QUALITY) -> bytes:
    """Write a picture as a camera would: JPEG with a capture time, make, model and serial number."""
    image = Image.fromarray(picture)
    exif = Image.Exif()
    exif[_MAKE], exif[_MODEL] = "Ponya", "Drawn"
    exif.get_ifd(_EXIF_IFD).update({_TIME: f"{taken:%Y:%m:%d %H:%M:%S}", _SERIAL: "GOLDEN-1"})
    out = BytesIO()
    image.save(out, "JPEG", quality=quality, exif=exif)
    return out.getvalue()


def _keeps_clear(verdict: str, panda: float, limits: Thresholds) -> bool:
    """Whether a golden frame's probability of a red panda stands far enough from the thresholds."""
    return panda > limits.panda + _ROUNDING / 2 if verdict == Fate.PANDA else panda < limits.review - _ROUNDING


def _shows(name: str) -> Fate:
    """What is on a frame, by its name."""
    kind, _, _ = name.partition("_")
    return {"panda": Fate.PANDA, "leaves": Fate.BLANK}.get(kind, Fate.OTHER)


_Said = dict[str, dict[str, str | float]]


def _score(scorer: Scorer, head: Head, burst_name: str, frames: Sequence[Picture]) -> tuple[_Said, list[str]]:
    """What is expected of the frames of a burst, and what is wrong with that."""

    def scored(quality: int) -> list[tuple[Scores, Fate]]:
        found = scorer.score([decode(jpeg(frame, _CAMERA_START, quality)) for frame in frames])
        return [(scores, judge(scores, head.thresholds)) for scores in found]

    expected: _Said = {}
    faults = []
    numbers = [""] if len(frames) == 1 else [f"_{i + 1}" for i in range(len(frames))]
    names = [f"{burst_name}{number}.jpg" for number in numbers]
    otherwise = [[verdict for _, verdict in scored(quality)] for quality in _OTHER_QUALITIES]
    for name, frame, (scores, verdict), others in zip(
        names, frames, scored(_QUALITY), zip(*otherwise, strict=True), strict=True
    ):
        expected[name] = {"verdict": verdict, "panda_probability": scores.panda, "view": scores.view}
        limits = head.thresholds.night if scores.night else head.thresholds.day
        if wrong := {verdict, *others} - {_shows(name)}:
            faults.append(f"{name}: {', '.join(sorted(wrong))} at one quality of the JPEG or another")
        elif not _keeps_clear(verdict, scores.panda, limits):
            faults.append(f"{name}: {scores.panda} is too close to a threshold")
        elif perhaps_in(jpeg(frame, _CAMERA_START)):
            faults.append(f"{name}: would be withheld, as if a person were on it")
    return expected, faults


def write(folder: Path) -> list[str]:
    """Draw the frames into `folder`/golden, with `expected.json` beside them.

    Returns:
        One line for each frame that does not serve: a wrong verdict, or a probability too close to a threshold.
    """
    backbone, head_json = (folder / "backbone.tflite").read_bytes(), (folder / "head.json").read_bytes()
    head = Head.from_json(head_json)
    scorer = Scorer(Model(backbone=backbone, head=head, model_id=Model.identify(backbone, head_json)))
    golden = folder / "golden"
    golden.mkdir(exist_ok=True)
    expected: _Said = {}
    faults: list[str] = []
    for i, (name, shot) in enumerate(_SHOTS.items()):
        at = _CAMERA_START + timedelta(hours=i)
        for trial in range(_TRIED):
            drawn = replace(shot, seed=shot.seed + trial * len(_SHOTS))
            frames = burst(drawn) if name == _BURST else [draw(drawn)]
            said, wrong = _score(scorer, head, name, frames)
            if not wrong:
                break
        expected |= said
        faults += wrong
        for second, (file, frame) in enumerate(zip(said, frames, strict=True)):
            (golden / file).write_bytes(jpeg(frame, at + timedelta(seconds=second)))
    (golden / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    return faults


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS over all other files of the model, as `sha256sum --check` reads it."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}\n" for p in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


def main() -> int:
    """Draw, judge, sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL_DIR)
    folder = parser.parse_args().model
    faults = write(folder)
    write_sums(folder)
    for fault in faults:
        print(fault)  # noqa: T201 - a command line prints
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
