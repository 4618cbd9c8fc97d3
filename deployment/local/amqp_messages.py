"""Stored events as AMQP messages, and where in a partition a consumer begins."""

import re
from typing import Final

from proton import Described, Link, Message, symbol, timestamp

from deployment.local.event_log import POSITION_FIELDS, EventLog, Stored

_POSITION: Final = re.compile(r"amqp\.annotation\.x-opt-([a-z-]+)\s*(>=?)\s*'([^']*)'")


def message(stored: Stored) -> Message:
    """An event as Event Hubs sends it."""
    sent = Message(body=stored.body, inferred=True, properties=stored.application or None)
    sent.annotations = {
        "x-opt-sequence-number": stored.sequence,
        "x-opt-offset": str(stored.offset),
        "x-opt-enqueued-time": timestamp(stored.enqueued_ms),
        "iothub-enqueuedtime": timestamp(stored.enqueued_ms),
        **stored.annotations,
    }
    system = stored.system
    if "message-id" in system:
        sent.id = system["message-id"]
    if "correlation-id" in system:
        sent.correlation_id = system["correlation-id"]
    if "user-id" in system:
        sent.user_id = system["user-id"].encode()
    sent.content_type = symbol(system["content-type"]) if "content-type" in system else None
    sent.content_encoding = symbol(system["content-encoding"]) if "content-encoding" in system else None
    return sent


def cursor(events: EventLog, partition: int, link: Link) -> int:
    """The sequence number at which a receiver begins, by its link's filter."""
    found = _POSITION.search(_filter(link))
    if not found or found[1] not in POSITION_FIELDS:
        return events.state(partition).first_sequence
    if found[3] == "@latest":
        return events.end(partition)
    return events.position(partition, found[1], int(found[3]), inclusive=found[2] == ">=")


def _filter(link: Link) -> str:
    """The selector text of a receiver's source filter."""
    given = link.remote_source.filter
    given.rewind()
    if not given.next():
        return ""
    values = [value.value if isinstance(value, Described) else value for value in (given.get_object() or {}).values()]
    return str(values[-1]) if values else ""
