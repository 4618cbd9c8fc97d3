"""The pages' texts in people's languages.

English stands in the templates and the code, marked by ``_``, `say`, `plural` or `mark`; the other languages stand in
``texts/LANGUAGE.json``: English -> that language. Of a plural the key is the English plural, and the value is one text,
or a list of two: for one, and for more. tests/unit/web/test_languages.py says what is missing.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from flask import g, has_request_context, request, session

LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "ne": "नेपाली"}
"""Codes of ISO 639-1 -> what the language calls itself."""

CHOSEN: Final = "language"
"""The name in the session."""

_FOLDER: Final = Path(__file__).parent / "texts"


def mark(text: str) -> str:
    """Mark a text that is said elsewhere."""
    return text


WORDS: Final[Mapping[str, str]] = {
    "panda": mark("panda"),
    "review": mark("to review"),
    "other": mark("other"),
    "blank": mark("blank"),
    "human": mark("human"),
    "unreadable": mark("unreadable"),
    "duplicate": mark("duplicate"),
    "ignored": mark("ignored"),
    "red panda": mark("red panda"),
    "complete": mark("complete"),
    "interrupted": mark("interrupted"),
    "reading": mark("reading"),
    "coordinator": mark("coordinator"),
    "viewer": mark("viewer"),
    "crop": mark("crop"),
    "frame": mark("frame"),
    "original": mark("original"),
    "audit": mark("audit sample"),
    "withheld": mark("48 px"),
}
"""What fates, states, roles and variants are called; what is not here is called what it is."""


def word(value: str) -> str:
    """What a value of an enumeration is called."""
    return say(WORDS.get(str(value), str(value)))


def say(text: str, /, **values: object) -> str:
    """A text in the language of whoever is asking; `%(name)s` stands for a value."""
    told = translate(text)
    return told % values if values else told


def plural(one: str, more: str, count: int) -> str:
    """A text about a number of things, ``%(num)s`` of them."""
    return translate_plural(one, more, count) % {"num": count}


def translate(text: str) -> str:
    """A text, its values still open; English where the language has none."""
    told = catalogue(language()).get(text, text)
    return told if isinstance(told, str) else told[-1]


def translate_plural(one: str, more: str, count: int) -> str:
    """As `translate`, of `count` things."""
    told = catalogue(language()).get(more)
    if told is None:
        return one if count == 1 else more
    return told if isinstance(told, str) else told[0 if count == 1 else -1]


def language() -> str:
    """The language of whoever is asking: chosen, else what the browser asks for, else English, as outside a request."""
    if not has_request_context():
        return "en"
    if "language" not in g:  # not before a text is needed: what looks at the cookie may not be cached
        chosen = session.get(CHOSEN)
        g.language = chosen if chosen in LANGUAGES else request.accept_languages.best_match(LANGUAGES, "en")
    found: str = g.language
    return found


@cache
def catalogue(code: str) -> Mapping[str, str | list[str]]:
    """The texts of a language. English is what the keys are."""
    if code == "en":
        return {}
    texts: dict[str, str | list[str]] = json.loads((_FOLDER / f"{code}.json").read_text(encoding="utf-8"))
    return texts
