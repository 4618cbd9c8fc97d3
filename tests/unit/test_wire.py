"""The contract: what is said is understood, for ever; what is hostile is a WireError and nothing else."""

import ast
import base64
import contextlib
import dataclasses
import hashlib
import json
import zlib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_module import columns, wire
from edge_module.domain import (
    Belonging,
    BelongingSource,
    Box,
    CaptureTime,
    CardReceipt,
    Exif,
    Fate,
    NamedFile,
    OffsetSource,
    ReadingState,
    Record,
    Scores,
)
from edge_module.errors import WireError

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden/wire/v1"
DOC = (ROOT / "docs/wire.md").read_text()


def media_id(n: int) -> str:
    return hashlib.sha256(str(n).encode()).hexdigest()


def scored(n: int, fate: Fate) -> Record:
    return Record(
        card_id="card-7f3a",
        reading_id="reading-1",
        path=f"DCIM/100RECNX/IMG_{n:04d}.JPG",
        media_id=media_id(n),
        model_id="lite0-2026.11",
        event_id=f"event-{n // 3}",
        fate=fate,
        scores=Scores(
            probabilities={"red_panda": 0.913, "other": 0.05, "blank": 0.03, "human": 0.007}, night=True, view="motion"
        ),
        exif=Exif(
            captured=CaptureTime(
                exif_time=f"2026:11:01 05:{n % 60:02d}:09",
                local=datetime(2026, 11, 1, 5, n % 60, 9),  # noqa: DTZ001 - a camera's local time
                utc_offset_min=345,
                offset_source=OffsetSource.SETTING,
            ),
            camera_make="RECONYX",
            camera_model="HYPERFIRE 2",
            camera_serial="P800-0042",
        ),
        size_bytes=1_234_567 + n,
    )


def withheld(n: int) -> Record:
    """A picture with somebody in it, perhaps, judged by a part of the frame."""
    record = scored(n, Fate.REVIEW)
    assert record.scores
    box = Box(left=0.125, top=0.25, right=0.625, bottom=0.75)
    return dataclasses.replace(record, withheld=True, scores=dataclasses.replace(record.scores, box=box))


BARE = Record(
    card_id="card-7f3a",
    reading_id="reading-1",
    path="notes\\xff/रातो.txt",
    media_id="",
    model_id="lite0-2026.11",
    fate=Fate.IGNORED,
    reason="no picture",
    size_bytes=0,
)
AT = datetime(2026, 11, 22, 8, 30, 0, 250_000, tzinfo=timezone(timedelta(minutes=345)))
RECEIPT = CardReceipt(
    card_id="card-7f3a",
    reading_id="reading-1",
    state=ReadingState.INTERRUPTED,
    counts=dict.fromkeys(Fate, 0) | {Fate.PANDA: 1, Fate.BLANK: 2, Fate.UNREADABLE: 1},
    pending=3,
    unconfirmed=4,
    originals_owed=1,
    destroyed_by_wiping=3,
    blockers=("the reading was interrupted", "1 original is not copied yet"),
    named=(
        NamedFile(path="DCIM/IMG_0009.JPG", fate=Fate.UNREADABLE, reason="cut short"),
        NamedFile(path="DCIM/IMG_0010.JPG", fate=None, reason="pending"),
    ),
    named_omitted=2,
    cameras={"P800-0042": 4},
)
# By kind; what follows a point tells bodies of one kind apart.
SAID: dict[str, wire.Payload] = {
    "record": wire.Records(records=(scored(1, Fate.PANDA),)),
    "records": wire.Records(records=(scored(2, Fate.BLANK), scored(3, Fate.OTHER), BARE)),
    "media_stored": wire.MediaStored(
        media_id=media_id(1),
        variant="frame",
        blob_name=f"frame/{media_id(1)}-0123456789abcdef.jpg",
        blob_sha256=media_id(99),
        size_bytes=312_004,
    ),
    "receipt": wire.Receipt(receipt=RECEIPT),
    "receipt.assigned": wire.Receipt(
        receipt=dataclasses.replace(
            RECEIPT, belonging=Belonging(deployment_key="0123456789abcdef", source=BelongingSource.SERIAL)
        )
    ),
    "receipt.unassigned": wire.Receipt(
        receipt=dataclasses.replace(RECEIPT, belonging=Belonging(why="pictures of 2 cameras lie on it"))
    ),
    "record.withheld": wire.Records(records=(withheld(4),)),
    "records.withheld": wire.Records(
        records=(scored(5, Fate.BLANK), dataclasses.replace(scored(6, Fate.HUMAN), withheld=True))
    ),
    "record.audited": wire.Records(records=(dataclasses.replace(scored(7, Fate.REVIEW), audit_probability=0.25),)),
    "records.audited": wire.Records(
        records=(scored(8, Fate.BLANK), dataclasses.replace(scored(9, Fate.OTHER), audit_probability=0.04))
    ),
    "alert": wire.Alert(code="card_interrupted", text="कार्ड went away", at=AT),
    "status": wire.Status(at=AT, measures={"disk_free_bytes": 12_000_000_000, "load": 0.25, "model_id": "lite0"}),
    "tombstone": wire.Tombstone(buried_kind="media_stored", reason="refused for good", media_ids=(media_id(1),)),
}


