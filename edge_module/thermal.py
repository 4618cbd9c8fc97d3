"""How warm the processor is, and whether the board has slowed it down: from the kernel's files, where there are any."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_ZONES: Final = "sys/class/thermal/thermal_zone*/temp"
_RASPBERRY_PI: Final = "sys/devices/platform/soc/soc:firmware/get_throttled"
_NOW_BITS: Final = 0x6
"""Of Raspberry Pi's `get_throttled`: 1 the frequency is capped, 2 throttled now. Under-voltage (0) heats nothing."""

_COOLING: Final = "sys/class/thermal/cooling_device*"
_PROCESSOR: Final = ("processor", "cpufreq", "thermal-cpufreq", "cpu")
_KEPT_S: Final = 5.0
_COOLER_C: Final = 5.0
"""Work is taken up again when it is so much cooler than where it was lowered: else it would flicker."""


class Thermal:
    """The processor's heat.

    Args:
        hot_c: the temperature at which work is lowered.
        root: of the file system, for tests.
    """

    def __init__(self, *, hot_c: Callable[[], float], root: Path = Path("/")) -> None:
        self._hot_c = hot_c
        self._root = root
        self._looked_at_s = float("-inf")
        self._hot = False

    def temperature_c(self) -> float | None:
        """Of the warmest zone; None where the kernel tells of none."""
        read = (_number(path) for path in self._root.glob(_ZONES))
        warmest = max((value for value in read if value is not None), default=None)
        return None if warmest is None else warmest / 1000

    def throttled(self) -> bool | None:
        """Whether the board holds the processor back now; None where the kernel does not tell."""
        if (flags := _number(self._root / _RASPBERRY_PI, base=16)) is not None:
            return bool(flags & _NOW_BITS)
        states = [
            state
            for device in self._root.glob(_COOLING)
            if _text(device / "type").lower().startswith(_PROCESSOR)
            and (state := _number(device / "cur_state")) is not None
        ]
        return any(states) if states else None

    def hot(self) -> bool:
        """Whether work is to be lowered. Looks at most every few seconds."""
        now_s = time.monotonic()
        if now_s - self._looked_at_s >= _KEPT_S:
            self._looked_at_s = now_s
            limit_c = self._hot_c() - (_COOLER_C if self._hot else 0)
            temperature_c = self.temperature_c()
            self._hot = bool(self.throttled()) or (temperature_c is not None and temperature_c >= limit_c)
        return self._hot


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):  # a zone that is switched off answers EINVAL
        return ""


def _number(path: Path, *, base: int = 10) -> int | None:
    try:
        return int(_text(path), base)
    except ValueError:
        return None
