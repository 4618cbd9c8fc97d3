"""The set-up script of a gateway's host: on the wrong system, without a network, twice, cut off half way.

It runs in a Debian 12 root file system of its own, below the test's folder; nothing of this machine is changed. What
needs systemd to be running, a Raspberry Pi or Microsoft's package source is not tried here.
"""

import os
import re
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployment.image.build import cache_folder
from deployment.image.machine import native
from edge_module.volumes import uuid_in

ROOT = Path(__file__).resolve().parents[2]
HOST = ROOT / "deployment" / "host"
CAN_UNSHARE = os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0
NEEDS_ROOT = pytest.mark.skipif(not CAN_UNSHARE, reason="a root file system of its own needs root")
LIMIT_S = 900
FROM_MICROSOFT = {"package moby-engine", "package aziot-edge"}

pytestmark = pytest.mark.timeout(1800)


class Machine:
    """A Debian 12 to set up."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def command(self, *words: str, network: bool = True) -> list[str]:
        root = self.root
        lines = [
            "mount --make-rprivate /",
            f"mount -t proc proc {root}/proc",
            f"mount --rbind /dev {root}/dev",
            f"mkdir -p {root}/ponya && mount --bind {HOST} {root}/ponya && mount -o remount,bind,ro {root}/ponya",
            f"exec chroot {root} env PATH=/usr/sbin:/usr/bin:/sbin:/bin {shlex.join(words)}",
        ]
        more = [] if network else ["--net"]
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", *more, "--", "sh", "-euc", "\n".join(lines)]

    def run(self, *words: str, network: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words, network=network),
            capture_output=True, text=True, check=False, timeout=LIMIT_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def set_up(self, *options: str, network: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("/ponya/setup.sh", *options, network=network)

    def files(self) -> dict[str, bytes]:
        """What lies below /etc and /usr/local, by name."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for folder in ("etc", "usr/local")
            for path in (self.root / folder).rglob("*")
            if path.is_file() and not path.is_symlink()
        }


def wrong(said: str) -> set[str]:
    """What it says is wrong."""
    return {re.sub(r": could not be done.*", "", line[7:]) for line in said.splitlines() if line.startswith("wrong: ")}


@pytest.fixture(scope="session")
def base() -> Path:
    if os.environ.get("PONYA_IMAGE") is None or not CAN_UNSHARE:
        pytest.skip("the host's tests need a Debian root file system: `make image-test`")
    return cache_folder() / f"bookworm-{native().debian}.tar"


