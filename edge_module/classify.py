"""`classify`: the verdict on single files, without ledger or card."""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edge_module.burst import Shot, bursts, events
from edge_module.card import PICTURE_MAX_BYTES
from edge_module.domain import KEPT_FATES, Exif, Fate, Media
from edge_module.errors import MediaError
from edge_module.exif import EXIF_HEAD_BYTES, read_exif
from edge_module.frame import Frame, decode
from edge_module.people import People, shipped
from edge_module.scorer import Model, Scorer
from edge_module.settings import Settings
from edge_module.verdict import DayNight, judge, withhold


def classify(paths: Sequence[Path], model: Model, settings: Settings) -> Iterator[dict[str, Any]]:
    """Judge files, in the order given. As on a card, pictures of one event (by EXIF) are compared with each other.

    Yields:
        ``{path, verdict, panda_probability, captured_at, error}`` for each file; with scores also ``withheld,
        probabilities, night, view``.
    """
    scorer, people = Scorer(model), shipped()
    thresholds = settings.thresholds(model.head.thresholds)
    shots = (_shot(path, settings.camera_utc_offset_min) for path in paths)
    for event in events(shots, gap_s=settings.event_gap_s):
        for burst in bursts(event):
            yield from _judge_burst(burst, scorer, people, thresholds)


def _shot(path: Path, utc_offset_min: int) -> Shot:
    media = Media(path=os.fsencode(path), size_bytes=0, mtime_ns=0)
    if not path.is_file():
        return Shot(media=media, exif=Exif())  # looking at it says why
    try:
        with path.open("rb") as file:
            return Shot(media=media, exif=read_exif(file.read(EXIF_HEAD_BYTES), utc_offset_min=utc_offset_min))
    except OSError:
        return Shot(media=media, exif=Exif())  # reading it meets the same error, and says so


def _judge_burst(
    burst: Sequence[Shot], scorer: Scorer, people: People, thresholds: DayNight
) -> Iterator[dict[str, Any]]:
    looked = [_look(shot) for shot in burst]
    frames = [frame for frame in looked if isinstance(frame, Frame)]
    scores = iter(scorer.score(frames) if frames else [])
    for shot, frame in zip(burst, looked, strict=True):
        captured = shot.exif.captured
        line: dict[str, Any] = {
            "path": shot.media.name,
            "verdict": Fate.UNREADABLE,
            "panda_probability": None,
            "captured_at": captured.at.isoformat() if captured else None,
            "error": None,
        }
        if isinstance(frame, Frame):
            score = next(scores)
            fate = judge(score, thresholds)
            fate, withheld = withhold(fate, person=fate in KEPT_FATES and people.perhaps(frame.image))
            line |= {
                "verdict": fate,
                "withheld": withheld,
                "panda_probability": score.panda,
                "probabilities": dict(score.probabilities),
                "night": score.night,
                "view": score.view,
            }
        else:
            line["error"] = frame
        yield line


def _look(shot: Shot) -> Frame | str:
    path = Path(os.fsdecode(shot.media.path))
    try:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or path.is_dir()):  # a pipe would be waited at for ever
            return "not a regular file"
        if status.st_size > PICTURE_MAX_BYTES:
            return f"too large: {status.st_size / 2**20:.0f} MB, at most {PICTURE_MAX_BYTES / 2**20:.0f} are read"
        return decode(path.read_bytes())
    except OSError as exc:
        return exc.strerror or str(exc)
    except MediaError as exc:
        return str(exc)
