"""What headquarters records of pictures: which part was judged, who may be in it, how it was drawn, what is stored."""

import dataclasses
from datetime import UTC, datetime

import pytest

from cloud_sync import schema
from cloud_sync.records import Origin, rows_of
from edge_module import wire
from edge_module.domain import Box, Fate, Variant
from edge_module.errors import WireError
from tests.unit.test_wire import media_id, scored

ORIGIN = Origin(gateway_id="gateway-1", ledger_id="ledger", sequence=1, received_at=datetime(2026, 11, 25, tzinfo=UTC))


def row(payload: wire.Payload) -> dict[str, object]:
    """The row after the journey over the wire."""
    decoded = wire.decode(wire.encode(ORIGIN.ledger_id, ORIGIN.sequence, payload).body).payload
    ((_, (only,)),) = rows_of(ORIGIN, decoded)
    return only


def stored(variant: str, blob_sha256: str) -> wire.MediaStored:
    return wire.MediaStored(
        media_id=media_id(1), variant=variant, blob_name=f"{variant}/a.jpg", blob_sha256=blob_sha256, size_bytes=10
    )


def test_a_record_keeps_the_box_that_was_judged_and_that_it_was_withheld() -> None:
    record = scored(1, Fate.REVIEW)
    assert record.scores is not None
    scores = dataclasses.replace(record.scores, box=Box(left=0.1, top=0.2, right=0.3, bottom=0.4))
    of_part = row(wire.Records(records=(dataclasses.replace(record, scores=scores, withheld=True),)))
    assert (of_part["box"], of_part["withheld"], of_part["audit_probability"]) == ([0.1, 0.2, 0.3, 0.4], True, None)


def test_a_discard_keeps_the_probability_with_which_it_was_drawn() -> None:
    drawn = row(wire.Records(records=(dataclasses.replace(scored(2, Fate.BLANK), audit_probability=0.04),)))
    assert (drawn["audit_probability"], drawn["withheld"], drawn["box"]) == (0.04, False, None)
    assert row(wire.Records(records=(scored(2, Fate.BLANK),)))["audit_probability"] is None


@pytest.mark.parametrize("variant", Variant)
def test_every_variant_is_recorded_under_its_name(variant: Variant) -> None:
    assert row(stored(variant, media_id(1)))["variant"] == variant
    assert schema.media.c.variant.type.length >= len(variant)  # type: ignore[attr-defined]


def test_an_original_with_other_bytes_than_its_name_says_is_none() -> None:
    with pytest.raises(WireError, match="an original's is its media_id"):
        row(stored(Variant.ORIGINAL, media_id(2)))
    assert row(stored(Variant.FRAME, media_id(2)))["blob_sha256"] == media_id(2)
