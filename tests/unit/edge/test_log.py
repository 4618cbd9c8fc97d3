"""What a gateway writes down: bounded, readable by programs, without credentials and places."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_module import log
from edge_module.redact import HIDDEN, redact
from tests.edge_cli import ROOT

_KEY = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYzE="
_KEY_64 = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
HOSTILE = (
    (f"https://x.blob.core.windows.net/gw?sv=2024&sr=c&sig={_KEY}&se=2026", _KEY),
    ("put https://x/gw?sig=abc%2Bdef%3D&sp=cw failed", "abc%2Bdef"),
    (f"HostName=h.azure-devices.net;DeviceId=g;SharedAccessKey={_KEY}", _KEY),
    (f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={_KEY_64};EndpointSuffix=x", _KEY_64),
    ("SharedAccessSignature sr=h%2Fdevices%2Fg&sig=tok%3D&se=1", "tok%3D"),
    ("{'sas': 'sv=2024&sig=hidden', 'container_url': 'https://x/gw'}", "hidden"),
    ('{"local_page_pin": "4711"}', "4711"),
    ("Authorization: Bearer eyJhbGciOi.eyJzdWIi.c2ln", "eyJhbGciOi"),
    (f"loaded {_KEY_64} from the workload API", _KEY_64),
    ("-----BEGIN PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY-----", "MIIabc"),
    ("camera at 27.71724, 88.32391", "27.71724"),
    ("camera at 27,71724 / 88,32391", "88,32391"),
    ("latitude_deg: 27.7, longitude_deg: 88.3", "88.3"),
    ("{'latitude': 27.71724, 'longitude': 88.32391}", "88.32391"),
    ("GPSLatitude=(27.0, 43.0, 2.06) GPSLongitude=(88.0, 19.0, 26.1)", "43.0"),
    ("27°43'02.1\"N 88°19'26.1\"E", "43'02"),
    ("POINT(88.32391 27.71724)", "27.71724"),
    ("geo:27.71724,88.32391", "27.71724"),
    ("at 27.71724N", "27.71724"),
)


@pytest.mark.parametrize(("text", "secret"), HOSTILE)
def test_a_credential_or_a_place_never_gets_through(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redact(text)
    assert HIDDEN in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "picture 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 later, in 4 s",
        "reading marker-0123456789ab.1 interrupted: the card was taken out",
        "IMG_0012.JPG: read error: Input/output error (attempt 1 of 3)",
        "edge hub not reached (TimeoutError()), trying again in 2 s",
        "workers: 9 is not allowed; a whole number from 1 to 8 is",
    ],
)
def test_what_people_need_stays(text: str) -> None:
    assert redact(text) == text


@pytest.fixture
def gateway_log(tmp_path: Path) -> Iterator[Path]:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    try:
        log.of_gateway("info", tmp_path / "logs", bytes_max=100_000)
        yield tmp_path / "logs"
    finally:
        for handler in set(root.handlers) - set(before[1]):
            handler.close()
        root.setLevel(before[0])
        root.handlers[:] = before[1]


def written(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.iterdir()))


def test_a_traceback_is_redacted_too(gateway_log: Path) -> None:
    def put(sas: str) -> None:
        raise ValueError(f"refused {sas} at (27.71724, 88.32391)")

    try:
        put(f"https://x/gw?sig={_KEY}")
    except ValueError:
        logging.getLogger("edge_module.test").exception("picture %s not stored", "9f86")
    (line,) = log.recent(1, "error")
    for text in (line, written(gateway_log)):
        assert _KEY not in text
        assert "27.71724" not in text
    assert json.loads(line)["text"] == "picture 9f86 not stored"
    assert "ValueError" in json.loads(line)["trace"]


def test_recent_gives_the_last_lines_of_a_level_oldest_first(gateway_log: Path) -> None:
    logger = logging.getLogger("edge_module.test")
    for number in range(5):
        logger.info("line %d", number)
        logger.error("fault %d", number)
    assert [json.loads(line)["text"] for line in log.recent(2, "error")] == ["fault 3", "fault 4"]
    assert [json.loads(line)["text"] for line in log.recent(2, "info")] == ["line 4", "fault 4"]
    assert log.recent(0, "info") == []


def test_logs_are_bounded_on_disk_and_in_memory(gateway_log: Path) -> None:
    logger = logging.getLogger("edge_module.test")
    for number in range(3000):
        logger.info("line %d %s", number, "x" * 5000)
    assert sum(path.stat().st_size for path in gateway_log.iterdir()) <= 100_000
    assert "line 2999" in written(gateway_log)
    assert sum(map(len, log.recent(10_000, "info"))) <= 1_000_000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_neither_a_full_disk_nor_a_message_that_does_not_fit_its_arguments_loses_a_line(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "gateway.jsonl").symlink_to("/dev/full")
    code = (
        "import logging, sys; from pathlib import Path; from edge_module import log\n"
        "log.of_gateway('info', Path(sys.argv[1]), bytes_max=100_000)\n"
        "logging.getLogger('a').info('first'); logging.getLogger('a').info('%d', 'second')\n"
        "print(*log.recent(9, 'info'), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "logs")], cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == [
        "first",
        "%d ('second',) (%d format: a real number is required, not str)",
    ]
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "part", ["1", "1.5 ", "12.34 ", " ", "lat ", "pin=", "1°", "-----BEGIN PRIVATE KEY-----", "12.34\t"]
)
def test_no_text_takes_long(part: str) -> None:
    redact("12.34" + part * (log.LINE_MAX // len(part)) + "x")
