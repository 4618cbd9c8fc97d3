"""Settings: environment, an optional YAML file and the device twin's desired properties to one checked value. Pure.

A later source overrides an earlier one: defaults, file, environment, twin. All faults are found at once, one line each.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from edge_module.domain import UTC_OFFSET_MAX_MIN
from edge_module.errors import ConfigError
from edge_module.verdict import DayNight, Thresholds

ENVIRONMENT_PREFIX: Final = "PONYA_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: its kind, what is allowed, what it is for."""

    name: str
    kind: type[int] | type[float] | type[str]
    default: float | str | None
    doc: str
    unit: str = ""
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    twin: bool = True

    @property
    def allowed(self) -> str:
        """What a value may be, for people."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.kind is str:
            return "text"
        number = "a whole number" if self.kind is int else "a number"
        return f"{number} from {self.least} to {self.most}{' ' if self.unit else ''}{self.unit}"

    def check(self, value: object) -> Any:
        """Return the value in its own type.

        Raises:
            ValueError: it is not allowed.
        """
        if value is None:
            return self.default
        if self.kind is str:
            if not isinstance(value, str) or not value or (self.choices and value not in self.choices):
                raise ValueError
            return value
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError  # noqa: TRY004 - one kind of fault for the caller
        try:
            number = float(value)
        except OverflowError as exc:
            raise ValueError from exc
        assert self.least is not None
        assert self.most is not None
        if not math.isfinite(number) or not self.least <= number <= self.most:
            raise ValueError
        if self.kind is int and number != int(number):
            raise ValueError
        return self.kind(number)


SCHEMA: Final = (
    Setting(
        name="data_dir", kind=str, default="~/.local/share/ponya", twin=False,
        doc="Folder for the ledger and the kept originals.",
    ),
    Setting(
        name="model_dir", kind=str, default="shipped", twin=False,
        doc="Folder with backbone.tflite, head.json and SHA256SUMS; `shipped`: the software's own.",
    ),
    Setting(
        name="log_level", kind=str, default="warning", choices=("debug", "info", "warning", "error"),
        doc="How much is logged.",
    ),
    Setting(
        name="log_max_bytes", kind=int, default=4_000_000, least=100_000, most=1_000_000_000, unit="bytes", twin=False,
        doc="How much the gateway's log files, in `logs` in the data folder, may take together.",
    ),
    Setting(
        name="workers", kind=int, default=2, least=1, most=8,
        doc="Threads that decode and score. Each needs some 20 MB.",
    ),
    Setting(
        name="event_gap_s", kind=float, default=60, least=0, most=3600, unit="s",
        doc="Pictures of one camera belong to one event while they follow each other within this time.",
    ),
    Setting(
        name="camera_utc_offset_min", kind=int, default=345, least=-UTC_OFFSET_MAX_MIN, most=UTC_OFFSET_MAX_MIN,
        unit="min", doc="Minutes east of UTC that cameras' clocks are set to, where they do not write it (Nepal: 345).",
    ),
    Setting(
        name="settle_s", kind=float, default=3, least=0, most=600, unit="s",
        doc="A file written to less than this long ago is still growing: it is waited for.",
    ),
    Setting(
        name="settle_timeout_s", kind=float, default=60, least=1, most=86400, unit="s",
        doc="How long growing files are waited for without any getting ready before a reading is interrupted.",
    ),
    Setting(
        name="cards_dir", kind=str, default="/media/cards", twin=False,
        doc="Folder in which cards appear, one folder a card.",
    ),
    Setting(
        name="poll_s", kind=float, default=5, least=0.1, most=600, unit="s",
        doc="How often the cards folder is looked at.",
    ),
    Setting(
        name="confirm_interval_s", kind=float, default=60, least=0, most=3600, unit="s",
        doc="How long headquarters may take to answer: what it misses is not sent, and nothing asked, again before.",
    ),
    Setting(
        name="resend_after_s", kind=float, default=7200, least=1, most=30 * 86400, unit="s",
        doc="How long after sending an unconfirmed message is sent again.",
    ),
    Setting(
        name="retry_longest_s", kind=float, default=600, least=1, most=86400, unit="s",
        doc="The longest pause before something that failed is tried again; the first is 2 s, and each twice the last.",
    ),
    Setting(
        name="reconnect_s", kind=int, default=10, least=1, most=600, unit="s", twin=False,
        doc="How long after the link to the edge hub broke it is tried again.",
    ),
    Setting(
        name="unconfirmed_max_bytes", kind=int, default=4_000_000, least=300_000, most=100_000_000, unit="bytes",
        doc="How much may be on the way, sent and not confirmed, before the gateway waits.",
    ),
    Setting(
        name="status_interval_s", kind=float, default=3600, least=1, most=86400, unit="s",
        doc="How often the gateway says how it is.",
    ),
    *(
        Setting(
            name=f"{verdict}_threshold_{time}", kind=float, default=None, least=0.001, most=1,
            doc=f"Probability of a red panda by {time} that makes a {verdict}; the model's own unless set.",
        )
        for time in ("day", "night") for verdict in ("panda", "review")
    ),
)  # fmt: skip
"""Every setting there is. docs/settings.md is generated from this."""

_BY_NAME: Final = {setting.name: setting for setting in SCHEMA}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Checked settings. The fields are `SCHEMA`'s, with the same names."""

    data_dir: str
    model_dir: str
    log_level: str
    log_max_bytes: int
    workers: int
    event_gap_s: float
    camera_utc_offset_min: int
    settle_s: float
    settle_timeout_s: float
    cards_dir: str
    poll_s: float
    confirm_interval_s: float
    resend_after_s: float
    retry_longest_s: float
    reconnect_s: int
    unconfirmed_max_bytes: int
    status_interval_s: float
    panda_threshold_day: float | None
    review_threshold_day: float | None
    panda_threshold_night: float | None
    review_threshold_night: float | None

    def thresholds(self, models_own: DayNight) -> DayNight:
        """The thresholds to judge by: those that are set, the model's for the rest.

        Raises:
            ConfigError: together they make no sense.
        """
        try:
            return DayNight(
                day=_over(models_own.day, self.panda_threshold_day, self.review_threshold_day),
                night=_over(models_own.night, self.panda_threshold_night, self.review_threshold_night),
            )
        except ValueError as exc:
            raise ConfigError([f"thresholds: with this model: {exc}"]) from exc


