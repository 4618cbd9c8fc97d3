"""The demo card: four cameras' pictures of a fortnight, drawn, with what goes wrong on real cards.

    python -m deployment.demo.card DIR

Every picture is a drawing of the project's own (models/draw.py): it shows how the system works, not how well the model
does in a forest. The same version of the project draws the same bytes each time. The cameras' places are in
deployments.csv beside this file, and are invented.
"""

import argparse
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path, PurePosixPath
from typing import Final

from PIL import Image

from models.draw import Animal, Picture, Shot, burst, draw

_SEEDS: Final = {"DEMO-01": 22, "DEMO-02": 24, "DEMO-03": 25, "DEMO-04": 23}
"""A camera's serial number, and the seed of what it looks at."""

_NEPAL: Final = timezone(timedelta(hours=5, minutes=45))
_EXIF_IFD, _DESCRIPTION, _MAKE, _MODEL, _TIME, _SERIAL = 0x8769, 0x010E, 0x010F, 0x0110, 0x9003, 0xA431
_PANDA, _DEER, _BOAR, _PHEASANT = Animal.RED_PANDA, Animal.DEER, Animal.BOAR, Animal.PHEASANT


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of the card.

    Args:
        path: on the card.
        content: its bytes.
        taken: when, in Nepal's time, which is also the file's own time.
        shows: the animal that was drawn; None in a picture of leaves, and in what is no picture.
        is_picture: whether it is to be judged by what it shows.
    """

    path: PurePosixPath
    content: bytes
    taken: datetime
    shows: Animal | None = None
    is_picture: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visit:
    """What set a camera off, and how many frames it took: alone, or a burst a second apart."""

    camera: str
    taken: str
    animal: Animal | None = None
    night: bool = False
    frames: int = 3
    animal_width: float = 0.42
    at: tuple[float, float] = (0.5, 0.62)


_VISITS: Final = (
    _Visit(camera="DEMO-01", taken="2026-10-19 06:41:10", animal=_PANDA),
    _Visit(camera="DEMO-01", taken="2026-10-20 13:02:55"),
    _Visit(camera="DEMO-01", taken="2026-10-22 23:17:31", animal=_DEER, night=True),
    _Visit(camera="DEMO-01", taken="2026-10-25 04:58:02", animal=_PANDA, night=True, animal_width=0.4, at=(0.5, 0.7)),
    _Visit(camera="DEMO-01", taken="2026-10-28 15:30:44", animal=_PANDA, frames=1, animal_width=0.36),
    _Visit(camera="DEMO-01", taken="2026-10-30 11:11:11", frames=1),
    _Visit(camera="DEMO-01", taken="2026-10-31 05:47:26", animal=_PHEASANT),
    _Visit(camera="DEMO-02", taken="2026-10-18 17:24:09", animal=_PHEASANT),
    _Visit(camera="DEMO-02", taken="2026-10-21 02:13:40", night=True),
    _Visit(camera="DEMO-02", taken="2026-10-24 16:05:27", animal=_PANDA, animal_width=0.3),
    _Visit(camera="DEMO-02", taken="2026-10-27 20:46:18", animal=_BOAR, night=True),
    _Visit(
        camera="DEMO-02",
        taken="2026-10-31 19:29:50",
        animal=_PANDA,
        night=True,
        frames=1,
        animal_width=0.48,
        at=(0.42, 0.64),
    ),
    _Visit(camera="DEMO-03", taken="2026-10-19 09:33:15"),
    _Visit(camera="DEMO-03", taken="2026-10-23 21:50:03", animal=_PANDA, night=True, animal_width=0.48, at=(0.5, 0.7)),
    _Visit(camera="DEMO-03", taken="2026-10-26 07:08:36", animal=_DEER),
    _Visit(camera="DEMO-03", taken="2026-10-28 16:21:08", animal=_PANDA),
    _Visit(camera="DEMO-03", taken="2026-10-29 22:41:57", night=True, frames=1),
    _Visit(camera="DEMO-03", taken="2026-10-31 12:20:20", animal=_PHEASANT, frames=1),
    _Visit(camera="DEMO-04", taken="2026-10-20 03:36:48", animal=_BOAR, night=True, frames=1),
    _Visit(camera="DEMO-04", taken="2026-10-24 10:55:12"),
    _Visit(camera="DEMO-04", taken="2026-10-27 14:14:41", frames=1),
    _Visit(camera="DEMO-04", taken="2026-10-30 18:02:29", animal=_DEER, night=True),
)


def files() -> Iterator[File]:
    """Every file of the card."""
    numbers = dict.fromkeys(_SEEDS, 0)
    pictures = []
    for visit in _VISITS:
        for i, drawn in enumerate(_frames(visit)):
            numbers[visit.camera] += 1
            taken = datetime.fromisoformat(visit.taken).replace(tzinfo=_NEPAL) + timedelta(seconds=i)
            picture = File(
                path=_path(visit.camera, f"PNYA{numbers[visit.camera]:04}.JPG"),
                content=_jpeg(drawn, visit.camera, taken),
                taken=taken,
                shows=visit.animal,
            )
            pictures.append(picture)
            yield picture
    yield from _oddities(pictures)


def _path(camera: str, name: str) -> PurePosixPath:
    return PurePosixPath(camera, "DCIM", "100PONYA", name)


def _frames(visit: _Visit) -> list[Picture]:
    shot = Shot(
        seed=_SEEDS[visit.camera],
        animal=visit.animal,
        night=visit.night,
        animal_width=visit.animal_width,
        at=visit.at,
        leaves=visit.animal is None,  # the wind set it off
        banner=f"{visit.camera}   {visit.taken[:16]}   a drawing",
    )
    return [draw(shot)] if visit.frames == 1 else burst(shot, visit.frames)


def _jpeg(picture: Picture, camera: str, taken: datetime) -> bytes:
    """As a camera writes it: a time without an offset, make, model and serial number."""
    exif = Image.Exif()
    exif[_DESCRIPTION] = "Drawn by Ponya; not a photograph"
    exif[_MAKE], exif[_MODEL] = "Ponya", "Drawn"
    exif.get_ifd(_EXIF_IFD).update({_TIME: f"{taken:%Y:%m:%d %H:%M:%S}", _SERIAL: camera})
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=82, exif=exif)
    return out.getvalue()


def _oddities(pictures: list[File]) -> Iterator[File]:
    """What lies on real cards beside the pictures."""
    first, last = pictures[0], pictures[-1]

    def odd(path: str, content: bytes, *, is_picture: bool = False) -> File:
        return File(path=PurePosixPath(path), content=content, taken=last.taken, is_picture=is_picture)

    yield odd("DEMO-01/DCIM/100PONYA/PNYA0001_copy.JPG", first.content)  # the same bytes twice
    yield odd("DEMO-02/DCIM/100PONYA/PNYA9001.JPG", pictures[3].content[:20_000])  # the batteries ran out
    yield odd("DEMO-02/DCIM/100PONYA/PNYA9002.JPG", b"")
    yield odd("DEMO-03/DCIM/100PONYA/PNYA9003.MP4", _mp4())
    # Not scored, so that a person has to look, whatever the model has learnt by then: DEMO-04 stands "to review".
    yield odd("DEMO-04/DCIM/100PONYA/PNYA9004.TIF", _tiff(last))
    yield odd("DEMO-03/DCIM/.thumbnails/PNYA0001.JPG", _small(pictures[-1]))
    yield odd("DEMO-04/NOTES.TXT", b"Batteries changed on 30 October. This card belongs to the demonstration.\n")
    yield odd("DEMO-04/DCIM/SETUP.PNG", _png(), is_picture=True)


def _mp4() -> bytes:
    """The head of a video, without a frame: enough to be known as one, and nothing that could be scored."""
    brand = b"isom\x00\x00\x02\x00isommp42"
    return (8 + len(brand)).to_bytes(4, "big") + b"ftyp" + brand + (8).to_bytes(4, "big") + b"mdat"


def _tiff(picture: File) -> bytes:
    """A picture in a format that is not scored, by the camera that took `picture`, a minute after it."""
    exif = Image.Exif()
    exif[_MAKE], exif[_MODEL] = "Ponya", "Drawn"
    taken = picture.taken + timedelta(minutes=1)
    exif.get_ifd(_EXIF_IFD).update({_TIME: f"{taken:%Y:%m:%d %H:%M:%S}", _SERIAL: picture.path.parts[0]})
    out = io.BytesIO()
    with Image.open(io.BytesIO(picture.content)) as image:
        image.reduce(4).save(out, "TIFF", exif=exif.tobytes())
    return out.getvalue()


def _small(picture: File) -> bytes:
    with Image.open(io.BytesIO(picture.content)) as image:
        image.thumbnail((160, 120))
        out = io.BytesIO()
        image.save(out, "JPEG")
    return out.getvalue()


def _png() -> bytes:
    """What somebody's telephone added: no camera, no time."""
    drawn = draw(Shot(seed=_SEEDS["DEMO-04"], width_px=640, height_px=480, banner=""))
    out = io.BytesIO()
    Image.fromarray(drawn).save(out, "PNG")
    return out.getvalue()


def write(folder: Path) -> int:
    """Write the card into a folder, which is made; returns how many files it has.

    Raises:
        OSError: the folder is there already, or cannot be written.
    """
    folder.mkdir(parents=True)
    count = 0
    for file in files():
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        os.utime(target, (file.taken.timestamp(),) * 2)
        count += 1
    return count


def main() -> int:
    """Write the card."""
    parser = argparse.ArgumentParser(prog="python -m deployment.demo.card", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="to write to; it must not exist")
    folder = parser.parse_args().folder
    try:
        count = write(folder)
    except OSError as exc:
        print(f"demo card: {folder}: {exc.strerror}", file=sys.stderr)  # noqa: T201 - a command line prints
        return 1
    print(f"{count} files in {folder}")  # noqa: T201 - a command line prints
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
