"""The whole recipe, one command: `python -m models.train`.

Composes training views, fine-tunes the backbone, converts it to int8, fits heads, examines them on pictures they were
not trained on, chooses thresholds there, and puts the result into models/red_panda/. What exists under build/ is not
made again; `--clean` starts over. About an hour and a half on one core.

Sources (photographs and cameras) are split into thirds. For each of two thirds a model is trained that has seen nothing
of it, and examined on it. What is shipped is one more model, trained on all sources, with the thresholds of the two:
its own figures cannot be measured here, theirs stand for it.
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from edge_module.backbone import Backbone
from edge_module.frame import to_input
from edge_module.model_store import SHIPPED_MODEL_DIR
from edge_module.verdict import DayNight, Thresholds
from models import early, evaluate, exam, gate, golden, pictures, runtimes, views
from models.build import ROOT, BuildError, build, published_weights, run
from models.fit import cooled, fit
from models.pictures import fold_of
from models.synthesise import BUILD_DIR
from models.views import FOLDS

logger = logging.getLogger(__name__)

LABELS = ("red_panda", "other_animal", "blank")
_STEPS = 800
"""Of 32 views each."""

_DRAWN_FRAMES, _DRAWN_WEIGHT = 150, 30.0
"""Two views of each; weighted so that golden frames stand clear of the thresholds."""

_EXAMINED = (0, 1)
"""The folds that are held out, one after the other. Views without the one and views without the other are, together, of
all sources."""

_INVERSE_REGULARISATION = 0.001
"""Of 0.0003, 0.003 and 0.03 the first two tied in average precision on the fold held out (0.854, 0.848, 0.839 by day;
0.734, 0.740, 0.709 by night); this lies between them."""

_PART, _FEATURE_THREADS = 512, 4

_GATE_EVERY = 3
"""Every third burst, by day and night: the file stays below two megabytes."""

_EARLY = BUILD_DIR / "early.tflite"
_UNSET = DayNight(day=Thresholds(panda=0.5, review=0.2), night=Thresholds(panda=0.5, review=0.2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model in the making, in a folder of its own under build/.

    Args:
        fold: what it must not have seen; None has seen everything.
    """

    fold: int | None

    @property
    def folder(self) -> Path:
        """Where it is made."""
        return BUILD_DIR / "candidates" / ("all" if self.fold is None else f"without_{self.fold}")

    def may_see(self, source: str) -> bool:
        """Whether it may learn from a view of some sources."""
        groups = source.split("+")
        return self.fold is None or source == "drawn" or all(fold_of(group, FOLDS) != self.fold for group in groups)


def _views(fold: int) -> Path:
    """Stem of the views that leave a fold out."""
    return BUILD_DIR / f"views_{fold}"


_STEMS = tuple(_views(fold) for fold in _EXAMINED)


def _render() -> None:
    for fold in _EXAMINED:
        if not _views(fold).with_suffix(".json").exists():
            _module("models.views", "--fold", str(fold))


def _drawn() -> Path:
    """Stem of the drawn views."""
    stem = BUILD_DIR / "views_drawn"
    if not stem.with_suffix(".json").exists():
        views.store(stem, list(views.drawn(_DRAWN_FRAMES, seed=10_000)))
    return stem


def _module(name: str, *arguments: str) -> None:
    if subprocess.run([sys.executable, "-m", name, *arguments], cwd=ROOT, check=False).returncode:  # noqa: S603 - ours
        raise BuildError(f"{name} failed; its own words are above")


def _early() -> None:
    """What the blocks that stay make of all views."""
    if not _EARLY.exists():
        build(published_weights(), _EARLY, early=True)
    for stem in _STEMS:
        if not early.path(stem).exists():
            early.compute(_EARLY, stem)


def _teacher() -> Path:
    """What the published network makes of the clean photographs, whole and without their rims: features by group."""
    kept = BUILD_DIR / "teacher.npz"
    if kept.exists():
        return kept
    published = BUILD_DIR / "backbone.tflite"
    build(published_weights(), published)
    network, features = Backbone.open(published), {}
    for photograph in (p for p in pictures.read() if not p.trap):
        image = Image.open(photograph.path).convert("RGB")
        width, height = image.size
        inner = (0.1 * width, 0.1 * height, 0.9 * width, 0.9 * height)
        features[photograph.group] = np.stack([network.features(to_input(image, box)) for box in (None, inner)])
    arrays: dict[str, Any] = features
    np.savez(kept, **arrays)
    return kept


def _tune(candidate: Candidate, threads: int) -> Path:
    tuned = candidate.folder / "weights.npz"
    if not tuned.exists():
        _early()
        run(
            "models.finetune",
            *("--weights", str(published_weights()), "--teacher", str(_teacher()), "--out", str(tuned)),
            *("--views", *map(str, _STEMS), "--folds", str(FOLDS)),
            *(() if candidate.fold is None else ("--fold", str(candidate.fold))),
            *("--steps", str(_STEPS), "--threads", str(threads)),
        )
    return tuned


def _features(stem: Path, backbone: Path) -> npt.NDArray[np.float32]:
    """Features of rendered views by a TFLite file, kept beside it."""
    kept = backbone.with_name(f"{stem.name}_features.npy")
    if not kept.exists():
        content, seen = backbone.read_bytes(), np.load(stem.with_suffix(".npy"), mmap_mode="r")

        def part(start: int) -> npt.NDArray[np.float32]:
            network = Backbone(content, name=backbone.name)
            return np.stack([network.features(np.array(view)) for view in seen[start : start + _PART]])

        parts = range(0, len(seen), _PART)
        with ThreadPoolExecutor(_FEATURE_THREADS) as pool:
            found = list(tqdm(pool.map(part, parts), total=len(parts), desc=f"features, {stem.name}", mininterval=10))
        np.save(kept, np.concatenate(found))
    return np.asarray(np.load(kept), np.float32)


