"""Twins as values: what changed, limits. Nothing here touches the world.

Source of the limits: "Understand and use device twins in IoT Hub" in Azure's documentation, sections "Device twin size"
and "Device twin format".
"""

from datetime import UTC, datetime
from typing import Any, Final

from deployment.local.errors import invalid, too_large

Section = dict[str, Any]
"""Tags, desired or reported properties: a JSON object."""

TAGS_BYTES: Final = 8 * 1024
PROPERTIES_BYTES: Final = 32 * 1024
_KEY_BYTES: Final = 1024
_STRING_BYTES: Final = 4 * 1024
_DEPTH: Final = 10
_INTEGERS: Final = range(-4503599627370496, 4503599627370496)
_NUMBER_BYTES: Final = 8
_BOOLEAN_BYTES: Final = 4


def difference(before: Section, after: Section) -> Section:
    """The patch that turns one section into another."""
    patch: Section = dict.fromkeys(before.keys() - after.keys())
    for key, value in after.items():
        old = before.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            if changed := difference(old, value):
                patch[key] = changed
        elif key not in before or old != value or type(old) is not type(value):
            patch[key] = value
    return patch


def stamp(metadata: Section, patch: Section, version: int) -> Section:
    """``$metadata`` after a patch: when each key was last written."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    stamped = {**metadata, "$lastUpdated": now, "$lastUpdatedVersion": version}
    for key, value in patch.items():
        if value is None:
            stamped.pop(key, None)
        else:
            old = stamped.get(key)
            stamped[key] = stamp(
                old if isinstance(old, dict) else {}, value if isinstance(value, dict) else {}, version
            )
    return stamped


def check_patch(patch: Any, name: str) -> Section:
    """Check the shape of what someone wants to write.

    Args:
        patch: decoded JSON, from anyone.
        name: what to call it in an error, such as ``properties.desired``.

    Raises:
        RefusedError: 400, saying which key is at fault.
    """
    if not isinstance(patch, dict):
        raise invalid(f"{name} must be a JSON object")
    _check_value(patch, name, 0)
    return patch


def check_size(section: Section, name: str, limit_bytes: int) -> None:
    """Check a section as it would be after the write.

    Raises:
        RefusedError: 403.
    """
    if size_bytes(section) > limit_bytes:
        raise too_large(f"'{name}' size should be less than {limit_bytes} bytes.")


def size_bytes(value: Any) -> int:
    """Size as IoT Hub counts it: keys and strings without control characters, 8 a number, 4 a boolean."""
    if isinstance(value, dict):
        return sum(size_bytes(key) + size_bytes(item) for key, item in value.items())
    if isinstance(value, list):
        return sum(map(size_bytes, value))
    if isinstance(value, str):
        return len("".join(c for c in value if not _is_control(c)).encode())
    if isinstance(value, bool):
        return _BOOLEAN_BYTES
    return _NUMBER_BYTES if isinstance(value, int | float) else 0


def _check_value(value: Any, name: str, depth: int) -> None:
    if depth > _DEPTH:
        raise invalid(f"{name}: deeper than {_DEPTH} levels")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_key(key, name)
            _check_value(item, f"{name}.{key}", depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_value(item, f"{name}[{index}]", depth + 1)
    elif isinstance(value, str):
        if len(_utf8(value, name)) > _STRING_BYTES:
            raise invalid(f"{name}: a string has at most {_STRING_BYTES} bytes")
    elif isinstance(value, int) and value not in _INTEGERS:
        raise invalid(f"{name}: integers lie between {_INTEGERS.start} and {_INTEGERS.stop - 1}")
    elif isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):  # noqa: PLR0124 - NaN
        raise invalid(f"{name}: not a JSON number")


def _check_key(key: str, name: str) -> None:
    if not key or len(_utf8(key, name)) > _KEY_BYTES:
        raise invalid(f"{name}: a key has 1 to {_KEY_BYTES} bytes")
    if any(c in ".$ " or _is_control(c) for c in key):
        raise invalid(f"{name}: the key {key!r} has a control character, '.', '$' or a space")


def _utf8(text: str, name: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise invalid(f"{name}: not Unicode text") from exc


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f"