LATER = (("withheld", False), ("box", None), ("audit_probability", None), ("belonging", Belonging()))
"""Fields that came after the first golden files, with what their absence means."""


def plain(value: object) -> object:
    """A value as JSON can have it, with its type, so that a file can say what a body means."""
    match value:
        case datetime():
            return value.isoformat()
        case dict():
            return {str(k): plain(v) for k, v in value.items()}
        case tuple():
            return [plain(v) for v in value]
        case _ if dataclasses.is_dataclass(value):
            fields = {
                f.name: plain(getattr(value, f.name))
                for f in dataclasses.fields(value)
                if (f.name, getattr(value, f.name)) not in LATER
            }
            return {"": type(value).__name__, **fields}
    return value


@pytest.mark.parametrize("kind", SAID)
def test_a_body_of_version_1_means_the_same_for_ever(kind):
    meaning = json.loads((GOLDEN / f"{kind}.meaning.json").read_text())
    assert json.loads(json.dumps(plain(wire.decode((GOLDEN / f"{kind}.body").read_bytes())))) == meaning


@pytest.mark.parametrize("kind", SAID)
def test_the_same_values_give_the_same_bytes(kind):
    encoded = wire.encode("ledger-0001", 42, SAID[kind])
    assert encoded.kind == kind.split(".")[0]
    if encoded.content_type == wire.JSON_TYPE:
        assert encoded.body == (GOLDEN / f"{kind}.body").read_bytes()
    else:  # zlib's output may differ between versions of zlib; what it holds may not
        assert zlib.decompress(encoded.body) == zlib.decompress((GOLDEN / f"{kind}.body").read_bytes())


@pytest.mark.parametrize("kind", SAID)
def test_what_is_said_is_understood(kind):
    assert wire.decode(wire.encode("ledger", 7, SAID[kind]).body) == wire.Message(
        version=1, ledger_id="ledger", sequence=7, payload=SAID[kind]
    )


@pytest.mark.parametrize("kind", SAID)
def test_fields_from_the_future_pass(kind):
    body = readable(kind)
    body |= {"new": {"deep": [1]}}
    for inner in ("record", "receipt"):
        if inner in body:
            body[inner]["newer"] = "x"
    assert wire.decode(json.dumps(body).encode()).payload == SAID[kind]


def test_a_batch_of_500_takes_at_most_60_bytes_a_frame():
    batch = wire.Records(records=tuple(scored(n, Fate.BLANK) for n in range(500)))
    assert len(wire.encode("ledger", 1, batch).body) <= 60 * 500


def readable(kind):
    body = wire.encode("ledger", 7, SAID[kind]).body
    return json.loads(body if body.startswith(b"{") else zlib.decompress(body))


# --- any values ---------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
media_ids = st.binary(min_size=32, max_size=32).map(bytes.hex)
instants = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(minutes=345))]))
counts = st.integers(0, 2**53 - 1)


@st.composite
def probabilities(draw):
    panda = draw(st.integers(0, 1000))
    return {"red_panda": panda / 1000, draw(texts.filter(lambda t: t != "red_panda")): (1000 - panda) / 1000}


edges = st.lists(st.integers(0, 1000), min_size=2, max_size=2, unique=True).map(sorted)
boxes = st.builds(
    lambda x, y: Box(left=x[0] / 1000, top=y[0] / 1000, right=x[1] / 1000, bottom=y[1] / 1000), edges, edges
)
scores = st.builds(Scores, probabilities=probabilities(), night=st.booleans(), view=texts)
boxed = st.builds(Scores, probabilities=probabilities(), night=st.booleans(), view=texts, box=st.none() | boxes)