def _over(own: Thresholds, panda: float | None, review: float | None) -> Thresholds:
    return Thresholds(
        panda=own.panda if panda is None else panda,
        review=own.review if review is None else review,
    )


def combine(*sources: tuple[str, Mapping[str, Any]]) -> Settings:
    """Check sources of settings and lay them over the defaults, a later one over an earlier.

    Args:
        sources: a name for messages, such as ``environment``, and values by setting; a null resets to the default.

    Raises:
        ConfigError: one line a fault: source, setting, value, what is allowed.
    """
    values: dict[str, Any] = {setting.name: setting.default for setting in SCHEMA}
    faults: list[str] = []
    for source, given in sources:
        for name, value in given.items():
            setting = _BY_NAME.get(str(name))
            if setting is None:
                faults.append(f"{source}: {name!s}: no such setting; known are {', '.join(_BY_NAME)}")
                continue
            try:
                values[setting.name] = setting.check(value)
            except ValueError:
                faults.append(f"{source}: {name}: {str(value)[:80]!r} is not allowed; {setting.allowed} is")
    if not faults:
        for time in ("day", "night"):
            panda, review = values[f"panda_threshold_{time}"], values[f"review_threshold_{time}"]
            if panda is not None and review is not None and review > panda:
                faults.append(f"review_threshold_{time}: {review} is above panda_threshold_{time} {panda}")
    if faults:
        raise ConfigError(faults)
    return Settings(**values)


def from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings among environment variables: ``PONYA_EVENT_GAP_S`` is ``event_gap_s``."""
    return {
        name.removeprefix(ENVIRONMENT_PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(ENVIRONMENT_PREFIX)
    }


def from_file(path: Path) -> dict[str, Any]:
    """The settings in a YAML file.

    Raises:
        ConfigError: it cannot be read, or is not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as exc:
        raise ConfigError([f"{path}: {exc.strerror}"]) from exc
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as exc:
        raise ConfigError([f"{path}: not YAML: {' '.join(str(exc).split())}"]) from exc
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError([f"{path}: must hold `setting: value` lines"])
    return content