def fit_head(candidate: Candidate) -> bytes:
    """Fit a head on rendered views, and some drawn ones, as a candidate's backbone sees them."""
    backbone = candidate.folder / "backbone.tflite"
    parts, labels = [], []
    for stem in (*_STEMS, _drawn()):
        rows = json.loads(stem.with_suffix(".json").read_text())
        used = [i for i, row in enumerate(rows) if candidate.may_see(row["source"])]
        parts.append(_features(stem, backbone)[used])
        labels += [rows[i]["label"] for i in used]
    frequency = {label: labels.count(label) / len(labels) for label in LABELS}
    weights = np.array([frequency[label] ** -0.5 for label in labels], np.float32)
    weights[-_DRAWN_FRAMES * 2 :] *= _DRAWN_WEIGHT
    return fit(
        np.concatenate(parts),
        labels,
        weights / weights.mean(),
        order=LABELS,
        inverse_regularisation=_INVERSE_REGULARISATION,
        thresholds=_UNSET,
        backbone_sha256=hashlib.sha256(backbone.read_bytes()).hexdigest(),
    )


def _make(candidate: Candidate, threads: int) -> None:
    candidate.folder.mkdir(parents=True, exist_ok=True)
    backbone = candidate.folder / "backbone.tflite"
    if not backbone.exists():
        build(_tune(candidate, threads), backbone)
    head = candidate.folder / "head_fitted.json"
    if not head.exists():
        head.write_bytes(fit_head(candidate))


def _examine(candidate: Candidate, fold: int) -> None:
    if not exam.answers(fold, "real", candidate.folder).exists():
        backbone = candidate.folder / "backbone.tflite"
        _module("models.exam", "--fold", str(fold), "--backbone", str(backbone))


def install(folder: Path, shipped: Path) -> list[str]:
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


def _train(folds: Sequence[int], threads: int) -> Candidate:
    """Train models that leave out each of some folds, and the one that is shipped."""
    _render()
    for fold in folds:
        _make(Candidate(fold=fold), threads)
        _examine(Candidate(fold=fold), fold)
    final = Candidate(fold=None)
    _make(final, threads)
    return final


def _ask_the_other_runtime() -> None:
    """What tflite-runtime, as gateways with 32 bits have it, makes of some of the frames; slow, so of some only."""
    python = BUILD_DIR / "venv-tflite" / "bin" / "python"
    if not python.exists():
        logger.warning("%s is absent: the two runtimes are not compared", python)
        return
    for fold in _EXAMINED:
        folder, stem = Candidate(fold=fold).folder, exam.paper(fold, "composed")
        out = evaluate.other_runtime(fold, folder)
        arguments = ["--paper", stem, "--network", folder / "backbone.tflite", "--every", evaluate.OTHER_RUNTIME_EVERY]
        command = [python, "-m", "models.runtimes", *arguments, "--out", out]
        if not out.exists() and subprocess.run([str(word) for word in command], cwd=ROOT, check=False).returncode:  # noqa: S603
            raise BuildError("models.runtimes failed; its own words are above")


def _calibrate() -> tuple[DayNight, float]:
    """Temperature, and thresholds for heads cooled by it, from the folds held out."""
    heads = {fold: Candidate(fold=fold).folder / "head.json" for fold in evaluate.folds_examined()}
    for head in heads.values():
        head.write_bytes(head.with_name("head_fitted.json").read_bytes())
    divisor = evaluate.temperature()
    for head in heads.values():
        head.write_bytes(cooled(head.read_bytes(), divisor, _UNSET))
    return evaluate.thresholds_to_ship(), divisor


def _store_gate(final: Candidate, shipped: Path) -> None:
    """Features of some test frames by the shipped backbone, and by the same weights in float."""
    plain = final.folder / "float.tflite"
    if not plain.exists():
        build(final.folder / "weights.npz", plain, int8=False)
    papers = [exam.paper(fold, "composed") for fold in _EXAMINED]
    features = {
        "int8": [runtimes.features(stem, final.folder / "backbone.tflite", every=_GATE_EVERY) for stem in papers],
        "float": [runtimes.features(stem, plain, every=_GATE_EVERY) for stem in papers],
    }
    gate.store(shipped, papers, {name: np.concatenate(parts) for name, parts in features.items()}, every=_GATE_EVERY)


def main() -> int:
    """Train, and say what was used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=SHIPPED_MODEL_DIR, help="the model's folder to write")
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
        used = pictures.read()
        final = _train(_EXAMINED, arguments.threads)
        _ask_the_other_runtime()
        thresholds, divisor = _calibrate()
        head = cooled((final.folder / "head_fitted.json").read_bytes(), divisor, thresholds)
    except (pictures.PicturesAbsent, BuildError) as exc:
        logger.error("%s", exc)  # noqa: TRY400 - the reason is in the words, not in a traceback
        return 2
    (final.folder / "head.json").write_bytes(head)
    faults = install(final.folder, arguments.out)
    _store_gate(final, arguments.out)
    golden.write_sums(arguments.out)
    logger.info(
        "%d pictures of %d sources at hand; %d steps for each of %d models; %.0f s", len(used),
        len({p.group for p in used}), _STEPS, len(_EXAMINED) + 1, time.monotonic() - began,
    )  # fmt: skip
    for fault in faults:
        logger.error("golden frames: %s", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
