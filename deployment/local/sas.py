r"""Shared access signatures of IoT Hub and Event Hubs: made and checked.

Source: "Control access to IoT Hub using shared access signatures" in Azure's documentation: the signature is the
HMAC-SHA256 of ``{resource}\n{expiry}``. IoT Hub's keys are base64, those of Event Hubs are taken as UTF-8.
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Iterable
from urllib.parse import quote, unquote

from deployment.local.errors import unauthorized

_PREFIX = "SharedAccessSignature "
_EXPIRY_DIGITS = 12
"""Of the expiry, in seconds since 1970: enough for 30,000 years, and for every clock."""


def signature(key: bytes, data: bytes) -> str:
    """HMAC-SHA256 as base64, which is also what the workload API's ``sign`` answers."""
    return base64.b64encode(hmac.new(key, data, hashlib.sha256).digest()).decode()


def token(resource: str, key: str, *, lifetime_s: int, policy: str | None = None) -> str:
    """A token for a resource such as ``host/devices/gateway-1``, with an IoT Hub key (base64)."""
    expires = int(time.time()) + lifetime_s
    scope = quote(resource, safe="")
    signed = signature(base64.b64decode(key), f"{scope}\n{expires}".encode())
    named = f"&skn={policy}" if policy else ""
    return f"{_PREFIX}sr={scope}&sig={quote(signed, safe='')}&se={expires}{named}"


def check(given: str, resource: str, keys: Iterable[bytes]) -> int:
    """Check a token.

    Args:
        given: the whole token as it came.
        resource: what it must be good for: its ``sr`` must name this or something that contains it.
        keys: decoded keys, any of which may have signed it.

    Returns:
        When it expires, in seconds since 1970.

    Raises:
        RefusedError: 401, saying why (never with the token itself).
    """
    if not (given.isascii() and given.startswith(_PREFIX)):
        raise unauthorized("no shared access signature")
    fields = dict(pair.partition("=")[::2] for pair in given.removeprefix(_PREFIX).split("&"))
    scope, signed, expires = fields.get("sr", ""), unquote(fields.get("sig", "")), fields.get("se", "")
    if not (scope and signed and expires.isdigit() and len(expires) <= _EXPIRY_DIGITS):
        raise unauthorized("the shared access signature lacks sr, sig or se")
    signed_bytes = signed.encode(errors="replace")
    if not any(
        hmac.compare_digest(signature(key, f"{scope}\n{expires}".encode()).encode(), signed_bytes) for key in keys
    ):
        raise unauthorized("the signature is not by a key of this identity")
    if not _contains(unquote(scope), resource):
        raise unauthorized(f"the shared access signature is for another resource than {resource}")
    if int(expires) <= time.time():
        raise unauthorized("the shared access signature has expired")
    return int(expires)


def decoded(key: str) -> bytes:
    """An IoT Hub key as bytes.

    Raises:
        ValueError: it is not base64.
    """
    try:
        return base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError("not base64") from exc


def _contains(scope: str, resource: str) -> bool:
    outer, inner = scope.lower().rstrip("/"), resource.lower().rstrip("/")
    return inner == outer or inner.startswith(outer + "/")
