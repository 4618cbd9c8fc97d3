"""What the early, unchanged blocks make of training views: computed once, by the int8 file a gateway would run."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from tqdm import tqdm

from models import lite0

_PART = 512


def compute(network: Path, stem: Path, *, threads: int = 1) -> None:
    """Run the early part over the views of `stem` and store its output beside them, float16."""
    seen = np.load(stem.with_suffix(".npy"), mmap_mode="r")
    found = np.empty((len(seen), *lite0.EARLY_SHAPE), np.float16)

    def part(start: int) -> None:
        interpreter = Interpreter(model_path=str(network), num_threads=1)
        interpreter.allocate_tensors()
        source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
        for i in range(start, min(start + _PART, len(seen))):
            interpreter.set_tensor(source, np.array(seen[i])[None])
            interpreter.invoke()
            found[i] = interpreter.get_tensor(target)[0]

    parts = range(0, len(seen), _PART)
    with ThreadPoolExecutor(threads) as pool:
        list(tqdm(pool.map(part, parts), total=len(parts), desc=f"early blocks, {stem.name}", mininterval=10))
    np.save(path(stem), found)


def path(stem: Path) -> Path:
    """Where the output for the views of `stem` is."""
    return stem.with_name(f"{stem.name}_early.npy")
