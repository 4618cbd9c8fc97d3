"""The part of IoT Hub's query language that a fleet needs: ``SELECT * FROM devices[.modules] [WHERE ...]``.

Conditions: ``= != <> < <= > >=``, ``IN [..]``, ``AND``, ``OR``, ``NOT``, brackets, ``is_defined(x)`` and
``startswith(x, 's')``; paths such as ``deviceId``, ``tags.site`` and ``properties.desired.settings.budget_bytes``.
Source: "IoT Hub query language for device and module twins" in Azure's documentation.
"""

import json
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from deployment.local.errors import RefusedError, invalid

Condition = Callable[[dict[str, Any]], bool]

_MISSING: Final = object()
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<number>-?\d+(?:\.\d+)?)
    |(?P<operator><=|>=|!=|<>|[=<>()\[\],])
    |(?P<word>[A-Za-z_$][\w$-]*(?:\.[A-Za-z_$][\w$-]*)*))""",
    re.VERBOSE,
)
_SELECT: Final = re.compile(
    r"\s*select\s+\*\s+from\s+(devices\.modules|devices)(?:\s+where\s+(.+?))?\s*;?\s*", re.IGNORECASE | re.DOTALL
)
_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MAX_DEPTH: Final = 50


@dataclass(frozen=True, slots=True)
class Query:
    """A query understood.

    Attributes:
        modules: asks for module twins, not for those of devices.
        matches: whether a twin (as the REST interface shows it) is asked for.
    """

    modules: bool
    matches: Condition


def parse(text: str) -> Query:
    """Understand a query.

    Raises:
        RefusedError: 400, saying where it is not understood.
    """
    found = _SELECT.fullmatch(text)
    if not found:
        raise _not_understood(text, "only SELECT * FROM devices or devices.modules, with or without WHERE")
    modules = found[1].lower() == "devices.modules"
    if not found[2]:
        return Query(modules, lambda _twin: True)
    reader = _Reader(found[2])
    condition = reader.either(0)
    reader.end()
    return Query(modules, condition)


class _Reader:
    """Recursive descent: either > both > one > term."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if not found or not found.lastgroup:
                raise _not_understood(text, f"at {text[at:].strip()[:20]!r}")
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at][1].lower() if self.at < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> tuple[str, str]:
        if self.at >= len(self.tokens) or (expected and self.peek() != expected):
            raise _not_understood(self.text, f"expected {expected or 'more'} after {self.at} words")
        self.at += 1
        return self.tokens[self.at - 1]

    def end(self) -> None:
        if self.at < len(self.tokens):
            raise _not_understood(self.text, f"at {self.tokens[self.at][1]!r}")

    def either(self, depth: int) -> Condition:
        conditions = [self.both(depth)]
        while self.peek() == "or":
            self.take()
            conditions.append(self.both(depth))
        return lambda twin: any(condition(twin) for condition in conditions)

    def both(self, depth: int) -> Condition:
        conditions = [self.one(depth)]
        while self.peek() == "and":
            self.take()
            conditions.append(self.one(depth))
        return lambda twin: all(condition(twin) for condition in conditions)

    def one(self, depth: int) -> Condition:
        if depth > _MAX_DEPTH:
            raise _not_understood(self.text, f"nested deeper than {_MAX_DEPTH}")
        if self.peek() == "not":
            self.take()
            negated = self.one(depth + 1)
            return lambda twin: not negated(twin)
        if self.peek() == "(":
            self.take()
            inner = self.either(depth + 1)
            self.take(")")
            return inner
        if self.peek() in {"is_defined", "startswith"}:
            return self.function()
        path = self.path()
        if self.peek() == "in":
            self.take()
            allowed = self.values()
            return lambda twin: any(_equal(_look_up(twin, path), value) for value in allowed)
        compare = _COMPARE.get(self.take()[1])
        if compare is None:
            raise _not_understood(self.text, f"no comparison after {path}")
        wanted = self.value()
        return lambda twin: _compare(compare, _look_up(twin, path), wanted)

    def function(self) -> Condition:
        name = self.take()[1].lower()
        self.take("(")
        path = self.path()
        prefix = ""
        if name == "startswith":
            self.take(",")
            prefix = str(self.value())
        self.take(")")
        if name == "is_defined":
            return lambda twin: _look_up(twin, path) is not _MISSING
        return lambda twin: str(_look_up(twin, path)).startswith(prefix)

    def path(self) -> str:
        kind, text = self.take()
        if kind != "word":
            raise _not_understood(self.text, f"expected a property, found {text!r}")
        return text

    def values(self) -> list[Any]:
        self.take("[")
        values = [self.value()]
        while self.peek() == ",":
            self.take()
            values.append(self.value())
        self.take("]")
        return values

    def value(self) -> Any:
        kind, text = self.take()
        if kind == "string":
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        if kind == "number" or text in {"true", "false", "null"}:
            return json.loads(text)
        raise _not_understood(self.text, f"expected a value, found {text!r}")


def _look_up(twin: dict[str, Any], path: str) -> Any:
    value: Any = twin
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return _MISSING
        value = value[key]
    return value


def _equal(left: Any, right: Any) -> bool:
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _compare(compare: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    """A missing property matches nothing, not even ``!=``; neither do values of different kinds."""
    if left is _MISSING or isinstance(left, bool) != isinstance(right, bool):
        return False
    try:
        return compare(left, right)
    except TypeError:
        return False


def _not_understood(text: str, why: str) -> RefusedError:
    return invalid(f"query not understood ({why}): {text[:200]}")
