"""The command line: ``python -m deployment.manifest --help``.

Exit status: 0 written, or nothing wrong; 2 something is wrong: a line each on stderr, nothing is written.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Final

from deployment.manifest.render import ManifestError, check_layer, render

ROOT: Final = Path(__file__).resolve().parents[2]
ARCHITECTURES: Final = ("arm32v7", "arm64v8", "amd64")


def main(argv: list[str] | None = None) -> int:
    """Run the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m deployment.manifest", description="Writes build/deployment.ARCH.json, or checks layers."
    )
    parser.add_argument("--template", type=Path, default=ROOT / "deployment.template.json", metavar="FILE")
    parser.add_argument("--out", type=Path, metavar="FILE", help="instead of build/deployment.ARCH.json")
    parser.add_argument("--layer", type=Path, action="append", default=[], metavar="FILE", help="check this one too")
    parser.add_argument("arch", choices=ARCHITECTURES)
    parser.add_argument("variables", nargs="*", metavar="NAME=VALUE", help="over what the environment has")
    arguments = parser.parse_intermixed_args(argv)
    given = dict(word.partition("=")[::2] for word in arguments.variables)
    faults = []
    manifest = None
    try:
        manifest = render(arguments.template.read_text(), {**os.environ, **given, "ARCH": arguments.arch})
    except (ManifestError, OSError) as exc:
        faults += [f"{arguments.template}: {fault}" for fault in getattr(exc, "faults", [exc])]
    for layer in arguments.layer:
        try:
            check_layer(layer.read_text())
        except (ManifestError, OSError) as exc:
            faults += [f"{layer}: {fault}" for fault in getattr(exc, "faults", [exc])]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if faults:
        return 2
    out = arguments.out or ROOT / "build" / f"deployment.{arguments.arch}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.touch(mode=0o600)  # it holds the registry's password
    out.write_text(json.dumps(manifest, indent=2) + "\n")
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
