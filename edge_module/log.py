"""Logs: for people on a terminal; on a gateway JSON lines, bounded on disk and in memory, without secrets or places.

A line is redacted whole, with its traceback, before it is kept or written anywhere. The disk may be full, read-only or
failing: then lines are still in memory for `getLogs`, and on stderr for the container's own log.
"""

import contextlib
import json
import logging
import sys
from collections import deque
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final, TextIO

from edge_module.redact import redact

LEVELS: Final = ("debug", "info", "warning", "error")
_RING_LINES: Final = 2000
_RING_BYTES: Final = 1_000_000
LINE_MAX: Final = 4000
_FILES: Final = 2
_NAMED: Final = ("media_id",)
"""What a record may carry beside its text (``extra=``), for programs that read the lines."""


class _Redacted(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _JsonLines(logging.Formatter):
    """A line for programs: ``{"at", "level", "logger", "text"}``, with ``trace`` where something was raised."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": redact(_cut(_text(record))),
        }
        line |= {name: str(getattr(record, name)) for name in _NAMED if hasattr(record, name)}
        if record.exc_info:
            line["trace"] = redact(_cut(self.formatException(record.exc_info), from_end=True))
        return json.dumps(line, ensure_ascii=False)


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError) as exc:  # a message that does not fit its arguments ends nothing
        return f"{record.msg} {record.args!r} ({exc})"


def _cut(text: str, *, from_end: bool = False) -> str:
    if len(text) <= LINE_MAX:
        return text
    return f"...{text[-LINE_MAX:]}" if from_end else f"{text[:LINE_MAX]}..."


class _Ring(logging.Handler):
    """The last lines, in memory: at most `_RING_LINES` and about `_RING_BYTES`."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[tuple[int, str]] = deque()
        self._size = 0

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        self._lines.append((record.levelno, line))
        self._size += len(line)
        while len(self._lines) > _RING_LINES or self._size > _RING_BYTES:
            self._size -= len(self._lines.popleft()[1])

    def recent(self, lines: int, level: int) -> list[str]:
        self.acquire()
        try:
            found = [line for number, line in self._lines if number >= level]
        finally:
            self.release()
        return found[len(found) - min(lines, len(found)) :]


class _Stream(logging.StreamHandler[TextIO]):
    """Writes while there is somebody to write to: a terminal that has gone ends no gateway."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's name
        return


class _Files(RotatingFileHandler):
    """Two files, the older thrown away when the newer is full. What cannot be written is in the ring."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's name
        with contextlib.suppress(OSError, ValueError):
            if self.stream is not None:
                self.stream.close()
        self.stream = None  # the next line opens it again, as with `delay`


_ring = _Ring()


def to_terminal(level: str) -> None:
    """Log for people, to stderr."""
    handler = _Stream(sys.stderr)
    handler.setFormatter(_Redacted("%(levelname)s %(name)s: %(message)s"))
    _install(level, [handler])


def of_gateway(level: str, folder: Path, *, bytes_max: int) -> None:
    """Log for programs: JSON lines to stderr, to `recent`, and to files in a folder.

    Args:
        level: one of `LEVELS`.
        folder: for the files; made where it is not there.
        bytes_max: of all files together.
    """
    handlers: list[logging.Handler] = [_ring, _Stream(sys.stderr)]
    with contextlib.suppress(OSError):  # read-only or full: `open_ledger` says so better
        folder.mkdir(parents=True, exist_ok=True)
        files = _Files(
            folder / "gateway.jsonl", maxBytes=bytes_max // _FILES, backupCount=_FILES - 1, encoding="utf-8",
            errors="backslashreplace", delay=True,
        )  # fmt: skip
        handlers.append(files)
    for handler in handlers:
        handler.setFormatter(_JsonLines())
    _install(level, handlers)


def set_level(level: str) -> None:
    """Log from this level on."""
    logging.getLogger().setLevel(level.upper())


def recent(lines: int, level: str) -> list[str]:
    """The last lines of a gateway's log from a level on, the oldest first: JSON objects.

    Args:
        lines: at most so many.
        level: one of `LEVELS`.
    """
    return _ring.recent(lines, logging.getLevelNamesMapping()[level.upper()])


def _install(level: str, handlers: list[logging.Handler]) -> None:
    logging.basicConfig(level=level.upper(), handlers=handlers, force=True)
    logging.getLogger("azure").setLevel(logging.WARNING)  # tells of each packet otherwise
