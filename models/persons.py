"""How well people are seen: `python -m models.persons` asks the detector about the labelled pictures; prints a table.

Nine frames with people, all by day: too few to say how well. By night there are none, so these are made grey, and lit
by a flash, to have at least an idea. What is lost by it is measured on composed frames of red pandas.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_module.frame import decode
from edge_module.people import DOUBT_MIN, shipped
from models import pictures
from models.metrics import share
from models.synthesise import Stock

_COMPOSED = 150

Seen = Callable[[Image.Image], Image.Image]


def grey(image: Image.Image) -> Image.Image:
    """As infrared light might show it."""
    return _grey(np.asarray(image) @ np.array((0.5, 0.4, 0.1)))


def flash(image: Image.Image) -> Image.Image:
    """The same in the dark, lit from the camera, with noise."""
    plane = np.asarray(image) @ np.array((0.5, 0.4, 0.1))
    height, width = plane.shape
    v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    lit = plane * (1.2 * np.exp(-(u**2 + v**2)) + 0.08)
    return _grey(lit + np.random.default_rng(0).normal(0, 6, lit.shape))


def _grey(plane: npt.NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(np.repeat(np.clip(plane, 0, 255).astype(np.uint8)[..., None], 3, axis=2))


def _rows(labelled: list[pictures.Labelled]) -> Iterator[tuple[str, list[str], list[Image.Image]]]:
    def of(label: str, *, trap: bool, seen: Seen = lambda image: image) -> tuple[list[str], list[Image.Image]]:
        chosen = [p for p in labelled if p.label == label and p.trap == trap]
        return [p.group for p in chosen], [seen(Image.open(p.path).convert("RGB")) for p in chosen]

    yield "people, trap frames by day", *of("human", trap=True)
    yield "the same, grey", *of("human", trap=True, seen=grey)
    yield "the same, as by flash", *of("human", trap=True, seen=flash)
    yield "vehicles, trap frames", *of("vehicle", trap=True)
    yield "other animals, trap frames", *of("other_animal", trap=True)
    yield "blank trap frames", *of("blank", trap=True)
    yield "red pandas, photographs", *of("red_panda", trap=False)
    stock, rng = Stock.of([p for p in labelled if p.trap or p.warm_blooded]), np.random.default_rng(3)
    for name, night in (("day", False), ("night", True)):
        made = [stock.burst(rng, "red_panda", night=night, frames=1, widths=(0.06, 0.6)) for _ in range(_COMPOSED)]
        yield f"red pandas, composed, {name}", [m.sources[1] for m in made], [decode(m.jpegs[0]).image for m in made]


def main() -> None:
    """Print a table."""
    people = shipped()
    print(f"| what | pictures | a person, perhaps (p >= {DOUBT_MIN}) | 95 % interval |\n|---|---|---|---|")  # noqa: T201
    for name, groups, images in _rows(pictures.read()):
        found = share(np.array([people.perhaps(image) for image in images]), np.array(groups))
        print(f"| {name} | {found.frames} | {found.value:.2f} | {found.low:.2f} to {found.high:.2f} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
