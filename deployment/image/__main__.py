"""The command line: ``python -m deployment.image build arm32v7``.

Exit status: 0 built; 1 the image is wrong; 75 left out, because this machine cannot build it now.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from deployment.image import build, sbom
from deployment.image.errors import ImageError, LeftOut
from deployment.image.machine import KINDS

LEFT_OUT: Final = 75
"""EX_TEMPFAIL of sysexits.h."""


def main(argv: list[str] | None = None) -> int:
    """Build one image. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deployment.image", description="Builds the gateway's image.")
    parser.add_argument("arch", choices=KINDS)
    parser.add_argument("--target", type=Path, help="folder for the result (build/image/ARCH)")
    parser.add_argument("--version", default="0", help="for the label")
    parser.add_argument("--limit-min", type=float, default=120, help="minutes it may take")
    arguments = parser.parse_args(argv)
    target = (arguments.target or build.ROOT / "build/image" / arguments.arch).resolve()
    try:
        image = build.build(arguments.arch, target, limit_s=60 * arguments.limit_min, version=arguments.version)
    except LeftOut as exc:
        print(f"the image of {arguments.arch} is left out, because: {exc}", file=sys.stderr)
        return LEFT_OUT
    except ImageError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    bill = sbom.bill(image.rootfs, version=arguments.version)
    (target / "sbom.cdx.json").write_text(json.dumps(bill, indent=1) + "\n")
    licences = sbom.collect_licences(image.rootfs, target / "licences")
    print(f"{len(bill['components'])} components in {target / 'sbom.cdx.json'}, the licences of {licences} beside it")
    sizes = ", ".join(f"{size / 1e6:.1f}" for _, size, _ in image.layers())
    print(f"{target}: {image.unpacked_bytes() / 1e6:.0f} MB unpacked; layers to pull, MB: {sizes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
