"""The parts of the local Azure that are values in, values out: for any input."""

import asyncio
import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proton import Connection, Transport

from deployment.local import amqp_padding, mqtt, query, sas, twin
from deployment.local.database import open_database
from deployment.local.errors import RefusedError
from deployment.local.event_log import Event, EventLog
from edge_module.merge_patch import merged

quick = settings(deadline=None, max_examples=50)
keys = st.text("abcü_-", min_size=1, max_size=4)
leaves = (
    st.booleans()
    | st.integers(-(2**52), 2**52 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
sections = st.dictionaries(
    keys, st.recursive(leaves, lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8), max_size=4
)


@quick
@given(sections, sections)
def test_a_difference_leads_from_one_section_to_the_other(before, after):
    assert merged(before, twin.difference(before, after)) == without_empty(before, after)


def without_empty(before, after):
    """An object that was there and becomes empty stays there: a patch cannot empty it, as in Azure."""
    result = {}
    for key, value in after.items():
        old = before.get(key)
        result[key] = without_empty(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return result


@quick
@given(sections, sections)
def test_merging_twice_is_merging_once(section, patch):
    once = merged(section, patch)
    assert merged(once, patch) == once


@quick
@given(sections)
def test_what_may_be_written_has_a_size_and_stays_what_it_is(section):
    assert twin.check_patch(section, "x") is section
    assert twin.size_bytes(section) >= len(section)


@quick
@given(st.recursive(st.none() | leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner)))
def test_noise_is_taken_or_refused_never_worse(noise):
    with contextlib.suppress(RefusedError):
        twin.check_patch(noise, "x")


@quick
@given(st.integers(0, 255), st.binary(max_size=200))
def test_any_bytes_are_a_packet_or_an_error(first, content):
    with contextlib.suppress(mqtt.MqttError):
        mqtt.parse(first, content)


@quick
@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40), st.binary(max_size=70_000)
)
def test_a_packet_is_read_back(topic, body):
    async def read_back():
        stream = asyncio.StreamReader()
        stream.feed_data(mqtt.publish(topic, body))
        return await mqtt.read(stream)

    assert asyncio.run(read_back()) == mqtt.Publish(topic=topic, body=body, qos=0, packet_id=0)


@pytest.mark.parametrize("noise", [b"\x30\xff\xff\xff\xff\x7f", b"\x30\xff\xff\xff\x7f"])
async def test_a_packet_without_end_is_refused_before_it_is_read(noise):
    stream = asyncio.StreamReader()
    stream.feed_data(noise)
    with pytest.raises(mqtt.MqttError):
        await mqtt.read(stream)


@quick
@given(st.text(max_size=60))
def test_any_query_is_understood_or_refused(noise):
    for text in (noise, f"SELECT * FROM devices WHERE {noise}"):
        with contextlib.suppress(RefusedError):
            query.parse(text).matches({"deviceId": "one"})


@quick
@given(st.text(max_size=80))
def test_any_token_but_a_good_one_is_refused(noise):
    for text in (noise, f"SharedAccessSignature {noise}", f"SharedAccessSignature sr=a&sig={noise}&se=9999999999"):
        with pytest.raises(RefusedError):
            sas.check(text, "a", [b"key"])


@quick
@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_performatives_are_padded_whatever_pieces_they_come_in(pieces):
    transport, connection = Transport(), Connection()
    connection.container = "x"
    transport.bind(connection)
    connection.open()
    raw = transport.peek(transport.pending())
    whole = amqp_padding.Padder().feed(raw)
    frames = whole[8:] if whole.startswith(b"AMQP") else whole
    size = struct.unpack_from("!I", frames)[0]
    assert size == len(frames)
    descriptor = frames.index(b"\x00\x53\x10")
    assert struct.unpack_from("!I", frames, descriptor + 8)[0] == 10
    padder, at, out = amqp_padding.Padder(), 0, b""
    for piece in [*pieces, len(raw)]:
        out += padder.feed(raw[at : at + piece])
        at += piece
    assert out == whole
    assert amqp_padding.Padder().feed(whole) == whole


def test_expired_events_are_gone_and_numbers_go_on(tmp_path):
    database = open_database(tmp_path / "events.sqlite", "")
    log = EventLog(database, 1)
    event = Event(device_id="one", body=b"x", annotations={}, system={}, application={})
    log.append([event, event])
    assert log.expire(-1) == 2
    state = log.state(0)
    assert (state.is_empty, state.first_sequence, state.last_sequence) == (True, 2, 1)
    log.append([event])
    [kept] = log.read(0, log.position(0, "offset", -1, inclusive=False), 10)
    assert kept.sequence == 2
    database.close()
    again = open_database(tmp_path / "events.sqlite", "")
    assert EventLog(again, 8).partitions == 1
    assert EventLog(again, 8).read(0, 0, 10) == [kept]
    again.close()
