"""The whole recipe, one command: `python -m models.train`.

Composes training views, fine-tunes the backbone, converts it to int8, fits heads, examines them on pictures they were
not trained on, chooses thresholds there, and puts the result into models/red_panda/. What exists under build/ is not
made again; `--clean` starts over. About two hours on one core. `--head` fits the head alone, for the shipped backbone.

Three models come of it: one that never saw fold 0, one that never saw fold 1, whose answers about those folds are the
figures of EVALUATION.md; and the one that is shipped, trained on all.
"""

import argparse
import hashlib
import json
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from edge_module.backbone import Backbone
from edge_module.model_store import SHIPPED_MODEL_DIR
from edge_module.verdict import DayNight, Thresholds
from models import early, evaluate, exam, golden, pictures
from models.build import ROOT, BuildError, build, published_weights, run
from models.fit import fit
from models.synthesise import BUILD_DIR
from models.views import FOLDS

logger = logging.getLogger(__name__)

LABELS = ("red_panda", "other_animal", "blank")
_EPOCHS = 2
_INVERSE_REGULARISATION = 0.003
"""Of 0.0003 to 0.1 the best average precision on the folds left out; see EVALUATION.md."""

_EARLY = BUILD_DIR / "early.tflite"
_UNSET = DayNight(day=Thresholds(panda=0.5, review=0.2), night=Thresholds(panda=0.5, review=0.2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model in the making, in a folder of its own under build/."""

    name: str
    views: tuple[Path, ...]

    @property
    def folder(self) -> Path:
        """Where it is made."""
        return BUILD_DIR / "candidates" / self.name


def _views(fold: int) -> Path:
    """Stem of the views that leave a fold out."""
    return BUILD_DIR / f"views_{fold}"


CANDIDATES = (
    *(Candidate(name=f"without_{fold}", views=(_views(fold),)) for fold in range(FOLDS)),
    Candidate(name="all", views=tuple(_views(fold) for fold in range(FOLDS))),
)


def _render(fold: int) -> None:
    if not _views(fold).with_suffix(".json").exists():
        _module("models.views", "--fold", str(fold))


def _module(name: str, *arguments: str) -> None:
    if subprocess.run([sys.executable, "-m", name, *arguments], cwd=ROOT, check=False).returncode:  # noqa: S603 - ours
        raise BuildError(f"{name} failed; its own words are above")


def _tune(candidate: Candidate, threads: int) -> Path:
    tuned = candidate.folder / "weights.npz"
    for stem in candidate.views:
        if not early.path(stem).exists():
            if not _EARLY.exists():
                build(published_weights(), _EARLY, early=True)
            early.compute(_EARLY, stem)
    if not tuned.exists():
        stems = [str(stem) for stem in candidate.views]
        run(
            "models.finetune",
            *("--weights", str(published_weights()), "--out", str(tuned), "--views", *stems),
            *("--epochs", str(_EPOCHS), "--threads", str(threads)),
        )
    return tuned


def _features(stem: Path, backbone: Path) -> npt.NDArray[np.float32]:
    """Features of rendered views by a TFLite backbone; kept beside it."""
    kept = backbone.with_name(f"{stem.name}_features.npy")
    if not kept.exists() or kept.stat().st_mtime < backbone.stat().st_mtime:
        network = Backbone.open(backbone)
        seen = np.load(stem.with_suffix(".npy"), mmap_mode="r")
        np.save(kept, np.stack([network.features(np.array(v)) for v in tqdm(seen, desc="features", mininterval=10)]))
    return np.asarray(np.load(kept), np.float32)


def fit_head(stems: Sequence[Path], backbone: Path, thresholds: DayNight) -> bytes:
    """Fit a head on rendered views as a TFLite backbone sees them."""
    rows = [row for stem in stems for row in json.loads(stem.with_suffix(".json").read_text())]
    features = np.concatenate([_features(stem, backbone) for stem in stems])
    labels = [row["label"] for row in rows]
    frequency = {label: labels.count(label) / len(labels) for label in LABELS}
    weights = np.array([frequency[label] ** -0.5 for label in labels], np.float32)
    return fit(
        features,
        labels,
        weights / weights.mean(),
        order=LABELS,
        inverse_regularisation=_INVERSE_REGULARISATION,
        thresholds=thresholds,
        backbone_sha256=hashlib.sha256(backbone.read_bytes()).hexdigest(),
    )


def _make(candidate: Candidate, threads: int) -> None:
    candidate.folder.mkdir(parents=True, exist_ok=True)
    backbone = candidate.folder / "backbone.tflite"
    if not backbone.exists():
        build(_tune(candidate, threads), backbone)
    head = candidate.folder / "head.json"
    if not head.exists():
        head.write_bytes(fit_head(candidate.views, backbone, _UNSET))


def _examine(fold: int) -> None:
    folder = BUILD_DIR / "candidates" / f"without_{fold}"
    if not exam.answers(fold, "real", folder).exists():
        _module("models.exam", "--fold", str(fold), "--backbone", str(folder / "backbone.tflite"))


def install(folder: Path, shipped: Path = SHIPPED_MODEL_DIR) -> list[str]:
    """Put a made model into the place it is shipped from.

    Returns:
        Faults of its golden frames; none is as it should be.
    """
    for name in ("backbone.tflite", "head.json"):
        shutil.copyfile(folder / name, shipped / name)
    (shipped / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    faults = golden.write(shipped)
    golden.write_sums(shipped)
    return faults


def _train(*, head_only: bool, threads: int) -> list[str]:
    pictures.read()  # says at once if there are none
    final = CANDIDATES[-1]
    for fold in range(FOLDS):
        _render(fold)
    if head_only:
        final.folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SHIPPED_MODEL_DIR / "backbone.tflite", final.folder / "backbone.tflite")
        thresholds = golden.shipped_thresholds(SHIPPED_MODEL_DIR)
    else:
        for candidate in CANDIDATES:
            _make(candidate, threads)
        for fold in range(FOLDS):
            _examine(fold)
        thresholds = evaluate.thresholds_to_ship()
    backbone = final.folder / "backbone.tflite"
    (final.folder / "head.json").write_bytes(fit_head(final.views, backbone, thresholds))
    return install(final.folder)


def main() -> int:
    """Train, and say what was used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head", action="store_true", help="fit the head alone, on the shipped backbone")
    parser.add_argument("--clean", action="store_true", help="make everything anew")
    parser.add_argument("--threads", type=int, default=1, help="for fine-tuning")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    began = time.monotonic()
    if arguments.clean:
        shutil.rmtree(BUILD_DIR / "candidates", ignore_errors=True)
        for stale in BUILD_DIR.glob("views_*"):
            stale.unlink()
    try:
        faults = _train(head_only=arguments.head, threads=arguments.threads)
    except (pictures.PicturesAbsent, BuildError) as exc:
        logger.error("%s", exc)  # noqa: TRY400 - the reason is in the words, not in a traceback
        return 2
    used = pictures.read()
    logger.info(
        "used %d pictures of %d sources; %d epochs; %.0f s", len(used), len({p.group for p in used}), _EPOCHS,
        time.monotonic() - began,
    )  # fmt: skip
    for fault in faults:
        logger.error("golden frames: %s", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
