"""The image's bill of materials (CycloneDX 1.5) and its licences, read from its root file system."""

import hashlib
import re
import shutil
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, Final

_DEBIAN_LICENCE: Final = re.compile(r"^License: *(\S.*?) *$", re.MULTILINE)
_CLASSIFIER: Final = "License :: OSI Approved :: "


def bill(rootfs: Path, *, version: str) -> dict[str, Any]:
    """The bill of materials.

    Args:
        rootfs: the image's root file system.
        version: of our own software.
    """
    components = [*_debian(rootfs), *_python(rootfs), *_model(rootfs)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": "ponya-gateway",
                "name": "ponya-gateway",
                "version": version,
                "licenses": [{"license": {"id": "MIT"}}],
            }
        },
        "components": sorted(components, key=lambda one: str(one["bom-ref"])),
    }


def collect_licences(rootfs: Path, target: Path) -> int:
    """Copy every licence's text into a folder, one a component. Returns how many components have one."""
    shutil.rmtree(target, ignore_errors=True)
    count = 0
    for text in sorted((rootfs / "usr/share/doc").glob("*/copyright")):
        if not text.exists():  # a link out of what was kept
            continue
        _copy(text, target / "debian" / text.parent.name)
        count += 1
    for info in sorted((rootfs / "opt/site").glob("*.dist-info")):
        texts = [path for path in info.rglob("*") if re.match(r"(?i)(licen[cs]e|copying|notice)", path.name)]
        for text in texts:
            _copy(text, target / "python" / info.name.removesuffix(".dist-info") / text.name)
        count += bool(texts)
    return count


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        shutil.copyfile(source, target)


def _debian(rootfs: Path) -> Iterator[dict[str, Any]]:
    """Every installed package of dpkg's."""
    for paragraph in (rootfs / "var/lib/dpkg/status").read_text().split("\n\n"):
        fields = HeaderParser().parsestr(paragraph)
        if "installed" not in str(fields["Status"]).split():
            continue
        name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
        copyright_file = rootfs / "usr/share/doc" / str(name) / "copyright"
        names = (
            sorted(set(_DEBIAN_LICENCE.findall(copyright_file.read_text(errors="replace"))))
            if copyright_file.is_file() else []
        )  # fmt: skip
        yield {
            "type": "library",
            "bom-ref": f"deb:{name}:{machine}",
            "name": name,
            "version": version,
            "purl": f"pkg:deb/debian/{name}@{version.replace('+', '%2B').replace(':', '%3A')}?arch={machine}",
            "licenses": _licences(names),
        }


def _python(rootfs: Path) -> Iterator[dict[str, Any]]:
    """Every wheel that was added to Debian's packages."""
    for info in (rootfs / "opt/site").glob("*.dist-info"):
        fields = HeaderParser().parsestr((info / "METADATA").read_text(errors="replace"))
        said = fields["License-Expression"] or fields["License"] or ""
        classified = [
            one.removeprefix(_CLASSIFIER) for one in fields.get_all("Classifier", []) if one.startswith(_CLASSIFIER)
        ]
        one_line = said and "\n" not in said and len(said) < 100  # noqa: PLR2004 - longer is the licence itself
        yield {
            "type": "library",
            "bom-ref": f"pypi:{fields['Name']}",
            "name": fields["Name"],
            "version": fields["Version"],
            "purl": f"pkg:pypi/{str(fields['Name']).lower().replace('_', '-')}@{fields['Version']}",
            "licenses": _licences([said] if one_line else classified),
        }


def _model(rootfs: Path) -> Iterator[dict[str, Any]]:
    backbone = rootfs / "app/models/red_panda/backbone.tflite"
    yield {
        "type": "machine-learning-model",
        "bom-ref": "model:red_panda",
        "name": "red_panda",
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(backbone.read_bytes()).hexdigest()}],
        "licenses": _licences(["Apache-2.0"]),
    }


def _licences(names: list[str]) -> list[dict[str, Any]]:
    return [{"license": {"name": name}} for name in names]
