"""The whole recipe, one command: `python -m models.train`.

Composes training views, fine-tunes and averages backbones, settles where they look closer, converts them to int8, fits
heads, examines them on pictures they were not trained on, chooses thresholds there, and puts the result into
models/red_panda/. What exists under build/ is not made again; `--clean` starts over. Over two hours on two cores.

Sources (photographs and cameras) are split into thirds. For each third a model is trained that has seen nothing of it,
and examined on it. What is shipped is the mean of their backbones, which have seen all sources between them, with a
head fitted on all sources and the thresholds of the three: its own figures cannot be measured here, theirs stand for
it.
"""

import argparse
import json
import logging
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from edge_module.backbone import Backbone
from edge_module.model_store import SHIPPED_MODEL_DIR
from edge_module.verdict import DayNight
from models import BUILD_DIR, answered, evaluate, exam, gate, golden, known, lite0, pictures, sit
from models.build import ROOT, BuildError, build, build_float, published_weights, run
from models.fit import cooled
from models.lessons import LABELS, STEMS, UNSET, Candidate, drawn_views, fit_head, views_without
from models.views import FOLDS

logger = logging.getLogger(__name__)

_STEPS, _SEEDS = 1000, (1, 2)
"""Of 32 views each. Networks of several seeds are averaged: there are few animals, and what one order of them taught
and another did not is mostly chance."""

_KEPT = 0.7
"""Of the way from the published weights to the tuned ones."""

_GATE_EVERY = 7
"""Every seventh burst, by day and night: the file stays at three megabytes."""


def _render(fold: int) -> None:
    if not views_without(fold).with_suffix(".json").exists():
        _module("models.views", "--fold", str(fold))


def _module(name: str, *arguments: str) -> None:
    if subprocess.run([sys.executable, "-m", name, *arguments], cwd=ROOT, check=False).returncode:  # noqa: S603 - ours
        raise BuildError(f"{name} failed; its own words are above")


def _teacher() -> Path:
    """What the published network says of the clean photographs."""
    kept = BUILD_DIR / "teacher.npz"
    if not kept.exists():
        said, _ = known.photographs(pictures.read())
        arrays: dict[str, Any] = said
        np.savez(kept, **arrays)
    return kept


def _tune(candidate: Candidate) -> Path:
    """Weights of a candidate: the mean of several seeds, for the one that ships of those that are examined."""
    tuned, mean = candidate.folder / "weights.npz", candidate.folder / "mean.npz"
    if tuned.exists():
        return tuned
    learned_from = ["--views", *map(str, STEMS), "--folds", str(FOLDS)]
    learned_from += [] if candidate.fold is None else ["--fold", str(candidate.fold)]
    if candidate.fold is None:
        of_it = [_tune(Candidate(fold=fold)) for fold in range(FOLDS)]
    else:
        of_it = [candidate.folder / f"weights_{seed}.npz" for seed in _SEEDS]
        for seed, out in zip(_SEEDS, of_it, strict=True):
            if not out.exists():
                run(
                    "models.finetune",
                    *("--weights", str(published_weights()), "--teacher", str(_teacher()), "--out", str(out)),
                    *("--steps", str(_STEPS), "--kept", str(_KEPT), "--seed", str(seed), *learned_from),
                )
    lite0.save(mean, lite0.mean([dict(np.load(out)) for out in of_it]))
    run("models.settle", "--weights", str(mean), "--out", str(tuned), *learned_from)
    return tuned


def _make(candidate: Candidate) -> None:
    candidate.folder.mkdir(parents=True, exist_ok=True)
    backbone = candidate.folder / "backbone.tflite"
    if not backbone.exists():
        build(_tune(candidate), backbone, views=views_without(candidate.fold or 0))
    head = candidate.folder / "head_fitted.json"
    if not head.exists():
        head.write_bytes(fit_head(candidate))


def _examine(candidate: Candidate, fold: int) -> None:
    exam.set_papers(fold)
    network = Backbone.open(candidate.folder / "backbone.tflite")
    for kind in exam.PAPERS:
        kept = exam.answers(fold, kind, candidate.folder)
        if not kept.exists():
            questions = json.loads(exam.paper(fold, kind).read_text())
            sit.sit(questions, network, tiles=kind == "composed").store(kept)


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


def _held_out(fold: int) -> None:
    """Make and examine a model that leaves out a fold."""
    _make(Candidate(fold=fold))
    _examine(Candidate(fold=fold), fold)


def _train() -> Candidate:
    """Train models that leave out each fold, a processor each, and the one that is shipped."""
    folds = range(FOLDS)
    _teacher()
    with ProcessPoolExecutor() as pool:
        list(pool.map(_render, folds))
        for needed_by_both in (drawn_views, published_weights):
            needed_by_both()
        list(pool.map(_held_out, folds))
    final = Candidate(fold=None)
    _make(final)
    return final


def _ask_the_other_runtime() -> None:
    """What tflite-runtime, as gateways with 32 bits have it, makes of some of the frames; slow, so of some only."""
    python = BUILD_DIR / "venv-tflite" / "bin" / "python"
    if not python.exists():
        logger.warning("%s is absent: the two runtimes are not compared", python)
        return
    for fold in range(FOLDS):
        folder = Candidate(fold=fold).folder
        out = evaluate.other_runtime(fold, folder)
        arguments = ["--paper", exam.paper(fold, "composed"), "--network", folder / "backbone.tflite"]
        arguments += ["--every", evaluate.OTHER_RUNTIME_EVERY, "--out", out]
        command = [str(word) for word in (python, "-m", "models.sit", *arguments)]
        if not out.exists() and subprocess.run(command, cwd=ROOT, check=False).returncode:  # noqa: S603 - ours
            raise BuildError("models.sit failed; its own words are above")


def _calibrate() -> tuple[DayNight, float]:
    """Temperature, and thresholds for heads cooled by it, from the folds held out."""
    heads = {fold: Candidate(fold=fold).folder / "head.json" for fold in answered.folds_examined()}
    for head in heads.values():
        head.write_bytes(head.with_name("head_fitted.json").read_bytes())
    divisor = evaluate.temperature()
    for head in heads.values():
        head.write_bytes(cooled(head.read_bytes(), divisor, UNSET))
    return evaluate.thresholds_to_ship(), divisor


def _store_gate(final: Candidate, shipped: Path) -> None:
    """Features of some test frames by the shipped backbone, and by the same weights in float."""
    plain = final.folder / "float.tflite"
    if not plain.exists():
        build_float(final.folder / "weights.npz", plain)
    papers = [exam.paper(fold, "composed") for fold in range(FOLDS)]
    answers = {
        name: [sit.sit(json.loads(paper.read_text()), Backbone.open(network), every=_GATE_EVERY) for paper in papers]
        for name, network in (("int8", final.folder / "backbone.tflite"), ("float", plain))
    }
    gate.store(shipped, papers, answers)


def main() -> int:
    """Train, and say what was used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=SHIPPED_MODEL_DIR, help="the model's folder to write")
    parser.add_argument("--clean", action="store_true", help="make everything anew")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    began = time.monotonic()
    if arguments.clean:
        made = ("candidates", "exam_*", "rehearsal_*", "views_*")
        for stale in [found for name in made for found in BUILD_DIR.glob(name)]:
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    try:
        used = pictures.read()
        final = _train()
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
        len({p.group for p in used}), _STEPS, FOLDS, time.monotonic() - began,
    )  # fmt: skip
    for fault in faults:
        logger.error("golden frames: %s", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
