"""Reading fields of hostile JSON, with errors that name the field. Standard library only."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from edge_module.errors import WireError

_INTEGER_MAX: Final = 2**53 - 1
"""The largest integer that every JSON reader holds exactly."""

_TEXT_MAX: Final = 16_384
"""The longest path Linux knows (4,096 bytes), each byte written as an escape."""
_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object and where it stands, for messages such as ``record.size_bytes: must be an integer``."""

    values: dict[str, Any]
    where: str

    @classmethod
    def of(cls, value: object, where: str) -> "Fields":
        """Take a JSON object.

        Raises:
            WireError: it is something else.
        """
        if not isinstance(value, dict):
            raise WireError(f"{where}: must be an object")
        return cls(value, where)

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.values.get(name) is not None

    def inner(self, name: str) -> "Fields":
        """An object within."""
        return Fields.of(self._get(name), f"{self.where}.{name}")

    def text(self, name: str, *, longest: int | None = _TEXT_MAX) -> str:
        """A string of bounded length that can be encoded."""
        return _text(self._get(name), f"{self.where}.{name}", longest)

    def optional_text(self, name: str) -> str | None:
        """A string, or None where the field is absent or null."""
        return self.text(name) if self.has(name) else None

    def integer(self, name: str, *, least: int = 0) -> int:
        """An integer from `least` up to 2**53 - 1."""
        value = self._get(name)
        if type(value) is not int or not least <= value <= _INTEGER_MAX:
            raise WireError(f"{self.where}.{name}: must be an integer from {least} to {_INTEGER_MAX}")
        return value

    def number(self, name: str) -> float:
        """A finite number."""
        value = self._get(name)
        if not _is_number(value):
            raise WireError(f"{self.where}.{name}: must be a finite number")
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._get(name)
        if type(value) is not bool:
            raise WireError(f"{self.where}.{name}: must be true or false")
        return value

    def array(self, name: str, default: object = _MISSING) -> list[Any]:
        """A JSON array."""
        value = self.values.get(name, default) if default is not _MISSING else self._get(name)
        if not isinstance(value, list):
            raise WireError(f"{self.where}.{name}: must be an array")
        return value

    def numbers(self, name: str) -> dict[str, float]:
        """An object whose values are all numbers."""
        values = self.inner(name).values
        for key, value in values.items():
            _text(key, f"{self.where}.{name}", _TEXT_MAX)
            if not _is_number(value):
                raise WireError(f"{self.where}.{name}: values must be finite numbers")
        return values

    def scalars(self) -> dict[str, float | str]:
        """This object, if its values are all numbers or strings of bounded length."""
        for name, value in self.values.items():
            _text(name, self.where, _TEXT_MAX)
            if not _is_number(value):
                _text(value, f"{self.where}.{name[:80]}", _TEXT_MAX)
        return self.values

    def instant(self, name: str) -> datetime:
        """An ISO 8601 time with an offset."""
        text = self.text(name)
        try:
            instant = datetime.fromisoformat(text)
        except ValueError as exc:
            raise WireError(f"{self.where}.{name}: {text[:40]!r} is not an ISO 8601 time") from exc
        if instant.tzinfo is None:
            raise WireError(f"{self.where}.{name}: {text[:40]!r} has no offset from UTC")
        return instant

    def column(self, name: str, of: type[int] | type[str], length: int | None, *, nulls: bool = True) -> list[Any]:
        """An array of one type, in which nulls may stand for nothing."""
        return self.column_of(self._get(name), of, length, f"{self.where}.{name}", nulls=nulls)

    @staticmethod
    def column_of(
        values: object, of: type[int] | type[str], length: int | None, where: str, *, nulls: bool = True
    ) -> list[Any]:
        """Check a column.

        Raises:
            WireError: not an array, of another length, or with a value of another type.
        """
        if not isinstance(values, list) or (length is not None and len(values) != length):
            raise WireError(f"{where}: must be an array of {length} values")
        # Checked all at once, value by value only to name the wrong one: headquarters does this for every frame.
        present = [v for v in values if v is not None] if nulls else values
        types = set(map(type, present))
        if types <= {of} and present:
            if of is str and max(map(len, present)) <= _TEXT_MAX:
                _text("".join(present), where, None)
                return values
            if of is int and min(present) >= -_INTEGER_MAX and max(present) <= _INTEGER_MAX:
                return values
        for value in present:
            if of is str:
                _text(value, where, _TEXT_MAX)
            elif type(value) is not int or abs(value) > _INTEGER_MAX:
                raise WireError(f"{where}: {str(value)[:40]!r} is not of type {of.__name__}")
        return values

    def _get(self, name: str) -> Any:
        value = self.values.get(name, _MISSING)
        if value is _MISSING or value is None:
            raise WireError(f"{self.where}.{name}: is missing")
        return value


def _is_number(value: object) -> bool:
    return (type(value) is int and abs(value) <= _INTEGER_MAX) or (type(value) is float and math.isfinite(value))


def _text(value: object, where: str, longest: int | None) -> str:
    if not isinstance(value, str) or (longest is not None and len(value) > longest):
        raise WireError(f"{where}: must be a string of at most {longest} characters")
    if "\0" in value:  # no path has it, and PostgreSQL cannot store it
        raise WireError(f"{where}: holds a NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise WireError(f"{where}: holds a lone surrogate") from exc
    return value
