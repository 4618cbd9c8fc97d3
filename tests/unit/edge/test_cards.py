"""Cards come and go, several at once, huge ones and broken ones: what a technician at the gateway gets."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from edge_module import wire
from edge_module.card import Mount
from edge_module.cards import HUNG_S
from edge_module.ceiling import Ceiling
from edge_module.domain import CardReceipt, ReadingState
from edge_module.mounts import MOUNTINFO, MountTable, parse
from edge_module.pipeline import Pipeline
from edge_module.places import CardSeen, PlaceState
from edge_module.turns import Turns
from edge_module.volumes import filesystem_uuid
from tests.gateway_cards import LIMIT_S, GatewayCards, can_mount, mounted, needs_mounts, running, wait_until, write
from tests.pictures import jpeg


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayCards]:
    # So rarely would it look by itself that everything that happens was told by the kernel.
    with running(tmp_path, settings={"poll_s": 600}) as made:
        yield made


# --- coming and going ---


def test_a_card_is_read_as_soon_as_it_is_there_and_a_folder_that_grows_again(gateway: GatewayCards) -> None:
    card = gateway.insert("wifi")
    assert gateway.receipt("wifi").seen == 1
    (card / "b.jpg").write_bytes(jpeg(2))
    wait_until(
        lambda: (
            gateway.ledger.receipt(gateway.ledger.last_readings(1)[0][0]).seen == 2
            and gateway.seen("wifi").state is PlaceState.READ
        ),  # type: ignore[union-attr]
        lambda: str(gateway.cards.seen()),
    )
    shutil.rmtree(card)
    wait_until(lambda: gateway.cards.seen() == [], lambda: str(gateway.cards.seen()))
    assert gateway.cards.activity == "waiting for a card"


@needs_mounts
def test_a_mount_is_noticed_and_its_folder_that_stays_behind_is_no_card(gateway: GatewayCards) -> None:
    beside = gateway.folder / "beside"
    with mounted(beside):
        write(beside, {"DCIM/a.jpg": jpeg(1)})
        with mounted(gateway.dir / "sda1", "--bind", str(beside)):
            assert gateway.receipt("sda1").seen == 1
    gateway.wait("sda1", PlaceState.EMPTY)
    assert len(gateway.readings()) == 1
    gateway.insert("next")
    assert gateway.receipt("next").seen == 1
    assert len(gateway.readings()) == 2


@needs_mounts
def test_an_empty_card_is_a_card(gateway: GatewayCards) -> None:
    with mounted(gateway.dir / "empty"):
        receipt = gateway.receipt("empty")
    assert (receipt.seen, receipt.safe_to_wipe) == (0, True)


def test_an_empty_folder_is_none_and_becomes_one_when_a_camera_writes(gateway: GatewayCards) -> None:
    folder = gateway.insert("ftp", {})
    gateway.wait("ftp", PlaceState.EMPTY)
    assert gateway.readings() == []
    (folder / "a.jpg").write_bytes(jpeg(1))
    assert gateway.receipt("ftp").seen == 1


@needs_mounts
def test_a_card_that_is_unmounted_while_it_is_listed_is_not_an_empty_card(tmp_path: Path) -> None:
    point = tmp_path / "card"
    with mounted(point):
        (point / "a.jpg").write_bytes(jpeg(1))
        mount = Mount(point)
    with pytest.raises(Exception, match="taken out"):
        list(mount.files())


# --- several at once ---


def test_a_huge_card_does_not_hold_up_a_small_one(gateway: GatewayCards) -> None:
    gateway.insert("huge", {f"{n:04}.jpg": jpeg(n) for n in range(600)})
    gateway.wait("huge", PlaceState.READING)
    gateway.insert("small")
    assert gateway.receipt("small").seen == 1
    huge = gateway.seen("huge")
    assert huge
    assert huge.state is PlaceState.READING
    assert gateway.cards.reading
    # And its verdicts do not wait for the huge one's end.
    while gateway.ledger.outbox.pack(flush=False):
        pass
    assert gateway.ledger.receipt(gateway.seen("small").reading_id).unconfirmed == 1  # type: ignore[union-attr]
    sent = [wire.decode(body).payload for _, body in gateway.ledger.outbox.unconfirmed()]
    assert any(r.path == "small.jpg" for p in sent if isinstance(p, wire.Records) for r in p.records)


def test_more_cards_than_are_read_at_once_all_get_their_turn(gateway: GatewayCards) -> None:
    for n in range(9):
        gateway.insert(f"card{n}", {f"{n}.jpg": jpeg(n)})
    assert [gateway.receipt(f"card{n}").seen for n in range(9)] == [1] * 9


def test_turns_are_taken_in_order_and_no_more_at_once_than_allowed() -> None:
    turns, inside, most, order = Turns(lambda: 2), 0, 0, []
    lock = threading.Lock()

    def take(n: int) -> None:
        nonlocal inside, most
        for _ in range(50):
            with turns:
                with lock:
                    inside += 1
                    most = max(most, inside)
                    order.append(n)
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=take, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert most <= 2
    assert len(order) == 250


# --- a card that hangs ---


class _HangingMount(Mount):
    """A card of which one file never answers, as of a reader that has died: the kernel waits and waits."""

    def __init__(self, mount: Mount, answer: threading.Event) -> None:
        super().__init__(mount.root, io=mount._io)
        self._answer = answer

    def read(self, media: Any) -> Any:
        with self._io:
            assert self._answer.wait(LIMIT_S)
        return super().read(media)


@dataclass
class _Hanging:
    """A pipeline that meets a `_HangingMount` in place of the card named so."""

    pipeline: Pipeline
    answer: threading.Event

    def read(self, mount: Mount, report: Any, *, on_listed: Any) -> CardReceipt:
        if mount.root.name == "hangs":
            mount = _HangingMount(mount, self.answer)
        return self.pipeline.read(mount, report, on_listed=on_listed)


def test_a_card_that_does_not_answer_is_told_of_once_and_holds_up_no_other(tmp_path: Path) -> None:
    answer = threading.Event()
    with running(tmp_path, pipeline=lambda made: _Hanging(made, answer), settings={"poll_s": 0.1}) as gateway:
        gateway.insert("hangs", {f"{n}.jpg": jpeg(n) for n in range(9)})
        gateway.wait("hangs", PlaceState.READING)
        gateway.insert("one")
        assert gateway.receipt("one").seen == 1
        assert gateway.seen("hangs").state is PlaceState.READING  # type: ignore[union-attr]
        gateway.clock.ahead_s += HUNG_S + 1
        assert "does not answer" in gateway.wait("hangs", PlaceState.HUNG).why
        assert not gateway.cards.reading
        gateway.insert("two")
        assert gateway.receipt("two").seen == 1
        wait_until(lambda: gateway.alerts() != [], lambda: "no alert")
        assert [code for code, _ in gateway.alerts()] == ["card_hangs"]
        answer.set()  # the kernel has given up, or the reader has come to itself
        receipt = gateway.receipt("hangs")
        assert (receipt.state, receipt.seen) == (ReadingState.COMPLETE, 9)


def test_a_card_taken_out_while_its_reading_waits_for_room_is_not_read_on_from_the_next_card(tmp_path: Path) -> None:
    with running(tmp_path, settings={"originals_max_bytes": 1_000_000, "poll_s": 0.1}) as gateway:
        ceiling = Ceiling(
            ledger=gateway.ledger, originals=gateway.originals, settings=lambda: gateway.settings,
            clock=gateway.clock, stop=gateway.stop, wait=True,
        )  # fmt: skip
        gateway.originals.bound_by(ceiling.make_room)
        gateway.insert("slot", {"ponya.yml": b"card: Ilam 7", "a.mp4": b"7" * 1_200_000, "b.jpg": jpeg(7)})
        wait_until(lambda: ceiling.paused, lambda: "it does not wait for room")
        waiting = gateway.readings()
        (gateway.dir / "slot").rename(tmp_path / "taken out")
        wait_until(lambda: gateway.seen("slot") is None, lambda: "nobody noticed")
        gateway.settings = replace(gateway.settings, originals_max_bytes=None)
        gateway.insert("slot", {"ponya.yml": b"card: Ilam 8", "a.mp4": b"8" * 1_200_000, "b.jpg": jpeg(8)})
        assert gateway.receipt("slot").seen == 3
        wait_until(lambda: not gateway.cards.hanging(), lambda: str(gateway.cards.hanging()))
        first = gateway.ledger.receipt(waiting[0])
        assert (first.state, first.pending) == (ReadingState.INTERRUPTED, 2)
        assert "taken out" in first.blockers[0]
        assert not ceiling.paused
        (tmp_path / "taken out").rename(gateway.dir / "again")
        assert gateway.receipt("again").seen == 3
        assert len(gateway.readings()) == 2


def test_a_pipe_on_a_card_is_never_waited_for(gateway: GatewayCards) -> None:
    beside = gateway.folder / "beside"
    write(beside, {"a.jpg": jpeg(1)})
    os.mkfifo(beside / "b.jpg")
    beside.rename(gateway.dir / "pipe")
    receipt = gateway.receipt("pipe")
    assert (receipt.seen, receipt.counts["ignored"]) == (2, 1)
    assert [n.reason for n in receipt.named] == ["not a regular file"]


def test_a_pipe_that_took_a_files_place_after_the_listing_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    mount = Mount(tmp_path)
    (listed,) = mount.files()
    (tmp_path / "a.jpg").unlink()
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(Exception, match=r"still growing|temporarily unavailable"):
        mount.read(listed.media)


# --- odd cards ---


def test_ten_thousand_empty_folders_are_a_card_with_nothing_on_it(gateway: GatewayCards) -> None:
    beside = gateway.folder / "beside"
    for n in range(10_000):
        (beside / f"{n // 100}" / f"{n}").mkdir(parents=True)
    beside.rename(gateway.dir / "folders")
    receipt = gateway.receipt("folders")
    assert (receipt.seen, receipt.state) == (0, ReadingState.COMPLETE)


@needs_mounts
def test_a_card_with_two_file_systems_is_read_and_the_other_named(gateway: GatewayCards) -> None:
    with mounted(gateway.folder / "beside") as beside, mounted(beside / "inner") as inner:
        write(beside, {"a.jpg": jpeg(1), "inner/b.jpg": jpeg(2)})
        assert inner.is_mount()
        with mounted(gateway.dir / "two", "--rbind", str(beside)):
            receipt = gateway.receipt("two")
    assert receipt.seen == 2
    assert [(n.path, n.reason) for n in receipt.named] == [("inner", "another file system, not entered")]


def test_of_two_cards_with_one_marker_the_second_waits_and_people_are_told_once(gateway: GatewayCards) -> None:
    gateway.insert("first", {"ponya.yml": b"card: Ilam 7", "a.jpg": jpeg(1)})
    assert gateway.receipt("first").counts["ignored"] == 1
    gateway.insert("second", {"ponya.yml": b"card: Ilam 7", "a.jpg": jpeg(2)})
    assert "the same card as first" in gateway.wait("second", PlaceState.CONFLICT).why
    gateway.insert("third")
    assert gateway.receipt("third").seen == 1
    assert [code for code, _ in gateway.alerts()] == ["card_conflict"]
    assert gateway.receipt("first").seen == 2
    shutil.rmtree(gateway.dir / "first")
    assert gateway.receipt("second").seen == 2


def test_a_loose_reader_tells_of_a_conflict_once(gateway: GatewayCards) -> None:
    gateway.insert("first", {"ponya.yml": b"card: Ilam 7", "a.jpg": jpeg(1)})
    assert gateway.receipt("first").seen == 2
    second = gateway.insert("second", {"ponya.yml": b"card: Ilam 7", "a.jpg": jpeg(2)})
    for _ in range(3):
        gateway.wait("second", PlaceState.CONFLICT)
        second.rename(gateway.folder / "out")
        wait_until(lambda: gateway.seen("second") is None, lambda: "nobody noticed")
        (gateway.folder / "out").rename(second)
    gateway.wait("second", PlaceState.CONFLICT)
    assert [code for code, _ in gateway.alerts()] == ["card_conflict"]


@needs_mounts
def test_of_two_cards_with_one_uuid_the_second_waits_and_a_card_mounted_twice_is_one(tmp_path: Path) -> None:
    with running(tmp_path, uuid_of=lambda _: "6B1A-0F2E") as gateway, contextlib.ExitStack() as stack:
        for name in ("first", "second"):
            beside = stack.enter_context(mounted(tmp_path / f"beside-{name}"))
            (beside / "a.jpg").write_bytes(jpeg(len(name)))
        first = stack.enter_context(mounted(gateway.dir / "first", "--bind", str(tmp_path / "beside-first")))
        assert gateway.receipt("first").seen == 1
        assert gateway.seen("first").card_id == "volume-6b1a-0f2e"  # type: ignore[union-attr]
        stack.enter_context(mounted(gateway.dir / "again", "--bind", str(first)))
        gateway.wait("again", PlaceState.TWICE)
        assert gateway.alerts() == []
        stack.enter_context(mounted(gateway.dir / "second", "--bind", str(tmp_path / "beside-second")))
        gateway.wait("second", PlaceState.CONFLICT)
        wait_until(lambda: gateway.alerts() != [], lambda: "no alert")
        for name in ("again", "first"):  # in this order: else "again" might be read in the place of "first"
            subprocess.run(["umount", gateway.dir / name], check=True)
            gateway.wait(name, PlaceState.EMPTY)
        assert gateway.receipt("second").seen == 1
        assert [code for code, _ in gateway.alerts()] == ["card_conflict"]


@needs_mounts
def test_a_card_that_is_mounted_again_while_it_is_looked_at_is_no_conflict(tmp_path: Path) -> None:
    table = tmp_path / "table"

    def uuid_of(_: int) -> str:  # asked for in the middle of a look: the table tells of the second mount from here on
        with tempfile.NamedTemporaryFile(dir=tmp_path, delete=False) as whole:
            whole.write(MOUNTINFO.read_bytes())
        Path(whole.name).replace(table)
        return "6B1A-0F2E"

    with contextlib.ExitStack() as stack:
        beside = stack.enter_context(mounted(tmp_path / "beside"))
        (beside / "a.jpg").write_bytes(jpeg(1))
        stack.enter_context(mounted(tmp_path / "cards" / "first", "--bind", str(beside)))
        table.write_bytes(MOUNTINFO.read_bytes())
        stack.enter_context(mounted(tmp_path / "cards" / "again", "--bind", str(beside)))
        gateway = stack.enter_context(running(tmp_path, mountinfo=table, uuid_of=uuid_of))
        gateway.wait("first", PlaceState.READ, PlaceState.TWICE)
        gateway.wait("again", PlaceState.READ, PlaceState.TWICE)
        assert {seen.state for seen in gateway.cards.seen()} == {PlaceState.READ, PlaceState.TWICE}
        assert gateway.alerts() == []


def test_a_uuid_is_known_from_udevs_links_or_its_database(tmp_path: Path) -> None:
    device = os.makedev(8, 17)
    udev, dev = tmp_path / "udev", tmp_path / "dev"
    assert filesystem_uuid(device, dev=dev, run_udev=udev) == ""
    write(udev, {"data/b8:17": b"S:disk/by-label/TRAP\nE:ID_FS_UUID=6B1A-0F2E\nE:ID_FS_TYPE=vfat\n"})
    assert filesystem_uuid(device, dev=dev, run_udev=udev) == "6B1A-0F2E"
    write(dev, {"disk/by-uuid/other": b""})
    assert filesystem_uuid(device, dev=dev, run_udev=udev) == "6B1A-0F2E"


@needs_mounts
def test_in_a_container_a_card_is_known_by_the_uuid_that_its_host_mounted_it_by(tmp_path: Path) -> None:
    names = ("sda1.6B1A-0F2E", "sdb1.6B1A-0F2E", "mmcblk0p1.2b1c6f0e-7a52-4d0c-9c5d-0d8ad1b8a0c4", "sda1", "sda1.CAM")
    with contextlib.ExitStack() as stack:
        found = [
            Mount(stack.enter_context(mounted(tmp_path / name)), uuid_of=lambda _: "").identify() for name in names
        ]
    assert [card.source for card in found] == ["filesystem"] * 3 + ["folder"] * 2
    assert {card.card_id for card in found[:2]} == {"volume-6b1a-0f2e"}
    (tmp_path / "sdc1.6B1A-0F2E").mkdir()
    assert Mount(tmp_path / "sdc1.6B1A-0F2E", uuid_of=lambda _: "").identify().source == "folder", "nothing is mounted"


@pytest.mark.parametrize("jump_s", [-10 * 365 * 86400, 10 * 365 * 86400])
def test_a_clock_that_jumps_makes_no_file_wait_for_ever(tmp_path: Path, jump_s: int) -> None:
    """Files from the future or from long ago are no files that grow; one that was written just now is waited for."""
    with running(tmp_path, settings={"settle_s": 1, "settle_timeout_s": 30}) as gateway:
        beside = gateway.folder / "beside"
        write(beside, {"now.jpg": jpeg(1), "jumped.jpg": jpeg(2)})
        at = time.time() + jump_s
        os.utime(beside / "jumped.jpg", (at, at))
        beside.rename(gateway.dir / "card")
        assert gateway.receipt("card").state is ReadingState.COMPLETE
        assert gateway.receipt("card").seen == 2


# --- the mount table ---


def test_the_mount_table_is_understood_line_by_line() -> None:
    table = (
        rb"36 35 98:0 /mnt1 /media/cards/a\040b rw,noatime master:1 - ext3 /dev/root rw,errors=continue"
        b"\n"
        rb"37 35 8:17 / /media/cards/sda1 ro,relatime - vfat /dev/sda1 rw"
        b"\n"
        rb"38 35 8:18 / /media/bundles rw - vfat /dev/sdb1 rw"
        b"\n"
        b"noise\n\n37 35 8:17 / /x ro - \nx x x x x x - x x x\n"
    )
    a, b, c = parse(table)
    assert (a.point, a.root, a.read_only, a.device) == (Path("/media/cards/a b"), "/mnt1", False, "98:0")
    assert (b.read_only, c.read_only) == (True, False)


def test_without_a_mount_table_folders_are_read_all_the_same(tmp_path: Path) -> None:
    with running(tmp_path, mountinfo=tmp_path / "absent") as gateway:
        gateway.insert("card")
        assert gateway.receipt("card").seen == 1
    assert MountTable(tmp_path / "absent").read() == ()


def test_a_cards_folder_that_is_not_there_yet_is_said_and_waited_for(tmp_path: Path) -> None:
    with running(tmp_path, settings={"poll_s": 0.1}) as gateway:
        gateway.dir.rmdir()
        wait_until(lambda: "No such file" in gateway.cards.activity, lambda: gateway.cards.activity)
        gateway.dir.mkdir()
        gateway.insert("card")
        assert gateway.receipt("card").seen == 1


@needs_mounts
def test_a_folder_that_the_kernel_cannot_watch_is_looked_at_now_and_then(tmp_path: Path) -> None:
    """Of what is written into a file system that is mounted here nothing is told, as with one that comes by network."""
    with running(tmp_path, settings={"poll_s": 0.1}) as gateway, mounted(gateway.dir / "share") as share:
        assert gateway.receipt("share").seen == 0
        (share / "a.jpg").write_bytes(jpeg(1))
        # The longer a look takes, the later the next one comes: on a slow machine that is a minute.
        wait_until(lambda: gateway.receipt("share").seen == 1, lambda: str(gateway.cards.seen()), limit_s=240)


def test_a_card_that_is_in_is_looked_at_again_on_demand(gateway: GatewayCards) -> None:
    with mounted(gateway.dir / "card") if can_mount() else contextlib.nullcontext(gateway.dir / "card") as card:
        write(card, {"a.jpg": jpeg(1)})
        wait_until(
            lambda: (
                gateway.cards.look_again((gateway.seen("card") or CardSeen(name="", state=PlaceState.EMPTY)).card_id)
                and gateway.receipt("card").seen == 1
            ),
            lambda: str(gateway.cards.seen()),
        )
    assert not gateway.cards.look_again("nobody's")


def test_half_a_million_entries_hold_up_no_other_card(gateway: GatewayCards) -> None:
    in_memory = Path("/dev/shm")  # making so many takes a disk a minute
    with tempfile.TemporaryDirectory(dir=in_memory if in_memory.is_dir() else None) as huge:
        for n in range(500):
            (Path(huge) / f"{n:03}").mkdir()
            here = os.open(f"{huge}/{n:03}", os.O_RDONLY)
            for m in range(1000):
                os.mknod(f"{m:03}.txt", dir_fd=here)
            os.close(here)
        (gateway.dir / "huge").symlink_to(huge)
        gateway.wait("huge", PlaceState.LISTING)
        gateway.insert("small")
        assert gateway.receipt("small").seen == 1
        assert gateway.wait("huge", PlaceState.LISTING, PlaceState.READING)
