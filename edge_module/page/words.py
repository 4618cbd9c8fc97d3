"""The page's words, one catalogue a language beside this file: ``en.yml``, ``ne.yml``."""

from functools import cache
from pathlib import Path
from typing import Final

import yaml

LANGUAGES: Final = ("en", "ne")
_FOLDER: Final = Path(__file__).parent
_DIGITS: Final = {"ne": str.maketrans("0123456789", "०१२३४५६७८९")}
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86400


class Words:
    """One language."""

    def __init__(self, language: str, texts: dict[str, str]) -> None:
        self.language = language
        self.texts = texts

    def __call__(self, key: str, **values: str | int) -> str:
        """A text with its values filled in; numbers in the language's digits."""
        return self.texts[key].format(**{n: self.number(v) if isinstance(v, int) else v for n, v in values.items()})

    def number(self, value: int) -> str:
        """A number, in the language's digits."""
        return f"{value:,}".translate(_DIGITS.get(self.language, {}))

    def duration(self, seconds: float) -> str:
        """A time as people say it."""
        if seconds < _MINUTE_S:
            return self("duration_soon")
        if seconds < _HOUR_S:
            return self("duration_minutes", n=round(seconds / _MINUTE_S))
        if seconds < _DAY_S:
            return self("duration_hours", n=round(seconds / _HOUR_S))
        return self("duration_days", n=round(seconds / _DAY_S))

    def size(self, size_bytes: int) -> str:
        """An amount of data."""
        if size_bytes < 100_000:  # noqa: PLR2004 - to one digit after the point
            return self("size_kb", n=max(1, round(size_bytes / 1000)) if size_bytes else 0)
        return self("size_mb", n=f"{size_bytes / 1e6:,.1f}".translate(_DIGITS.get(self.language, {})))


@cache
def words(language: str) -> Words:
    """The words of one of `LANGUAGES`."""
    return Words(language, yaml.safe_load((_FOLDER / f"{language}.yml").read_text(encoding="utf-8")))


def chosen(cookie: str, accept_language: str) -> str:
    """The language to use: the one that was chosen, else the first that the browser asks for, else English."""
    if cookie in LANGUAGES:
        return cookie
    weighed = []
    for item in accept_language[:200].split(","):
        tag, _, rest = item.strip().partition(";")
        try:
            weight = float(rest.strip().removeprefix("q=")) if rest else 1.0
        except ValueError:
            weight = 0.0
        weighed.append((weight, tag.partition("-")[0].lower()))
    wanted = [tag for weight, tag in sorted(weighed, key=lambda w: -w[0]) if weight > 0 and tag in LANGUAGES]
    return wanted[0] if wanted else LANGUAGES[0]
