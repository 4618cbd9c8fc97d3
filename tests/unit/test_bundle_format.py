"""Bundles: whole and by the right gateway for the right headquarters, or refused with a reason."""

import io
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from edge_module import bundle_format, wire
from edge_module.bundle_format import BlobEntry, BundleError, BundleReader, BundleWriter, GatewayKeys, MessageEntry

AT = datetime(2026, 11, 22, 8, 30, tzinfo=UTC)
HQ = PrivateKey(bytes(range(32)))
HQ_SIGNING = SigningKey(bytes(range(1, 33)))
GATEWAY = SigningKey(bytes(range(2, 34)))
KEYS = GatewayKeys(
    gateway_id="gateway-1",
    hq_encrypt_key=bytes(HQ.public_key),
    hq_verify_key=bytes(HQ_SIGNING.verify_key),
    signing_seed=bytes(GATEWAY),
)
SECRET = b"what nobody but headquarters may read"


def written(*entries, keys=KEYS, finish=True):
    file = io.BytesIO()
    writer = BundleWriter(file, keys, ledger_id="ledger-1", created_at=AT)
    for name, data in entries:
        if isinstance(name, int):
            writer.add_message(name, data)
        else:
            writer.add_blob(name, len(data), [data[:1000], data[1000:]])
    if finish:
        writer.finish()
    return file.getvalue()


def verify_key_of(gateway_id):
    if gateway_id != "gateway-1":
        raise BundleError("not enrolled")
    return bytes(GATEWAY.verify_key)


def read(data, *, hq=HQ, known=verify_key_of):
    entries = []
    for entry in BundleReader(io.BytesIO(data), bytes(hq), known).entries():
        match entry:
            case MessageEntry(sequence=sequence, body=body):
                entries.append((sequence, body))
            case BlobEntry(name=name, pieces=pieces):
                entries.append((name, b"".join(pieces)))
    return entries


def test_what_is_written_is_read_in_its_order():
    entries = [("frame/a.jpg", b"x" * 200_000), (1, b"{}"), (2, b""), ("frame/empty.jpg", b""), (3, b"y" * 250_000)]
    assert read(written(*entries)) == entries
    header = BundleReader(io.BytesIO(written()), bytes(HQ), verify_key_of).header
    assert (header.gateway_id, header.ledger_id, header.created_at) == ("gateway-1", "ledger-1", AT)


@settings(deadline=None, max_examples=30)
@given(sizes=st.lists(st.integers(0, 200_000), max_size=6))
def test_sizes_around_a_chunk_make_no_difference(sizes):
    entries = [(n, bytes([n]) * size) for n, size in enumerate(sizes, start=1)]
    assert read(written(*entries)) == entries


def test_pictures_that_nobody_reads_are_skipped():
    data = written(("a.jpg", b"x" * 300_000), (1, b"{}"))
    kinds = [type(e) for e in BundleReader(io.BytesIO(data), bytes(HQ), verify_key_of).entries()]
    assert kinds == [BlobEntry, MessageEntry]


def test_nothing_of_the_content_can_be_read_from_outside():
    assert SECRET not in written((1, SECRET), ("a.jpg", SECRET))


def test_one_for_another_headquarters_is_refused():
    with pytest.raises(BundleError, match="another headquarters"):
        read(written((1, b"{}")), hq=PrivateKey.generate())


def test_one_that_somebody_else_signed_is_refused():
    forged = GatewayKeys(
        gateway_id="gateway-1",
        hq_encrypt_key=KEYS.hq_encrypt_key,
        hq_verify_key=KEYS.hq_verify_key,
        signing_seed=bytes(SigningKey.generate()),
    )
    with pytest.raises(BundleError, match="not signed by gateway-1"):
        read(written((1, b"{}"), keys=forged))


