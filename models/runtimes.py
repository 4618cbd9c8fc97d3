"""The same looks by either TFLite runtime: what the gateway's older one makes of test frames.

Needs what a gateway has and no more, so that it runs in build/venv-tflite (`make test` makes it) as well:
``build/venv-tflite/bin/python -m models.runtimes --paper build/exam_0_composed --network FILE --every 6 --out FILE``.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_module.backbone import interpreter
from edge_module.scorer import FULL, MOTION


def usable(paper: Mapping[str, Any], *, every: int) -> npt.NDArray[np.int64]:
    """The rows of a fold's looks that the gateway would have looked at, of every n-th burst."""
    events = np.array([q["event"] for q in paper["questions"]])[np.array(paper["owner"])]
    return np.flatnonzero(np.isin(paper["view"], (FULL, MOTION)) & (events % every == 0))


def features(stem: Path, network: Path, *, every: int) -> npt.NDArray[np.float32]:
    """What a TFLite file, int8 or float, makes of the usable looks of a fold: (n, 1280)."""
    seen = np.load(stem.with_suffix(".npy"), mmap_mode="r")
    model = interpreter(network.read_bytes())
    model.allocate_tensors()
    (source,), (target,) = model.get_input_details(), model.get_output_details()
    found = []
    for row in usable(json.loads(stem.with_suffix(".json").read_text()), every=every):
        look = np.array(seen[row])[None]
        plain = source["dtype"] != np.uint8
        model.set_tensor(source["index"], (look.astype(np.float32) - 127) / 128 if plain else look)
        model.invoke()
        found.append(model.get_tensor(target["index"])[0])
    return np.stack(found)


def main() -> None:
    """Run a network and store what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", type=Path, required=True, help="stem of test frames")
    parser.add_argument("--network", type=Path, required=True)
    parser.add_argument("--every", type=int, required=True, help="which bursts: every n-th")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    np.save(arguments.out, features(arguments.paper, arguments.network, every=arguments.every))


if __name__ == "__main__":
    main()