@st.composite
def captures(draw):
    local = draw(st.datetimes(min_value=datetime(1000, 1, 1))).replace(microsecond=0)  # noqa: DTZ001
    return CaptureTime(
        exif_time=local.strftime("%Y:%m:%d %H:%M:%S"),
        local=local,
        utc_offset_min=draw(st.integers(-840, 840)),
        offset_source=draw(st.sampled_from(OffsetSource)),
    )


optional_texts = st.none() | texts.filter(bool)
exifs = st.builds(
    Exif,
    captured=st.none() | captures(),
    camera_make=optional_texts,
    camera_model=optional_texts,
    camera_serial=optional_texts,
)


def any_record(fates, scores_):
    return st.builds(
        Record,
        card_id=st.just("card"),
        reading_id=st.just("reading"),
        model_id=st.just("model"),
        path=texts,
        media_id=media_ids | st.just(""),
        event_id=texts,
        fate=fates,
        reason=texts,
        scores=scores_,
        exif=exifs,
        size_bytes=counts,
        withheld=st.booleans(),
        audit_probability=st.none() | st.floats(min_value=0, max_value=1, exclude_min=True),
    )


def same_labels(records):
    """A batch is of one model, so of one set of labels."""
    return len({tuple(r.scores.probabilities) for r in records if r.scores}) <= 1


batches = st.lists(any_record(st.sampled_from(Fate), st.none() | st.shared(scores)), min_size=1, max_size=4)
payloads = st.one_of(
    st.builds(wire.Records, records=st.tuples(any_record(st.sampled_from([Fate.PANDA, Fate.REVIEW]), boxed))),
    st.builds(wire.Records, records=batches.filter(same_labels).map(tuple)),
    st.builds(
        wire.MediaStored, media_id=media_ids, variant=texts, blob_name=texts, blob_sha256=media_ids, size_bytes=counts
    ),
    st.builds(wire.Alert, code=texts, text=texts, at=instants),
    st.builds(
        wire.Status,
        at=instants,
        measures=st.dictionaries(
            texts, texts | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
        ),
    ),
    st.builds(wire.Tombstone, buried_kind=texts, reason=texts, media_ids=st.lists(media_ids).map(tuple)),
)


@settings(deadline=None)
@given(payload=payloads, ledger_id=texts, sequence=counts)
def test_anything_that_can_be_said_is_understood(payload, ledger_id, sequence):
    encoded = wire.encode(ledger_id, sequence, payload)
    assert wire.decode(encoded.body) == wire.Message(version=1, ledger_id=ledger_id, sequence=sequence, payload=payload)
    assert wire.encode(ledger_id, sequence, payload) == encoded


# --- hostile input ------------------------------------------------------------------------------------------------


def understood_or_refused(body):
    try:
        wire.decode(body)
    except WireError as exc:
        reason = str(exc)
    else:
        return
    reason.encode()  # fit for a log and a database
    assert "\0" not in reason


@given(st.binary(max_size=300))
def test_noise_is_refused(body):
    understood_or_refused(body)


@given(st.binary(max_size=300).map(zlib.compress))
def test_compressed_noise_is_refused(body):
    understood_or_refused(body)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["\ud800", "\0", "red_panda", "2026:01:01 00:00:00", 10**400, 2**63, -1, 1e308]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=600, deadline=None)
@given(data=st.data(), kind=st.sampled_from(sorted(SAID)), wrong=anything)
def test_a_wrong_value_anywhere_is_refused_by_name_or_harmless(data, kind, wrong):
    body = readable(kind)
    at = body
    for _ in range(4):
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if isinstance(at[key], dict | list) and at[key] and data.draw(st.booleans()):
            at = at[key]
            continue
        at[key] = wrong
        break
    understood_or_refused(json.dumps(body).encode())


@settings(deadline=None)
@given(data=st.data(), kind=st.sampled_from(sorted(SAID)))
def test_a_missing_field_is_refused_or_was_optional(data, kind):
    body = readable(kind)
    inner = body.get("record") or body.get("receipt") or body
    del inner[data.draw(st.sampled_from(sorted(inner)))]
    understood_or_refused(json.dumps(body).encode())


