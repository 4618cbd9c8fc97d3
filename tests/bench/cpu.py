"""CPU time of a whole scan against its floor, and of its stages, on one card of bursts.

The floor is the decodes and invokes that the strategy asks for on this very card, run bare: Pillow's scaled decode, and
`set_tensor` and `invoke` of the interpreters: the backbone's, once for each view of each frame, and that of the
detector of people, once for each frame that a scan of this card asks it about. What either is given is resized above
the floor. All is CPU time, so that neighbours on the machine disturb it little, and
taken in turns, so that they disturb all of it alike.
"""

import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_module import app, people, settings
from edge_module.backbone import Backbone
from edge_module.breath import Breath
from edge_module.burst import Shot, bursts, events, motion
from edge_module.card import Mount
from edge_module.clock import SystemClock
from edge_module.domain import Exif, Media
from edge_module.examine import Examiner, leaves
from edge_module.exif import EXIF_HEAD_BYTES, read_exif
from edge_module.frame import decode, frame_of
from edge_module.ladder import Policy
from edge_module.ledger import Ledger
from edge_module.pipeline import COMMIT_ROWS
from edge_module.scan import JsonReport
from edge_module.scorer import Scorer, part
from edge_module.settling import Finding

FLOOR: Final = ("decode", "invoke", "people, invoke")
STAGES: Final = (
    "list", "head, EXIF", "read", "hash", "decode", "resize, motion", "invoke", "people, resize", "people, invoke",
    "ledger",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """CPU ms a frame, once around."""

    stage_ms: dict[str, float]
    scan_ms: float

    @property
    def floor_ms(self) -> float:
        return sum(self.stage_ms[name] for name in FLOOR)

    @property
    def else_ms(self) -> float:
        """What a scan takes beyond its stages: starting up, threads, records, JSON."""
        return self.scan_ms - sum(self.stage_ms.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Medians over rounds, the ratios too: each is of one round, in which both sides met the same neighbours."""

    stage_ms: dict[str, float]
    else_ms: float
    scan_ms: float
    floor_ms: float
    ratio_to_floor: float
    ledger_share: float

    @classmethod
    def of(cls, rounds: list[Round]) -> "Cost":
        return cls(
            stage_ms={name: median(r.stage_ms[name] for r in rounds) for name in STAGES},
            else_ms=median(r.else_ms for r in rounds),
            scan_ms=median(r.scan_ms for r in rounds),
            floor_ms=median(r.floor_ms for r in rounds),
            ratio_to_floor=median(r.scan_ms / r.floor_ms for r in rounds),
            ledger_share=median(r.stage_ms["ledger"] / r.scan_ms for r in rounds),
        )


class Bench:
    """One card, and what there is to do on it."""

    def __init__(self, card: Path, work: Path) -> None:
        self._card = card
        self._work = work
        self._ledgers = 0
        self._settings = settings.combine(("bench", {}))
        self._model = app.load_model(self._settings)
        self._backbone = Backbone(self._model.backbone, name="backbone.tflite")
        self._scorer = Scorer(self._model)
        self._mount = Mount(card)
        media = sorted((listed.media for listed in self._mount.files()), key=lambda media: media.path)
        self.frames = len(media)
        shots = [Shot(media=one, exif=self._exif(one)) for one in media]
        self._events = list(events(shots, gap_s=self._settings.event_gap_s))
        self._findings = self._examine()
        self._asked = {finding.media.path for finding in self._findings if leaves(finding.record)}

    def round(self) -> Round:
        """Every stage by itself, and a whole scan with one worker."""
        cpu = _Stopwatch()
        with cpu("list"):
            list(self._mount.files())
        for event in self._events:
            for burst in bursts(event):
                self._burst([shot.media for shot in burst], cpu)
        self._settle(cpu)
        stage_ms = {name: cpu.total_s[name] * 1000 / self.frames for name in STAGES}
        scan_s, _ = self.scan(workers=1)
        return Round(stage_ms=stage_ms, scan_ms=scan_s * 1000 / self.frames)

    def scan(self, *, workers: int) -> tuple[float, float]:
        """Scan the card as the command line does, into a new ledger.

        Returns:
            CPU seconds of the process, wall seconds.
        """
        chosen = settings.combine(("bench", {"workers": workers, "data_dir": str(self._new_folder())}))
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        receipt = app.scan(self._card, chosen, JsonReport(StringIO()), keep=False, stop=threading.Event())
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
        assert receipt.seen == receipt.unconfirmed == self.frames, receipt
        return cpu_s, wall_s

    def _burst(self, burst: list[Media], cpu: "_Stopwatch") -> None:
        frames = []
        for media in burst:
            with cpu("head, EXIF"):
                self._exif(media)
            with cpu("read"), self._mount.open(media) as file:
                content = file.read(media.size_bytes)
            with cpu("hash"):
                hashlib.sha256(content).hexdigest()
            frame = decode(content)
            with cpu("decode"):
                _decode_bare(content, frame.image.size)
            with cpu("resize, motion"):
                frames.append(frame_of(frame.image))
        with cpu("resize, motion"):
            moved = motion([frame.whole for frame in frames])
        for frame, seen in zip(frames, self._scorer.looks(frames, moved), strict=True):
            for look in (one.view for one in seen):
                with cpu("resize, motion"):
                    picture = part(look.name, frame, look.box).picture if look.box else look.picture
                with cpu("invoke"):
                    _invoke_bare(self._backbone, picture)
        for frame in (frame for media, frame in zip(burst, frames, strict=True) if media.path in self._asked):
            with cpu("people, resize"):
                picture = people.to_input(frame.image)
            with cpu("people, invoke"):
                _invoke_bare(people.shipped(), picture)

    def _settle(self, cpu: "_Stopwatch") -> None:
        listed = list(self._mount.files())
        with Ledger.open(self._new_folder() / "ledger.sqlite", SystemClock())[0] as ledger, cpu("ledger"):
            reading = ledger.begin(self._mount.identify())
            ledger.list_files(reading, listed)
            ledger.counts(reading)
            list(ledger.settled(reading))
            list(ledger.pending(reading))
            for finding in self._findings:
                ledger.known(finding.record.media_id)
            for start in range(0, len(self._findings), COMMIT_ROWS):
                ledger.settle(reading, self._findings[start : start + COMMIT_ROWS])
            list(ledger.pending(reading))
            ledger.end(reading)

    def _examine(self) -> list[Finding]:
        with Ledger.open(self._new_folder() / "ledger.sqlite", SystemClock())[0] as ledger:
            examiner = Examiner(
                mount=self._mount,
                reading=ledger.begin(self._mount.identify()),
                model=self._model,
                thresholds=self._model.head.thresholds,
                known=ledger.known,
                policy=Policy.of(self._settings),
                originals=None,
                breath=Breath(threading.Event()),
                turns=nullcontext(),
            )
            found = [finding for event in self._events for finding in examiner.event(event)]
        return [finding for finding in found if isinstance(finding, Finding)]

    def _exif(self, media: Media) -> Exif:
        head, _ = self._mount.head(media, EXIF_HEAD_BYTES)
        return read_exif(head, utc_offset_min=self._settings.camera_utc_offset_min)

    def _new_folder(self) -> Path:
        self._ledgers += 1
        return self._work / f"{self._card.name}-{self._ledgers}"


def _decode_bare(content: bytes, size_px: tuple[int, int]) -> None:
    """Decode at the scale at which `edge_module.frame` did: libjpeg knows but four."""
    with Image.open(BytesIO(content)) as image:
        image.draft("RGB", size_px)
        image.load()
        assert image.size == size_px


def _invoke_bare(network: Backbone | people.People, picture: npt.NDArray[np.uint8]) -> None:
    network._model.set_tensor(network._input, picture[None])
    network._model.invoke()


class _Stopwatch:
    """Adds up the CPU time of the process under a name."""

    def __init__(self) -> None:
        self.total_s: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        began_s = time.process_time()
        yield
        self.total_s[name] += time.process_time() - began_s