def test_one_of_a_gateway_that_is_not_enrolled_is_refused():
    stranger = GatewayKeys.from_json(KEYS.to_json().replace("gateway-1", "gateway-2"))
    with pytest.raises(BundleError, match="not enrolled"):
        read(written((1, b"{}"), keys=stranger))


def test_a_header_on_other_chunks_is_refused():
    first, second = written((1, b"first")), written((1, b"other"))
    signed = len(written()) - len(written()[-21:])
    assert len(first) == len(second)
    with pytest.raises(BundleError, match="altered"):
        read(first[:signed] + second[signed:])


WHOLE = written((1, b"{}" * 500), ("a.jpg", b"z" * 150_000), (2, b"[]"))


@settings(deadline=None, max_examples=300)
@given(at=st.integers(0, len(WHOLE) - 1) | st.integers(0, 800))
def test_one_that_is_cut_short_anywhere_is_refused(at):
    with pytest.raises(BundleError):
        read(WHOLE[:at])


@settings(deadline=None, max_examples=300)
@given(at=st.integers(0, len(WHOLE) - 1) | st.integers(0, 800), flip=st.integers(1, 255))
def test_one_that_is_altered_anywhere_is_refused(at, flip):
    altered = bytearray(WHOLE)
    altered[at] ^= flip
    with pytest.raises(BundleError):
        read(bytes(altered))


def test_one_that_was_never_finished_is_refused():
    with pytest.raises(BundleError, match="cut short"):
        read(written((1, b"x" * 200_000), finish=False))


def test_one_with_something_after_its_end_is_refused():
    with pytest.raises(BundleError, match="after its end"):
        read(WHOLE + b"x")


@given(noise=st.binary(max_size=200))
def test_noise_is_refused(noise):
    for data in (noise, b"ponya-bundle\x01" + noise):
        with pytest.raises(BundleError):
            read(data)
    with pytest.raises(BundleError):
        bundle_format.read_confirmation(noise, KEYS)
    with pytest.raises(BundleError):
        GatewayKeys.from_json(noise.decode("latin-1"))


def test_a_picture_that_changes_while_it_is_written_makes_no_bundle():
    writer = BundleWriter(io.BytesIO(), KEYS, ledger_id="ledger-1", created_at=AT)
    with pytest.raises(ValueError, match="3 bytes came of the 4"):
        writer.add_blob("a.jpg", 4, [b"abc"])


def test_keys_come_back_as_they_were_written():
    assert GatewayKeys.from_json(KEYS.to_json()) == KEYS
    assert KEYS.hq_key_id == bundle_format.key_id(bytes(HQ.public_key))


CONFIRMED = wire.Confirmed(ledger_id="ledger-1", through=7, highest=9, missing=((8, 8),), parked=(3,))
CONFIRMATION = bundle_format.write_confirmation("gateway-1", CONFIRMED, bytes(HQ_SIGNING), AT)


def test_a_confirmation_comes_back():
    assert bundle_format.read_confirmation(CONFIRMATION, KEYS) == (CONFIRMED, AT)


@given(at=st.integers(0, len(CONFIRMATION) - 1), flip=st.integers(1, 255))
def test_a_confirmation_that_is_altered_or_cut_is_refused(at, flip):
    altered = bytearray(CONFIRMATION)
    altered[at] ^= flip
    for data in (bytes(altered), CONFIRMATION[:at], CONFIRMATION + b" "):
        with pytest.raises(BundleError):
            bundle_format.read_confirmation(data, KEYS)


def test_a_confirmation_for_another_gateway_or_by_somebody_else_is_refused():
    for data, why in (
        (bundle_format.write_confirmation("gateway-2", CONFIRMED, bytes(HQ_SIGNING), AT), "for gateway gateway-2"),
        (
            bundle_format.write_confirmation("gateway-1", CONFIRMED, bytes(GATEWAY), AT),
            "not signed by our headquarters",
        ),
    ):
        with pytest.raises(BundleError, match=why):
            bundle_format.read_confirmation(data, KEYS)
