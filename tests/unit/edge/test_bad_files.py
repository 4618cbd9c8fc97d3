"""A card full of what cards are full of: one run of `scan`, and what it says of each file."""

import hashlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_module.domain import Fate
from models.draw import Animal
from tests import pictures
from tests.edge_cli import LIMIT_S, ROOT, Run, assert_balanced, edge, environment, scan

SCORED = {Fate.PANDA, Fate.REVIEW, Fate.OTHER, Fate.BLANK, Fate.HUMAN}
HUNDRED_MEGAPIXELS = (10_000, 10_000)


def _pictures() -> Iterator[tuple[str, bytes]]:
    """Files that are pictures, each in its own way."""
    scene, grey = pictures.scene, pictures.scene(4).convert("L")
    yield "plain.jpg", pictures.jpeg(1)
    yield "upper.JPG", pictures.jpeg(2)
    yield "cmyk.jpg", pictures.encoded(scene(3).convert("CMYK"))
    yield "grey.jpg", pictures.encoded(grey)
    yield "progressive.jpg", pictures.encoded(scene(5), progressive=True)
    yield "png.png", pictures.encoded(scene(6), "PNG")
    yield "png_16_bit.png", pictures.encoded(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG")
    yield "png_alpha.png", pictures.encoded(scene(7).convert("RGBA"), "PNG")
    yield "png_palette.png", pictures.encoded(scene(8).quantize(16), "PNG", transparency=0)
    yield "png_bilevel.png", pictures.encoded(scene(9).convert("1"), "PNG")
    yield "png_named.jpg", pictures.encoded(scene(10), "PNG")
    yield "jpeg_named.png", pictures.jpeg(11)
    yield "webp_named.jpg", pictures.encoded(scene(12), "WEBP")
    yield "tail_after_the_end.jpg", pictures.jpeg(13) + b"trailing" * 100
    yield "one_pixel.png", pictures.encoded(scene(14, width_px=1, height_px=1), "PNG")
    yield "one_row.jpg", pictures.encoded(scene(15, width_px=4000, height_px=1))
    yield "exif_less.jpg", pictures.jpeg(16)
    yield "exif_wrong_clock.jpg", pictures.jpeg(17, exif=pictures.exif(taken="0000:00:00 00:00:00"))
    yield "exif_not_a_time.jpg", pictures.jpeg(18, exif=pictures.exif(taken="\x1b[31m yesterday"))
    yield "exif_first_year.jpg", pictures.jpeg(19, exif=pictures.exif(taken="0001:01:01 00:00:00", offset="+14:00"))
    yield "exif_last_year.jpg", pictures.jpeg(20, exif=pictures.exif(taken="9999:12:31 23:59:59", offset="-14:00"))
    yield "exif_far_offset.jpg", pictures.jpeg(21, exif=pictures.exif(taken="2026:01:02 03:04:05", offset="+23:59"))
    yield "exif_long_serial.jpg", pictures.jpeg(22, exif=pictures.exif(serial="S\0\x1b" * 5000))
    yield from _broken_exif()


def _broken_exif() -> Iterator[tuple[str, bytes]]:
    """EXIF segments with bytes changed at random; the picture after them is whole."""
    rng = random.Random(1)
    for n in range(20):
        content = bytearray(
            pictures.jpeg(100 + n, exif=pictures.exif(taken="2026:01:02 03:04:05", serial="X", orientation=6))
        )
        start = content.index(b"Exif\0\0") + 6
        length = int.from_bytes(content[start - 8 : start - 6]) - 8
        for _ in range(1 + n):
            content[start + rng.randrange(length)] = rng.randrange(256)
        yield f"exif_broken_{n}.jpg", bytes(content)


def _broken() -> Iterator[tuple[str, bytes, str]]:
    """Files that only claim to be pictures, and what the reason must name."""
    whole, png = pictures.jpeg(50), pictures.encoded(pictures.scene(51), "PNG")
    yield "empty.jpg", b"", "empty"
    yield "empty_too.png", b"", "empty"
    yield "truncated.jpg", whole[: len(whole) // 2], "truncated"
    yield "truncated_in_header.jpg", pictures.jpeg(52)[:100], "picture"
    yield "truncated.png", png[: len(png) // 2], "damaged"
    yield "text_named.jpg", b"Nothing to see here.\n" * 50, "not a JPEG"
    yield "zeros.jpg", bytes(10_000), "not a JPEG"
    yield "noise.jpg", random.Random(2).randbytes(10_000), "not a JPEG"
    yield "gif_named.jpg", pictures.encoded(pictures.scene(53), "GIF"), "not a JPEG"


def _ignored() -> Iterator[tuple[str, bytes, str]]:
    """Files that are nobody's pictures, and what the reason must name."""
    yield "notes.txt", b"battery changed", "neither a picture nor a video"
    yield "no_suffix", b"x", "neither a picture nor a video"
    yield "ponya.yml", b"card: test card\n", "marker"
    yield "DCIM/._IMG_1.jpg", pictures.jpeg(60), "macOS"
    yield ".thumbnails/1.jpg", pictures.jpeg(61), "operating system"
    yield "System Volume Information/deep/2.jpg", pictures.jpeg(62), "operating system"


ODD_NAMES = (
    b"not-utf8-\xff\xfe.jpg",
    b"new\nline.jpg",
    b"\x1b[31mred\x07.jpg",
    b"<img src=x onerror=alert(1)>.jpg",
    "नेपाल 🐼.jpg".encode(),
    "line\u2028separator.jpg".encode(),
    b"-rf.jpg",
    b"'; DROP TABLE file; --.jpg",
    b"x" * 251 + b".jpg",
)
SHOWN_NAMES = [name.decode("utf-8", "backslashreplace") for name in ODD_NAMES]


@dataclass(frozen=True)
class OddCard:
    root: Path
    data: Path
    run: Run


@pytest.fixture(scope="session")
def odd_card(tmp_path_factory: pytest.TempPathFactory) -> OddCard:
    """The card, and the one run that most tests here look at."""
    top = tmp_path_factory.mktemp("odd")
    root, outside = top / "card", top / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(pictures.jpeg(90))
    files = [*_pictures(), *((n, c) for n, c, _ in _broken()), *((n, c) for n, c, _ in _ignored())]
    huge = Image.new("L", HUNDRED_MEGAPIXELS, 90)
    files.append(("huge.jpg", pictures.encoded(huge)))
    files.append(("huge.png", pictures.encoded(huge, "PNG")))
    files.append(("huge_progressive.jpg", pictures.encoded(huge, progressive=True)))
    files.append(("panda.jpg", pictures.encoded(pictures.drawn(), exif=pictures.exif(taken="2026:03:14 05:20:00"))))
    files.append(("again/panda.jpg", files[-1][1]))
    files.append(("deer.jpg", pictures.encoded(pictures.drawn(Animal.DEER, 3))))
    files += [(f"clip.{kind}", f"a film, as {kind}".encode()) for kind in ("mp4", "AVI", "mov")]
    files += [("raw.dng", b"raw"), ("apple.heic", b"heic")]
    for name, content in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for n, name in enumerate(ODD_NAMES):
        with open(os.fsencode(root) + b"/" + name, "wb") as file:  # noqa: PTH123 - names that pathlib cannot have
            file.write(pictures.jpeg(200 + n))
    (root / "link.jpg").symlink_to(outside / "secret.jpg")
    (root / "link_to_folder").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "dangling.jpg").symlink_to("nowhere")
    os.mkfifo(root / "pipe.jpg")
    before = _content(root)
    run = scan(root, top / "data", "--keep", "--workers", "2")
    assert _content(root) == before, "the card is never written to"
    return OddCard(root, top / "data", run)


def _content(folder: Path) -> list[tuple[bytes, int, int]]:
    return sorted(
        (os.fsencode(path), path.lstat().st_mtime_ns, path.lstat().st_size) for path in [folder, *folder.rglob("*")]
    )


def test_the_run_goes_on_to_the_end_and_balances(odd_card: OddCard) -> None:
    assert odd_card.run.status == 0, odd_card.run.err
    assert odd_card.run.receipt["state"] == "complete"
    assert_balanced(odd_card.run)
    assert "Traceback" not in odd_card.run.err
    assert "Warning" not in odd_card.run.err, "a library's, which names no file and says nothing to do"


@pytest.mark.parametrize("name", [name for name, _ in _pictures()])
def test_an_odd_picture_gets_a_verdict(odd_card: OddCard, name: str) -> None:
    line = odd_card.run.by_path[name]
    assert line["verdict"] in SCORED
    assert 0 <= line["panda_probability"] <= 1
    assert line["error"] is None
    assert line["media_id"] == hashlib.sha256((odd_card.root / name).read_bytes()).hexdigest()


@pytest.mark.parametrize(("name", "reason"), [(name, reason) for name, _, reason in _broken()])
def test_a_broken_picture_is_unreadable_and_says_why(odd_card: OddCard, name: str, reason: str) -> None:
    line = odd_card.run.by_path[name]
    assert line["verdict"] == Fate.UNREADABLE
    assert reason in line["error"]
    assert line["panda_probability"] is None


@pytest.mark.parametrize(("name", "reason"), [(name, reason) for name, _, reason in _ignored()])
def test_what_is_no_picture_is_ignored_and_named(odd_card: OddCard, name: str, reason: str) -> None:
    named = {entry["path"]: entry for entry in odd_card.run.receipt["named"]}
    assert named[name]["fate"] == odd_card.run.by_path[name]["verdict"] == Fate.IGNORED
    assert reason in named[name]["reason"]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.AVI", "clip.mov", "raw.dng", "apple.heic"])
def test_what_cannot_be_scored_goes_to_a_person(odd_card: OddCard, name: str) -> None:
    line = odd_card.run.by_path[name]
    assert line["verdict"] == Fate.REVIEW
    assert "a person should look" in line["error"]
    assert any(odd_card.data.glob(f"originals/*/{line['media_id']}.*")), "its original is kept"


@pytest.mark.parametrize("name", SHOWN_NAMES)
def test_a_hostile_name_is_a_name_like_any_other(odd_card: OddCard, name: str) -> None:
    assert odd_card.run.by_path[name]["verdict"] in SCORED


@pytest.mark.parametrize("name", ["link.jpg", "link_to_folder", "loop", "dangling.jpg", "pipe.jpg"])
def test_nothing_leads_out_of_the_card(odd_card: OddCard, name: str) -> None:
    line = odd_card.run.by_path[name]
    assert line["verdict"] == Fate.IGNORED
    assert "symbolic link" in line["error"] or "not a regular file" in line["error"]
    assert not [path for path in odd_card.run.by_path if path.startswith(("link_to_folder/", "loop/"))]


def test_a_hundred_megapixels_are_judged_only_if_they_can_be_decoded_at_an_eighth(odd_card: OddCard) -> None:
    assert odd_card.run.by_path["huge.jpg"]["verdict"] in SCORED
    for name in ("huge.png", "huge_progressive.jpg"):
        assert odd_card.run.by_path[name]["verdict"] == Fate.UNREADABLE
        assert "too large: 100 megapixels" in odd_card.run.by_path[name]["error"]


def test_the_same_bytes_twice_are_a_picture_and_a_duplicate(odd_card: OddCard) -> None:
    first, again = odd_card.run.by_path["again/panda.jpg"], odd_card.run.by_path["panda.jpg"]
    assert first["verdict"] == Fate.PANDA
    assert again["verdict"] == Fate.DUPLICATE
    assert first["media_id"] == again["media_id"]
    assert first["captured_at"] == "2026-03-14T05:20:00+05:45"


def test_empty_files_are_unreadable_and_never_duplicates(odd_card: OddCard) -> None:
    assert [odd_card.run.by_path[name]["verdict"] for name in ("empty.jpg", "empty_too.png")] == ["unreadable"] * 2


def test_every_original_to_be_kept_is_kept(odd_card: OddCard) -> None:
    wanted = {line["media_id"] for line in odd_card.run.files if line["verdict"] in (Fate.PANDA, Fate.REVIEW)}
    notes = list(odd_card.data.glob("originals/*/*.json"))
    kept = [path for path in odd_card.data.glob("originals/*/*") if path.suffix != ".json"]
    assert {path.stem for path in notes} == {path.stem for path in kept} == wanted
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.stem for path in kept)
    assert odd_card.run.receipt["originals_owed"] == 0


def test_the_same_card_again_keeps_its_first_fates_and_owes_nothing_new(odd_card: OddCard) -> None:
    owed = _owed_records(odd_card.data)
    again = scan(odd_card.root, odd_card.data, "--keep")
    assert_balanced(again)
    assert again.by_path == odd_card.run.by_path
    assert again.receipt["reading_id"] != odd_card.run.receipt["reading_id"]
    assert _owed_records(odd_card.data) == owed


def _owed_records(data: Path) -> list[str]:
    listed = edge("outbox", "list", "--data", data)
    assert listed.status == 0, listed.err
    return [line for line in listed.out.splitlines() if "record" in line]


def test_a_table_shows_no_control_character_of_a_card(odd_card: OddCard) -> None:
    shown = edge("scan", odd_card.root, "--data", odd_card.data)
    assert shown.status == 0, shown.err
    assert all(c.isprintable() or c == "\n" for c in shown.out)
    assert "seen" in shown.out
    assert "NOT SAFE TO WIPE" in shown.out


def test_memory_stays_bounded_by_the_largest_picture_whatever_lies_beside_it(tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.mkdir()
    large = Image.new("RGB", (6_000, 6_000))
    for n in range(3):  # one burst, held in memory together
        large.putpixel((n, 0), (255, 255, 255))
        taken = pictures.exif(taken=f"2026:03:14 05:20:0{n}")
        (card / f"{n}.png").write_bytes(pictures.encoded(large, "PNG", exif=taken, compress_level=1))
    tall = Image.new("1", (12_000, 12_000))  # 144 megapixels in 20 KB
    (card / "refused.png").write_bytes(pictures.encoded(tall, "PNG"))
    child = f"""
import pathlib, runpy, sys
sys.argv = ["edge_module", "scan", {str(card)!r}, "--json", "--data", {str(tmp_path / "data")!r}, "--workers", "1"]
try:
    runpy.run_module("edge_module", run_name="__main__")
finally:
    print(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", child], cwd=ROOT, env=environment(), capture_output=True, timeout=LIMIT_S, check=True
    )
    run = Run(status=0, out=done.stdout.decode(), err=done.stderr.decode())
    assert_balanced(run)
    assert "too large: 144 megapixels" in run.by_path["refused.png"]["error"]
    peak_mb = int(run.err.split()[-1]) / 1024

    assert peak_mb < 350, "the program, and one picture at a time"


def test_a_picture_may_lie_on_its_side(tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.mkdir()
    upright = pictures.drawn(seed=10)  # in which rounding hardly moves the place of the closer look
    for orientation, turn in pictures.UPRIGHT_TO_STORED.items():
        stored = upright if turn is None else upright.transpose(turn)
        tags = pictures.exif(orientation=orientation)
        (card / f"{orientation}.jpg").write_bytes(pictures.encoded(stored, quality=95, exif=tags))
        (card / f"{orientation}.png").write_bytes(pictures.encoded(stored, "PNG", exif=tags))
    run = scan(card, tmp_path / "data")
    assert_balanced(run)
    as_it_stands = run.by_path["1.png"]["panda_probability"]
    assert {line["verdict"] for line in run.files} == {Fate.PANDA}
    assert [line["panda_probability"] for line in run.files] == pytest.approx([as_it_stands] * 16, abs=0.05)


def test_a_file_that_is_still_growing_is_waited_for(tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.mkdir()
    (card / "a.jpg").write_bytes(pictures.jpeg(1))
    os.utime(card / "a.jpg", ns=(0, 0))
    growing, done = card / "b.jpg", threading.Event()
    growing.write_bytes(pictures.jpeg(2))
    run: list[Run] = []
    scanning = threading.Thread(
        target=lambda: run.append(scan(card, tmp_path / "data", settings={"settle_s": 1.5})), daemon=True
    )
    opened = threading.Event()

    def grow() -> None:
        while not done.wait(0.05):
            with growing.open("ab") as file:
                file.write(b"\0")
            if (tmp_path / "data" / "ledger.sqlite").exists():
                opened.set()

    writing = threading.Thread(target=grow, daemon=True)
    writing.start()
    scanning.start()
    assert opened.wait(60), "the scan has begun while the file grows"
    done.set()
    writing.join(10)
    scanning.join(60)
    assert_balanced(run[0])
    assert run[0].status == 0
    assert run[0].by_path["b.jpg"]["media_id"] == hashlib.sha256(growing.read_bytes()).hexdigest()
    assert len(growing.read_bytes()) > len(pictures.jpeg(2))


def test_a_file_that_never_stops_growing_interrupts_the_reading(tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (card / name).write_bytes(pictures.jpeg(ord(name[0])))
    os.utime(card / "a.jpg", ns=(0, 0))
    run = scan(card, tmp_path / "data", settings={"settle_s": 600, "settle_timeout_s": 1})
    assert run.status == 1
    assert_balanced(run)
    assert run.receipt["state"] == "interrupted"
    assert run.receipt["pending"] == 1
    assert "1 files are still being written to" in " ".join(run.receipt["blockers"])
    later = scan(card, tmp_path / "data")
    assert later.status == 0
    assert_balanced(later)
    assert later.receipt["reading_id"] == run.receipt["reading_id"]