def changed(kind, **changes):
    body = readable(kind)
    inner = body.get("record") or body.get("receipt") or body
    inner.update(changes)
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"{" * 100_000,
        b'{"v":' + b"[" * 100_000,
        b'{"v":' + b"9" * 100_000 + b"}",
        b'{"v":1e999,"kind":"alert"}',
        b'{"v":true,"kind":"alert"}',
        b'{"v":2,"kind":"alert"}',
        b'{"v":1,"kind":"poem"}',
        b'{"v":1,"kind":["alert"]}',
        zlib.compress(b"\0" * 64 * 2**20),
        zlib.compress(b'{"v":1,"kind":"' + b"a" * 5 * 2**20 + b'"}'),
        zlib.compress(zlib.compress(b"{}")),
        zlib.compress(b"{}")[:-3],
        wire.encode("ledger", 1, SAID["records"]).body[:-1],
        changed("alert", text="\ud800"),
        changed("alert", code="a\0b"),
        changed("alert", at="yesterday"),
        changed("alert", at="2026-01-01T00:00:00"),
        changed("alert", text="x" * 100_000),
        changed("status", measures={"a": float("nan")}),
        changed("status", measures={"a": float("inf")}),
        changed("status", measures={"a": 10**400}),
        changed("status", measures={"\ud800": 1}),
        changed("status", measures={"a": {}}),
        changed("record", size_bytes=-1),
        changed("record", size_bytes=2**53),
        changed("record", size_bytes=1.5),
        changed("record", size_bytes=True),
        changed("record", fate="tiger"),
        changed("record", media_id="../../etc/passwd"),
        changed("record", media_id="AB" * 32),
        changed("record", probabilities={"red_panda": 7}),
        changed("record", probabilities={"blank": 1}),
        changed("record", exif_time="2026:13:45 00:00:00"),
        changed("record", utc_offset_min=10_000),
        changed("record", offset_source="a guess"),
        changed("records", path=["a"] * 501, has_media=[0] * 501, media_id=""),
        changed("records", path=[]),
        changed("records", fate=["blank"]),
        changed("records", media_id="!!!"),
        changed("records", media_id=base64.b64encode(b"x" * 31).decode()),
        changed("records", thousandths=[[1]]),
        changed("records", night=[2**60, 0, None]),
        changed("receipt", panda="1"),
        changed("receipt", named=[1]),
        changed("receipt", cameras={"a": "many"}),
        changed("receipt", cameras={"a": float("nan")}),
        changed("receipt", blockers="none"),
        changed("receipt", blockers=["\ud800"]),
        changed("receipt", state="done"),
        changed("tombstone", media_ids=["x"]),
        changed("media_stored", blob_sha256=7),
        changed("media_stored", ledger_id=None),
        changed("media_stored", sequence=-1),
        changed("media_stored", sequence="1"),
    ],
)
def test_hostile_bodies_are_refused(body):
    with pytest.raises(WireError) as caught:
        wire.decode(body)
    assert len(str(caught.value)) < 1000


@given(value=anything)
def test_noise_in_the_twin_is_refused(value):
    for noise in (value, wire.Confirmed(ledger_id="l", through=1, highest=2).to_twin() | {"missing": value}):
        with contextlib.suppress(WireError):
            wire.Confirmed.from_twin(noise)


def test_a_request_for_a_credential_is_no_message_for_the_record():
    assert json.loads(wire.SAS_REQUEST.body) == {"v": 1, "kind": wire.SAS_REQUEST.kind}
    assert wire.SAS_REQUEST.body.decode() in section(wire.SAS_REQUEST.kind)


def test_a_confirmation_is_read_as_it_was_written():
    said = wire.Confirmed(ledger_id="l", through=3, highest=9, missing=((4, 5), (7, 7)), parked=(2,))
    assert wire.Confirmed.from_twin(json.loads(json.dumps(said.to_twin()))) == said


# --- the documents ------------------------------------------------------------------------------------------------


def section(kind):
    after = DOC.split(f"\n### `{kind}`\n", 1)
    assert len(after) == 2, f"docs/wire.md has no section on {kind}"
    return after[1].split("\n## ", 1)[0].split("\n### ", 1)[0]


@pytest.mark.parametrize("kind", SAID)
def test_every_field_of_a_body_is_documented(kind):
    body = readable(kind)
    kind = body["kind"]
    common = {"v", "kind", "ledger_id", "sequence"}
    inner = body.get(kind, {}) if isinstance(body.get(kind), dict) else {}
    text = section(kind)
    missing = [name for name in (set(body) | set(inner)) - common - {kind} if f"`{name}`" not in text]
    assert missing == []
    assert all(f"| `{name}` |" in DOC for name in common)


