"""Settings: environment, an optional YAML file and the device twin's desired properties to one checked value. Pure.

A later source overrides an earlier one: defaults, file, environment, twin. All faults are found at once, one line each.
A new setting is one field of `Settings`; then `make docs`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_type_hints

import yaml

from edge_module.domain import UTC_OFFSET_MAX_MIN
from edge_module.errors import ConfigError
from edge_module.verdict import DayNight, Thresholds

ENVIRONMENT_PREFIX: Final = "PONYA_"
TEXT_MAX_CHARACTERS: Final = 500
"""All settings, and what is said of them, must fit into a device twin's 32 KB together."""

_TRUE_OR_FALSE: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: what is allowed, and what it is for.

    Args:
        doc: what it is for, in a sentence.
        default: holds while nothing else is set; None where something else than a setting decides.
        least: the smallest number allowed.
        most: the largest.
        unit: the number's unit, for people.
        choices: the texts allowed, if not every one is.
        pattern: a regular expression that a text must match whole.
        form: what such a text looks like, for people.
        twin: whether it can be set from afar.
        secret: whether nobody is told more than that it is set.
        name: of the field in `Settings`; filled in there.
        kind: of the field in `Settings`; filled in there.
    """

    doc: str
    default: float | str | None
    least: float | None = None
    most: float | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()
    pattern: str = ""
    form: str = ""
    twin: bool = True
    secret: bool = False
    name: str = ""
    kind: type = str

    @property
    def allowed(self) -> str:
        """What a value may be, for people."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.kind is str:
            return self.form or f"text of at most {TEXT_MAX_CHARACTERS} characters"
        if self.kind is bool:
            return "true or false"
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
            return self._text(value)
        if self.kind is bool:
            return value if isinstance(value, bool) else _true_or_false(value)
        return self._number(value)

    def _text(self, value: object) -> str:
        if not isinstance(value, str) or not 0 < len(value) <= TEXT_MAX_CHARACTERS or not value.isprintable():
            raise ValueError
        if (self.choices and value not in self.choices) or (self.pattern and not re.fullmatch(self.pattern, value)):
            raise ValueError
        return value

    def _number(self, value: object) -> Any:
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


def _true_or_false(value: object) -> bool:
    if not isinstance(value, str) or value not in _TRUE_OR_FALSE:
        raise ValueError
    return _TRUE_OR_FALSE[value]


def _threshold(verdict: str, time: str) -> Setting:
    doc = f"Probability of a red panda by {time} that makes a {verdict}; the model's own unless set."
    return Setting(default=None, least=0.001, most=1, doc=doc)


