"""Time. Leases and delays run on the monotonic clock; the wall clock is only ever told, never trusted."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """What the rest of the module needs of time. Tests and the accelerated soak bring their own."""

    boot_id: str

    def monotonic_s(self) -> float:
        """Seconds since some point in this boot; comparable only within one `boot_id`."""

    def now(self) -> datetime:
        """Wall-clock time, aware."""


class SystemClock:
    """The host's clocks."""

    def __init__(self) -> None:
        # CLOCK_BOOTTIME starts anew with each boot, which the kernel names.
        self.boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def monotonic_s(self) -> float:
        """Seconds since the host booted, time asleep included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def now(self) -> datetime:
        """Wall-clock time in UTC."""
        return datetime.now(UTC)


class FastClock:
    """The host's clocks, sped up from now on, for a soak: a month in an hour. Only what is asked of it goes faster."""

    def __init__(self, *, speed: float) -> None:
        """A clock on which `speed` seconds pass in one."""
        self._real = SystemClock()
        self._speed = speed
        self._began_s = self._real.monotonic_s()
        self._began_at = self._real.now()
        self.boot_id = self._real.boot_id

    def monotonic_s(self) -> float:
        """Seconds since the host booted, had they passed as fast all the time."""
        return self._real.monotonic_s() * self._speed

    def now(self) -> datetime:
        """The wall clock, sped up since this process began."""
        return self._began_at + timedelta(seconds=(self._real.monotonic_s() - self._began_s) * self._speed)