@pytest.fixture(scope="module")
def shared(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One machine for the tests below, in their order: each goes on where the last one was."""
    root = tmp_path_factory.mktemp("host") / "root"
    with tarfile.open(base) as tar:
        tar.extractall(root, filter="fully_trusted")
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    (root / "etc/machine-id").write_text("0" * 32 + "\n")
    (root / "root/key").write_text("a2V5IG9mIGEgZ2F0ZXdheQ==\n")
    (root / "root/passphrase").write_text("bamboo bamboo\n")
    yield Machine(root)
    shutil.rmtree(root)


OPTIONS = (
    "--id-scope", "0ne00000001", "--registration-id", "ridge-1", "--symmetric-key-file", "/root/key",
    "--hotspot-passphrase-file", "/root/passphrase",
)  # fmt: skip


def test_check_says_what_is_wrong_and_changes_nothing(shared: Machine) -> None:
    before = shared.files()
    done = shared.set_up("--check")
    assert done.returncode == 1, done.stderr
    assert {"package nftables", "folder /data/ponya", "/etc/udev/rules.d/90-ponya-cards.rules"} <= wrong(done.stdout)
    assert "nothing was changed" in done.stdout
    assert shared.files() == before


def test_without_a_network_it_does_what_it_can_and_says_so(shared: Machine) -> None:
    done = shared.set_up(*OPTIONS, network=False)
    assert done.returncode == 1, done.stderr
    assert FROM_MICROSOFT | {"package nftables"} <= wrong(done.stdout)
    assert "is there a network?" in done.stdout
    assert "run this again" in done.stdout
    assert (shared.root / "etc/udev/rules.d/90-ponya-cards.rules").exists()
    assert "folder /data/ponya" not in wrong(done.stdout)


def test_cut_off_half_way_it_leaves_whole_files_or_none(shared: Machine) -> None:
    wanted = {path.name: path.read_bytes() for path in (HOST / "files").iterdir()}
    for lines in (1, 2, 3, 5, 8):
        command = shared.command("/ponya/setup.sh", *OPTIONS)
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            assert process.stdout
            for _ in range(lines):
                process.stdout.readline()
            process.kill()
        for name, content in shared.files().items():
            if Path(name).name in wanted:
                assert content == wanted[Path(name).name], name


def test_run_again_it_is_all_well_but_for_what_microsoft_has(shared: Machine) -> None:
    done = shared.set_up(*OPTIONS)
    if not wrong(done.stdout) <= FROM_MICROSOFT and shared.run("apt-get", "-qq", "update").returncode != 0:
        pytest.skip("no network: Debian's packages cannot be had")
    assert wrong(done.stdout) <= FROM_MICROSOFT, done.stdout + done.stderr
    config = (shared.root / "etc/aziot/config.toml").read_text()
    assert 'id_scope = "0ne00000001"' in config
    assert 'symmetric_key = { value = "a2V5IG9mIGEgZ2F0ZXdheQ==" }' in config
    for secret in ("etc/aziot/config.toml", "etc/NetworkManager/system-connections/ponya-hotspot.nmconnection"):
        assert (shared.root / secret).stat().st_mode & 0o077 == 0, secret
    assert (shared.root / "data/ponya").stat().st_uid == 10001


def test_run_twice_it_changes_nothing_and_remembers_its_options(shared: Machine) -> None:
    before = shared.files()
    done = shared.set_up()
    assert "done: " not in done.stdout, done.stdout
    assert wrong(done.stdout) <= FROM_MICROSOFT
    assert shared.files() == before
    done = shared.set_up("--check")
    assert wrong(done.stdout) <= FROM_MICROSOFT
    assert "ok: unit ponya-firewall.service" in done.stdout


def test_check_notices_what_somebody_has_changed(shared: Machine) -> None:
    rules = shared.root / "etc/ponya/firewall.nft"
    rules.write_text(rules.read_text().replace("policy drop", "policy accept"))
    assert "/etc/ponya/firewall.nft" in wrong(shared.set_up("--check").stdout)
    assert "done: /etc/ponya/firewall.nft" in shared.set_up().stdout


def test_the_firewall_loads_twice_and_leaves_other_tables_alone(shared: Machine) -> None:
    load = "nft -f /etc/ponya/firewall.nft"
    script = f"nft add table inet other && {load} && {load} && nft list ruleset"
    done = shared.run("sh", "-euc", script, network=False)
    assert done.returncode == 0, done.stderr
    assert "table inet other" in done.stdout
    assert done.stdout.count("policy drop") == 1


def test_systemd_finds_nothing_wrong_with_the_units(shared: Machine) -> None:
    for unit in ("ponya-firewall.service", "ponya-offline.timer"):
        done = shared.run("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{unit}")
        assert not [line for line in done.stderr.splitlines() if "ponya" in line and "docker" not in line], done.stderr


def test_a_data_partition_takes_over_what_has_to_outlive_a_restart(shared: Machine, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(64_000_000)
    made = subprocess.run(["losetup", "--find", "--show", disk], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no loop device here: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        (shared.root / "etc/aziot/kept").write_text("kept")
        script = f"/ponya/setup.sh --data-device {device}; mountpoint /etc/aziot && cat /etc/aziot/kept"
        done = shared.run("bash", "-c", script)
        assert wrong(done.stdout) <= FROM_MICROSOFT, done.stdout + done.stderr
        assert done.stdout.endswith("kept")
        fstab = (shared.root / "etc/fstab").read_text()
        assert fstab.count("LABEL=PONYA-DATA /data") == 1
        assert fstab.count(" none bind,") == 5
        again = shared.run("bash", "-c", f"mount {device} /data; /ponya/setup.sh --data-device {device}")
        assert fstab == (shared.root / "etc/fstab").read_text(), again.stdout
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_a_partition_that_holds_something_is_left_alone(shared: Machine, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(8_000_000)
    subprocess.run(["mkfs.ext4", "-q", "-L", "photos", disk], check=True)
    made = subprocess.run(["losetup", "--find", "--show", disk], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no loop device here: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        before = disk.read_bytes()
        done = shared.set_up("--data-device", device)
        assert f"{device} holds something already, and is left alone" in done.stdout
        assert done.returncode == 1
        assert disk.read_bytes() == before
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


# --- what it refuses, on any machine ---


def on(os_release: str, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it, with --check, on a machine that says of itself what is given."""
    said = tmp_path / "os-release"
    said.write_text(os_release)
    script = (
        f"mount --make-rprivate / && mount --bind {said} /etc/os-release && exec {HOST}/setup.sh --check "
        + shlex.join(options)
    )
    return subprocess.run(
        ["unshare", "--mount", "sh", "-euc", script], capture_output=True, text=True, check=False, timeout=60
    )


@NEEDS_ROOT
@pytest.mark.parametrize(
    "os_release",
    ['ID=ubuntu\nVERSION_ID="24.04"\n', 'ID=debian\nVERSION_ID="13"\n', 'ID=raspbian\nVERSION_ID="11"\n', ""],
)
def test_the_wrong_system_is_refused_in_a_line(os_release: str, tmp_path: Path) -> None:
    done = on(os_release, tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("setup.sh: this is '")
    assert "Debian 12" in line
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--frobnicate",), "unknown option --frobnicate"),
        (("--rtc",), "--rtc needs a value"),
        (("--x509", "a"), "--x509"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(options: tuple[str, ...], said: str) -> None:
    done = subprocess.run([HOST / "setup.sh", *options], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr


# --- cards and sticks ---


def card_added(device: str = "/dev/sda1", **udev: str) -> str:
    done = subprocess.run(
        [HOST / "files/card-added", device],
        env={"PATH": "/usr/bin:/bin", "PONYA_SAY": "1", **udev}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize("kind", ["vfat", "exfat", "ntfs", "ext4", "hfsplus"])
def test_a_card_is_mounted_read_only_for_the_module_and_never_checked(kind: str) -> None:
    said = card_added(ID_FS_TYPE=kind, ID_FS_UUID="6234-3938", ID_FS_LABEL="CAM01")
    assert said.endswith("/dev/sda1 /media/cards/sda1.6234-3938")
    options = re.search(r"--options=(\S+)", said)
    assert options
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(options.group(1).split(","))
    assert "--fsck=no" in said, "fsck writes"
    if kind in ("vfat", "exfat", "ntfs"):
        assert {"uid=10001", "umask=0277"} <= set(options.group(1).split(","))
    if kind == "ext4":
        assert "noload" in options.group(1), "replaying the journal writes"


def test_a_stick_for_bundles_is_writable_for_the_module_alone() -> None:
    said = card_added(ID_FS_TYPE="vfat", ID_FS_UUID="1", ID_FS_LABEL="PONYA-OUT")
    assert said.endswith("/dev/sda1 /media/bundles")
    assert "rw,nosuid,nodev,noexec,sync,uid=10001,gid=10001,umask=0077" in said


def test_a_cards_name_cannot_leave_its_folder() -> None:
    assert card_added(ID_FS_TYPE="vfat", ID_FS_UUID="../../etc").endswith(" /media/cards/sda1.etc")
    assert card_added(ID_FS_TYPE="vfat", ID_FS_UUID="..").endswith(" /media/cards/sda1")
    assert card_added(ID_FS_TYPE="vfat").endswith(" /media/cards/sda1")


def test_two_cards_with_one_uuid_are_mounted_at_two_places_that_both_tell_it() -> None:
    said = [
        card_added(f"/dev/{disk}1", ID_FS_TYPE="vfat", ID_FS_UUID="6234-3938").split()[-1] for disk in ("sda", "sdb")
    ]
    assert said == ["/media/cards/sda1.6234-3938", "/media/cards/sdb1.6234-3938"]
    assert {uuid_in(Path(place).name) for place in said} == {"6234-3938"}
