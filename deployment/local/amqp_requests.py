"""What a consumer asks of ``$cbs`` and ``$management``: to read, and what there is to be read."""

import logging
import re
import time
from urllib.parse import unquote, urlsplit

from proton import UNDESCRIBED, Array, Data, Message, timestamp

from deployment.local import EVENT_HUB, sas
from deployment.local.errors import RefusedError, unauthorized
from deployment.local.event_log import EventLog

_log = logging.getLogger(__name__)


class Grants:
    """The tokens that were put on one connection."""

    def __init__(self, policy_key: bytes) -> None:
        self._policy_key = policy_key
        self._granted: dict[str, int] = {}

    def put_token(self, request: Message) -> Message:
        """Answer a request to ``$cbs``."""
        audience = _path(str((request.properties or {}).get("name", "")))
        try:
            expires = _checked_token(str(request.body), audience, self._policy_key)
        except RefusedError as exc:
            _log.info("token for %s refused: %s", audience, exc)
            return _status(401, str(exc))
        self._granted[audience] = expires
        return _status(202, "Accepted")

    @property
    def any_valid(self) -> bool:
        """Whether there is a token that has not expired, whatever for."""
        return any(expires > time.time() for expires in self._granted.values())

    def may_read(self, source: str) -> bool:
        """Whether a token that has not expired covers an address."""
        path = _path(source)
        return any(
            expires > time.time() and f"{path}/".startswith(f"{audience}/")
            for audience, expires in self._granted.items()
        )


def describe(request: Message, events: EventLog, grants: Grants) -> Message:
    """Answer a request to ``$management``."""
    asked = request.properties or {}
    kind = asked.get("type")
    if not grants.may_read(EVENT_HUB) and not grants.any_valid:
        return _status(401, "no token was put on $cbs")
    if str(asked.get("name", "")).lower() != EVENT_HUB:
        return _status(404, f"no stream {asked.get('name')}")
    reply = _status(200, "OK")
    if kind == "com.microsoft:eventhub":
        numbers = [str(number) for number in range(events.partitions)]
        reply.body = {
            "name": EVENT_HUB,
            "type": kind,
            "created_at": timestamp(events.created_ms),
            "partition_count": events.partitions,
            "partition_ids": Array(UNDESCRIBED, Data.STRING, *numbers),
        }
        return reply
    partition = str(asked.get("partition", ""))
    if not (partition.isascii() and partition.isdigit() and int(partition) < events.partitions):
        return _status(404, f"no partition {partition}")
    state = events.state(int(partition))
    reply.body = {
        "name": EVENT_HUB,
        "type": "com.microsoft:partition",
        "partition": partition,
        "begin_sequence_number": state.first_sequence,
        "last_enqueued_sequence_number": state.last_sequence,
        "last_enqueued_offset": str(state.last_offset),
        "last_enqueued_time_utc": timestamp(state.last_enqueued_ms),
        "is_partition_empty": state.is_empty,
    }
    return reply


def _checked_token(token: str, audience: str, key: bytes) -> int:
    """When a token for an audience expires. Host names are those the client uses: what counts is the path."""
    named = re.search(r"sr=([^&]*)", token)
    scope = unquote(named[1]) if named else ""
    expires = sas.check(token, scope, [key])
    if not f"{audience}/".startswith(f"{_path(scope)}/".lstrip("/")):
        raise unauthorized("the token is for another resource")
    return expires


def _status(code: int, description: str) -> Message:
    return Message(properties={"status-code": code, "status-description": description})


def _path(address: str) -> str:
    """An address without scheme and host: audiences and scopes differ in these between SDKs."""
    return (urlsplit(address).path if "://" in address else address).strip("/").lower()
