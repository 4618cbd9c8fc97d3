"""Merge patches (RFC 7396), the form in which twins are written: for the gateway and for the stand-in for IoT Hub."""

from collections.abc import Mapping
from typing import Any


def merged(document: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A document after a patch: null removes, objects are merged, everything else replaces."""
    result = dict(document)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            there = result.get(name)
            result[name] = merged(there if isinstance(there, Mapping) else {}, value)
        else:
            result[name] = value
    return result
