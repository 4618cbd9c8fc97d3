"""Cards for rounds: what a trap writes and what befalls a card. The same seed writes the same bytes."""

import os
import random
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from models.draw import Animal, Picture, Shot, burst
from tests.pictures import encoded, exif

_SCENES = (
    Shot(seed=0, animal=Animal.RED_PANDA, animal_width=0.55, width_px=480, height_px=360),
    Shot(seed=5, animal=Animal.RED_PANDA, animal_width=0.5, width_px=480, height_px=360),
    Shot(seed=9, animal=Animal.RED_PANDA, animal_width=0.5, width_px=480, height_px=360, night=True),
    Shot(seed=3, animal=Animal.DEER, width_px=480, height_px=360),
    Shot(seed=4, animal=Animal.BOAR, width_px=480, height_px=360, night=True),
    Shot(seed=6, animal=Animal.PHEASANT, width_px=480, height_px=360),
    Shot(seed=7, leaves=True, width_px=480, height_px=360),
    Shot(seed=8, leaves=True, night=True, width_px=480, height_px=360),
)
_EVENTS = 15
_START = datetime(2026, 3, 14, 5, 20)  # noqa: DTZ001 - a camera's clock knows no zone
_WRITTEN_AT_S = 1_770_000_000


def write_card(folder: Path, name: str, seed: int) -> None:
    """Write a card of 45 to 60 files, most of them pictures, in bursts of one to three.

    Args:
        folder: to be made.
        name: of the card, in its marker: what it is known by wherever it is read.
        seed: decides everything else. Pictures of different seeds have different bytes.
    """
    rng = random.Random(seed)
    trap, copies = folder / "DCIM/100TRAP", folder / "DCIM/101TRAP"
    trap.mkdir(parents=True)
    copies.mkdir()
    (folder / "ponya.yml").write_text(f"card: {name}\n")
    pictures: list[Path] = []
    at = _START
    for event in range(_EVENTS):
        # Each kind of panda is on every card; what else is there differs.
        scene = event if event < 3 else rng.randrange(len(_SCENES))
        for frame in range(rng.randint(1, 3)):
            at += timedelta(seconds=1)
            path = trap / f"IMG_{len(pictures):04}.JPG"
            path.write_bytes(_picture(scene, frame, at, f"trap-{seed}"))
            pictures.append(path)
        at += timedelta(minutes=rng.randint(2, 300))
    for number, original in enumerate(rng.sample(pictures, 4)):
        (copies / f"COPY_{number}.JPG").write_bytes(original.read_bytes())
    (copies / "COPY_P.JPG").write_bytes(pictures[0].read_bytes())
    for number, original in enumerate(rng.sample(pictures, 3)):
        content = original.read_bytes()
        (trap / f"CUT_{number}.JPG").write_bytes(content[: rng.randrange(200, len(content) - 1000)])
    for number in range(2):
        (trap / f"EMPTY_{number}.JPG").touch()
    (trap / "TEXT.JPG").write_text(f"not a picture at all {seed}\n")
    (trap / "CLIP_0000.MP4").write_bytes(rng.randbytes(3000))
    (trap / "._IMG_0000.JPG").write_bytes(b"a shadow")
    (folder / "notes.txt").write_text(f"seed {seed}\n")
    Path(os.fsdecode(os.fsencode(trap) + b"/caf\xe9.jpg")).write_bytes(_picture(6, 1, at, f"accent-{seed}"))
    for path in folder.rglob("*"):
        os.utime(path, (_WRITTEN_AT_S, _WRITTEN_AT_S))


def _picture(scene: int, frame: int, at: datetime, serial: str) -> bytes:
    # The camera's serial number makes the bytes unlike those of any other card.
    image = Image.fromarray(np.asarray(_frames(scene)[frame]))
    return encoded(image, exif=exif(taken=at, offset="+05:45", serial=serial))


@cache
def _frames(scene: int) -> list[Picture]:
    return burst(_SCENES[scene])
