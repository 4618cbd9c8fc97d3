"""What is in the image, and what it says inside: the same as outside."""

import gzip
import json
import os
import shutil
import stat
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from deployment.image.build import Image
from tests.image.inside import ROOT, Container, expected, options

MB = 1_000_000

pytestmark = pytest.mark.timeout(1200)


def names(layer: Path) -> set[str]:
    with tarfile.open(layer) as tar:
        return {member.name for member in tar if member.isfile()}


# --- what is in it ---


def test_it_takes_at_most_250_mb_unpacked(image: Image) -> None:
    """And 350 MB on 64 bits, whose runtime is larger. All layers together: what one hides of another still counts."""
    unpacked = 0
    for _, _, layer in image.layers():
        with gzip.open(layer) as content:
            while block := content.read(1 << 20):
                unpacked += len(block)
    assert unpacked <= (250 if image.folder.name == "arm32v7" else 350) * MB


def test_model_and_code_have_layers_of_their_own_and_the_code_comes_last(image: Image) -> None:
    *_, (_, _, model), (_, code_bytes, code) = image.layers()
    assert {name.split("/")[1] for name in names(model)} == {"models"}
    assert {name.split("/")[1] for name in names(code)} == {"edge_module"}
    assert code_bytes <= 2 * MB


def test_it_runs_as_nobody_in_particular_through_an_init(image: Image) -> None:
    config = image.configuration()
    assert config["User"] == options()["User"] == "10001:10001"
    assert config["Entrypoint"][0] == "tini"
    assert config["Cmd"] == ["run"]
    assert "Volumes" not in config, "a volume would hide that a mount was forgotten"
    labels = {name.rpartition(".")[2] for name in config["Labels"] if name.startswith("org.opencontainers.image.")}
    assert {"title", "description", "licenses", "version", "revision"} <= labels


def test_nothing_in_it_makes_its_user_another_one(image: Image) -> None:
    special = [
        Path(folder) / name
        for folder, _, files in os.walk(image.rootfs)
        for name in files
        if (mode := os.lstat(Path(folder) / name).st_mode) & (stat.S_ISUID | stat.S_ISGID) and stat.S_ISREG(mode)
    ]
    assert special == []


def test_it_has_no_tests_no_headquarters_and_no_caches(image: Image) -> None:
    assert sorted(path.name for path in (image.rootfs / "app").iterdir()) == ["LICENSE", "edge_module", "models"]
    assert not (image.rootfs / "app/models/red_panda/evaluation").exists(), "megabytes that only training asks for"
    for folder in ("var/lib/apt/lists", "var/cache/apt", "usr/share/man", "root/.cache", "tmp"):
        found = image.rootfs / folder
        assert not found.exists() or not any(found.iterdir()), folder


def test_the_bill_of_materials_names_all_that_runs_with_its_licence(image: Image) -> None:
    bill = json.loads((image.folder / "sbom.cdx.json").read_text())
    found = {one["bom-ref"].rpartition(":")[0] or one["bom-ref"]: one for one in bill["components"]}
    references = {one["bom-ref"] for one in bill["components"]}
    assert len(references) == len(bill["components"])
    assert {"pypi:azure-iot-device", "pypi:azure-storage-blob", "model:red_panda"} <= references
    assert {"deb:python3-numpy", "deb:python3-pil", "deb:python3.11-minimal", "deb:libc6"} <= set(found)
    assert all(one["version"] for one in bill["components"] if one["type"] == "library")
    wheels = {path.name for path in (image.rootfs / "opt/site").glob("*.dist-info")}
    assert sum(one["bom-ref"].startswith("pypi:") for one in bill["components"]) == len(wheels)
    without = [one["bom-ref"] for one in bill["components"] if not one["licenses"]]
    texts = {path.name for path in (image.folder / "licences").glob("*/*")}
    unknown = [one for one in without if not any(text.startswith(one.split(":")[1]) for text in texts)]
    assert unknown == [], "neither the name of a licence nor its text"


# --- what it says ---


def test_the_golden_frames_have_their_verdicts(container: Container) -> None:
    done = container.run("selftest")
    assert (done.returncode, done.stdout) == (0, "selftest passed\n"), done.stderr


def test_a_card_has_the_same_verdicts_as_outside_and_stays_as_it_was(container: Container) -> None:
    card = container.folder("/media/cards") / "card"
    shutil.copytree(ROOT / "models/red_panda/golden", card, ignore=shutil.ignore_patterns("*.json"))
    before = {path.name: path.stat().st_mtime_ns for path in card.iterdir()}
    settled = replace(container, environment={"PONYA_SETTLE_S": "0"})
    done = settled.run("scan", "/media/cards/card", "--json", "--keep")
    assert done.returncode == 0, done.stderr
    *records, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["path"]: one["verdict"] for one in records} == {
        name: one["verdict"] for name, one in expected().items()
    }
    assert last["receipt"]["seen"] == len(expected())
    assert {path.name: path.stat().st_mtime_ns for path in card.iterdir()} == before
    kept = [path for path in (container.folder("/data") / "originals").rglob("*") if path.suffix == ".jpg"]
    assert len(kept) == last["receipt"]["panda"] + last["receipt"]["review"]
    again = settled.run("scan", "/media/cards/card", "--json")
    assert [json.loads(line) for line in again.stdout.splitlines()][:-1] == records


@pytest.mark.parametrize("path", ["/x", "/app/edge_module/x", "/media/cards/x", "/opt/site/x"])
def test_its_root_and_the_cards_cannot_be_written_to(container: Container, path: str) -> None:
    done = container.run("sh", "-c", f"echo > {path}", entrypoint=False)
    assert done.returncode != 0
    assert "Read-only file system" in done.stderr or "Permission denied" in done.stderr


def test_it_has_no_privileges(container: Container) -> None:
    done = container.run("cat", "/proc/self/status", entrypoint=False)
    status = dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)
    assert set(status["Uid"].split()) == {"10001"}
    assert set(status["Gid"].split()) == {"10001"}
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"] == "1"


# --- what it says when something is missing: one line, and it ends ---


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"leave_out": ("/data",)}, "/data: nothing is mounted there"),
        ({"leave_out": ("/media/cards",)}, "/media/cards: nothing is mounted there"),
        ({"read_only": ("/data",)}, "/data: cannot be written to (Read-only file system)"),
        ({"full": ("/data",)}, "/data: cannot be written to (No space left on device)"),
        ({}, "IOTEDGE_WORKLOADURI is not set"),
        (
            {"environment": {"IOTEDGE_WORKLOADURI": "unix:///run/iotedge/workload.sock"}},
            "/run/iotedge/workload.sock: there is no workload socket",
        ),
    ],
)
def test_started_wrongly_it_says_so_in_a_line_and_ends(
    container: Container, wrong: dict[str, object], said: str
) -> None:
    done = replace(container, **wrong).run()  # type: ignore[arg-type]
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {said}")
