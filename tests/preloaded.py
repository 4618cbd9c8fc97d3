"""Libraries in C that tests preload into a gateway's process, to make its host misbehave."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def preloaded(source: str, folder: Path) -> Path:
    """Compile a source of this folder into a library in `folder`."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip(f"no C compiler here to make {source} with")
    library = folder / Path(source).with_suffix(".so").name
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / source, "-ldl"], check=True, timeout=60)
    return library