# fmt: off
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Checked settings, made by `combine`. Each field's type and `Setting` are the schema: everything else reads it."""

    data_dir: Annotated[str, Setting(
        default="~/.local/share/ponya", twin=False,
        doc="Folder for the ledger and the kept originals.",
    )]
    model_dir: Annotated[str, Setting(
        default="shipped", twin=False,
        doc="Folder with backbone.tflite, head.json and SHA256SUMS; `shipped`: the software's own.",
    )]
    model_slower_max: Annotated[float, Setting(
        default=1.5, least=1, most=10,
        doc="How many times the time of the model in force a new one may take for a look before it is refused.",
    )]
    model_trial_s: Annotated[float, Setting(
        default=300, least=10, most=3600, unit="s",
        doc="How long a new model's trial on the golden frames may take before it is refused.",
    )]
    log_level: Annotated[str, Setting(
        default="warning", choices=("debug", "info", "warning", "error"),
        doc="How much is logged.",
    )]
    log_max_bytes: Annotated[int, Setting(
        default=4_000_000, least=100_000, most=1_000_000_000, unit="bytes", twin=False,
        doc="How much the gateway's log files, in `logs` in the data folder, may take together.",
    )]
    workers: Annotated[int, Setting(
        default=2, least=1, most=8,
        doc="Threads that decode and score. Each needs some 20 MB.",
    )]
    event_gap_s: Annotated[float, Setting(
        default=60, least=0, most=3600, unit="s",
        doc="Pictures of one camera belong to one event while they follow each other within this time.",
    )]
    camera_utc_offset_min: Annotated[int, Setting(
        default=345, least=-UTC_OFFSET_MAX_MIN, most=UTC_OFFSET_MAX_MIN, unit="min",
        doc="Minutes east of UTC that cameras' clocks are set to, where they do not write it (Nepal: 345).",
    )]
    settle_s: Annotated[float, Setting(
        default=3, least=0, most=600, unit="s",
        doc="A file written to less than this long ago is still growing: it is waited for.",
    )]
    settle_timeout_s: Annotated[float, Setting(
        default=60, least=1, most=86400, unit="s",
        doc="How long growing files are waited for without any getting ready before a reading is interrupted.",
    )]
    cards_dir: Annotated[str, Setting(
        default="/media/cards", twin=False,
        doc="Folder in which cards appear, one folder a card.",
    )]
    must_be_mounts: Annotated[str | None, Setting(
        default=None, twin=False, pattern=r"(/[^:]*)(:/[^:]*)*", form="absolute paths with colons between",
        doc="Folders without which a gateway does not start, unless something is mounted there; the image sets it.",
    )]
    poll_s: Annotated[float, Setting(
        default=5, least=0.1, most=600, unit="s",
        doc="How often the cards folder is looked at, besides whenever the kernel tells of a change.",
    )]
    page_address: Annotated[str, Setting(
        default="127.0.0.1", pattern=r"[0-9A-Fa-f:.]{2,45}", form="an IP address of the gateway's", twin=False,
        doc="Where the page for technicians listens; `0.0.0.0` for every network that the gateway is on.",
    )]
    page_port: Annotated[int, Setting(
        default=8377, least=0, most=65535, twin=False,
        doc="The page's port; 0 for no page.",
    )]
    page_pin: Annotated[str | None, Setting(
        default=None, pattern=r"[0-9]{6,12}", form="6 to 12 digits", secret=True,
        doc="Opens the page: cards' names, and writing to a stick. Without it the page says only how things stand.",
    )]
    bundles_dir: Annotated[str, Setting(
        default="/media/bundles", twin=False,
        doc="Where a stick labelled PONYA-OUT is mounted, writable, to carry what is owed by hand.",
    )]
    signal_command: Annotated[str | None, Setting(
        default=None, twin=False,
        doc="A command for a lamp: called with waiting, reading, sending, safe, wait or error whenever that changes.",
    )]
    confirm_interval_s: Annotated[float, Setting(
        default=60, least=0, most=3600, unit="s",
        doc="How long headquarters may take to answer: what it misses is not sent, and nothing asked, again before.",
    )]
    resend_after_s: Annotated[float, Setting(
        default=7200, least=1, most=30 * 86400, unit="s",
        doc="How long after sending an unconfirmed message is sent again.",
    )]
    retry_longest_s: Annotated[float, Setting(
        default=600, least=1, most=86400, unit="s",
        doc="The longest pause before something that failed is tried again; the first is 2 s, and each twice the last.",
    )]
    reconnect_s: Annotated[int, Setting(
        default=10, least=1, most=600, unit="s", twin=False,
        doc="How long after the link to the edge hub broke it is tried again.",
    )]
    unconfirmed_max_bytes: Annotated[int, Setting(
        default=4_000_000, least=300_000, most=100_000_000, unit="bytes",
        doc="How much may be on the way, sent and not confirmed, before the gateway waits.",
    )]
    status_interval_s: Annotated[float, Setting(
        default=3600, least=1, most=86400, unit="s",
        doc="How often the gateway says how it is.",
    )]
    stall_s: Annotated[float, Setting(
        default=600, least=10, most=86400, unit="s",
        doc="How long a part of the module may not move before the module ends itself, to be started again.",
    )]
    hot_c: Annotated[float, Setting(
        default=80, least=40, most=120, unit="degrees Celsius",
        doc="From which temperature of the processor on fewer pictures are looked at at once, with pauses.",
    )]
    budget_bytes: Annotated[int, Setting(
        default=20_000_000, least=2_000_000, most=100_000_000_000, unit="bytes",
        doc="How much may be sent in a day, messages and pictures with their headers; the day ends at midnight by"
        " `camera_utc_offset_min`. A tenth is kept for alerts and receipts.",
    )]
    upload_from_h: Annotated[int, Setting(
        default=0, least=0, most=23, unit="h",
        doc="Hour of the day, by `camera_utc_offset_min`, from which pictures are sent; messages go at any hour.",
    )]
    upload_until_h: Annotated[int, Setting(
        default=24, least=0, most=24, unit="h",
        doc="Hour of the day at which that ends; from 22 until 4 passes midnight, the same hour twice is the whole"
        " day.",
    )]
    crop_of: Annotated[str, Setting(
        default="panda_and_review", choices=("none", "panda", "panda_and_review"),
        doc="Of which verdicts a crop of at most 20 KB is sent.",
    )]
    frame_of: Annotated[str, Setting(
        default="panda", choices=("none", "panda", "panda_and_review"),
        doc="Of which verdicts a picture of 1,600 px and at most 400 KB is sent.",
    )]
    original_of: Annotated[str, Setting(
        default="none", choices=("none", "panda", "panda_and_review"),
        doc="Of which verdicts the original is sent unasked.",
    )]
    review_crops_per_day: Annotated[int, Setting(
        default=60, least=0, most=100_000,
        doc="How many crops of `review` are sent in a day, the likeliest red pandas first; the others wait.",
    )]
    audit_per_mille: Annotated[float, Setting(
        default=10, least=0, most=1000,
        doc="Of a thousand discards that are least like a red panda, how many are drawn for people to look at (160 px);"
        " of the three bands above them 2, 4 and 8 times as many.",
    )]
    withheld_pictures: Annotated[bool, Setting(
        default=False,
        doc="Whether pictures that stay on the gateway because there may be a person in them are sent reduced to"
        " 48 px.",
    )]
    originals_max_share: Annotated[float, Setting(
        default=0.5, least=0.01, most=0.95,
        doc="Share of the disk that kept originals may take. At the ceiling those go that headquarters holds, then"
        " those that were released; if that is not enough, reading pauses.",
    )]
    originals_max_bytes: Annotated[int | None, Setting(
        default=None, least=1_000_000, most=100_000_000_000_000, unit="bytes",
        doc="The same in bytes; the lower of the two holds.",
    )]
    panda_threshold_day: Annotated[float | None, _threshold("panda", "day")]
    review_threshold_day: Annotated[float | None, _threshold("review", "day")]
    panda_threshold_night: Annotated[float | None, _threshold("panda", "night")]
    review_threshold_night: Annotated[float | None, _threshold("review", "night")]
    # fmt: on

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

    def shown(self, setting: Setting) -> Any:
        """A setting's value as anybody may see it: of a secret only whether it is set."""
        value = getattr(self, setting.name)
        return ("set" if value else "not set") if setting.secret else value


def _over(own: Thresholds, panda: float | None, review: float | None) -> Thresholds:
    return Thresholds(
        panda=own.panda if panda is None else panda,
        review=own.review if review is None else review,
    )


def _schema() -> tuple[Setting, ...]:
    found = []
    for name, hint in get_type_hints(Settings, include_extras=True).items():
        of, setting = get_args(hint)
        (kind,) = {*(get_args(of) or (of,))} - {type(None)}
        found.append(replace(setting, name=name, kind=kind))
    return tuple(found)


SCHEMA: Final = _schema()
"""Every setting there is, from the fields of `Settings`. docs/settings.md is generated from this."""

BY_NAME: Final = {setting.name: setting for setting in SCHEMA}


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
            setting = BY_NAME.get(str(name))
            if setting is None:
                near = "".join(f" (do you mean {n}?)" for n in get_close_matches(str(name)[:80], BY_NAME, 1))
                faults.append(f"{source}: {str(name)[:80]!r}: no such setting{near}; docs/settings.md has them all")
                continue
            try:
                values[setting.name] = setting.check(value)
            except ValueError:
                shown = "what was given" if setting.secret else repr(str(value)[:80])
                faults.append(f"{source}: {name}: {shown} is not allowed; {setting.allowed} is")
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