@pytest.mark.parametrize(
    "of", [wire.MediaStored, wire.Alert, wire.Status, wire.Tombstone, wire.Confirmed, CardReceipt, Record]
)
def test_every_field_of_the_code_is_documented(of):
    derived = {"scores", "exif", "counts", "belonging"}
    assert [f.name for f in dataclasses.fields(of) if f.name not in derived and f"`{f.name}`" not in DOC] == []


def test_every_value_that_is_limited_is_documented():
    for words in (Fate, ReadingState, OffsetSource):
        assert [w for w in words if f"`{w.value}`" not in DOC] == []
    assert f"up to {columns.BATCH_RECORDS_MAX} records" in DOC.lower()


def calls(name):
    for file in sorted((ROOT / "edge_module").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == name:
                yield {k.arg: k.value for k in node.keywords}


def test_every_alert_of_a_gateway_is_documented():
    codes = {c["code"].value for c in calls("Alert") if isinstance(c.get("code"), ast.Constant)}
    assert codes
    assert [code for code in sorted(codes) if f"| `{code}` |" not in section("alert")] == []


def test_every_measure_is_documented():
    tree = ast.parse((ROOT / "edge_module/health.py").read_text())
    returned = next(n for n in ast.walk(tree) if isinstance(n, ast.Return) and isinstance(n.value, ast.Dict))
    names = {key.value for key in returned.value.keys}
    assert [name for name in sorted(names) if f"| `{name}` |" not in section("status")] == []


# --- DTDL ---------------------------------------------------------------------------------------------------------

DTDL = json.loads((ROOT / "docs/wire.dtdl.json").read_text())


def test_the_dtdl_interface_is_one():
    """The rules of DTDL version 2 that an interface like ours can break."""
    assert DTDL["@context"] == "dtmi:dtdl:context;2"
    assert DTDL["@type"] == "Interface"
    assert DTDL["@id"].startswith("dtmi:")
    assert DTDL["@id"].endswith(f";{wire.VERSION}")
    names = [c["name"] for c in DTDL["contents"]]
    assert len(names) == len(set(names))
    primitives = {"boolean", "date", "dateTime", "double", "duration", "float", "integer", "long", "string", "time"}

    def check(schema, depth=0):
        assert depth <= 5
        if isinstance(schema, str):
            assert schema in primitives
            return
        match schema["@type"]:
            case "Object":
                fields = [f["name"] for f in schema["fields"]]
                assert len(fields) == len(set(fields))
                for field in schema["fields"]:
                    assert field["name"].isidentifier()
                    check(field["schema"], depth + 1)
            case "Map":
                assert schema["mapKey"]["schema"] == "string"
                check(schema["mapValue"]["schema"], depth + 1)
            case "Array":
                check(schema["elementSchema"], depth + 1)
            case "Enum":
                assert schema["valueSchema"] == "string"
                assert len({v["name"] for v in schema["enumValues"]}) == len(schema["enumValues"])
            case other:
                raise AssertionError(other)

    for content in DTDL["contents"]:
        assert content["name"].isidentifier()
        assert content["@type"] in {"Telemetry", "Property", "Command"}
        if content["@type"] == "Command":
            for part in ("request", "response"):
                if part in content:
                    check(content[part]["schema"])
        else:
            check(content["schema"])


def names_of(schema):
    return {f["name"] for f in schema["fields"]}


@pytest.mark.parametrize("kind", sorted({name.split(".")[0] for name in SAID} - {"records"}))
def test_dtdl_has_every_field_that_iot_hub_can_read(kind):
    [telemetry] = [c for c in DTDL["contents"] if c["name"] == kind and c["@type"] == "Telemetry"]
    bodies = [readable(name) for name in SAID if name.split(".")[0] == kind]
    inner = {key for body in bodies for key in (body[kind] if isinstance(body.get(kind), dict) else body)}
    assert inner - {"v", "kind", "ledger_id", "sequence"} == names_of(telemetry["schema"])


def test_dtdl_has_what_headquarters_says():
    [confirmed] = [c for c in DTDL["contents"] if c["name"] == "confirmed"]
    assert confirmed["writable"] is True
    # DTDL 2 allows no arrays in a property: the two lists stand in docs/wire.md alone.
    assert {f.name for f in dataclasses.fields(wire.Confirmed)} - {"missing", "parked"} == names_of(confirmed["schema"])
