"""The rules in ledger.py, one by one, and what makes a card safe to wipe."""

import errno
import threading
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from edge_module import wire
from edge_module.database import open_or_set_aside
from edge_module.domain import Card, CardReceipt, Fate, Media, ReadingState, Record
from edge_module.errors import LedgerError
from edge_module.ledger import Ledger
from edge_module.listing import Listed
from edge_module.originals import Originals
from edge_module.settling import Finding, Known
from tests.ledgers import CARD, POLICY, TestClock, finding, media, open_ledger, read_card, settle, sha256

CARD_FILES = {
    "a.jpg": ("a red panda", Fate.PANDA),
    "b.jpg": ("a deer", Fate.OTHER),
    "c.jpg": ("leaves", Fate.BLANK),
    "d.jpg": ("the deer's twin", Fate.OTHER),
}
OTHER_CARD = Card(card_id="folder-ba9876543210", source="folder")


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: TestClock) -> Iterator[Ledger]:
    with open_ledger(tmp_path, clock) as ledger:
        yield ledger


def send_everything(ledger: Ledger) -> list[wire.Message]:
    """What the courier does, with a link that never fails."""
    while ledger.outbox.pack(flush=True):
        pass
    messages = []
    while leased := ledger.outbox.lease(limit=100, lease_s=60):
        for owed in leased:
            messages.append(wire.decode(owed.body))
            ledger.outbox.sent(owed.sequence)
    return messages


def confirm(ledger: Ledger, through: int, **more: object) -> None:
    confirmed = {"ledger_id": ledger.ledger_id, "through": through, "highest": through, **more}
    ledger.confirm(wire.Confirmed.from_twin(confirmed), resend_older_than_s=0)


def owed_records(ledger: Ledger) -> list[tuple[str, Fate]]:
    return sorted(
        (record.path, record.fate)
        for message in send_everything(ledger)
        if isinstance(message.payload, wire.Records)
        for record in message.payload.records
    )


def receipts_in(messages: list[wire.Message]) -> list[CardReceipt]:
    return [message.payload.receipt for message in messages if isinstance(message.payload, wire.Receipt)]


# --- how a file and a reading move ---


def test_a_listed_file_is_pending_until_it_is_settled(ledger: Ledger) -> None:
    reading = ledger.begin(CARD)
    files = [media("b.jpg"), media("a.jpg")]
    ledger.list_files(reading, (Listed(media=file) for file in files))
    assert [file.path for file in ledger.pending(reading)] == [b"a.jpg", b"b.jpg"], "in the order of their paths"
    assert ledger.receipt(reading.reading_id).pending == 2
    ledger.settle(reading, [finding(reading, files[1], "a")])
    assert [file.path for file in ledger.pending(reading)] == [b"b.jpg"]
    assert ledger.counts(reading) == (2, 1)


def test_a_reading_with_pending_files_is_interrupted_and_goes_on(tmp_path: Path, clock: TestClock) -> None:
    with open_ledger(tmp_path, clock) as ledger:
        reading = ledger.begin(CARD)
        listed = [media(path) for path in sorted(CARD_FILES)]
        ledger.list_files(reading, (Listed(media=file) for file in listed))
        settle(ledger, reading, listed[:2], CARD_FILES)
        receipt = ledger.end(reading)
        assert (receipt.state, receipt.pending, receipt.seen) == (ReadingState.INTERRUPTED, 2, 4)
        assert not receipt.safe_to_wipe
    with open_ledger(tmp_path, clock) as ledger:
        again = ledger.begin(CARD)
        assert again.reading_id == reading.reading_id
        ledger.list_files(again, (Listed(media=file) for file in listed))
        assert [file.name for file in ledger.pending(again)] == ["c.jpg", "d.jpg"]
        assert [record.path for record in ledger.settled(again)] == ["a.jpg", "b.jpg"]
        settle(ledger, again, listed[2:], CARD_FILES)
        receipt = ledger.end(again)
    assert (receipt.state, receipt.pending, receipt.seen) == (ReadingState.COMPLETE, 0, 4)


def test_a_reason_interrupts_a_reading_even_when_nothing_is_pending(ledger: Ledger) -> None:
    receipt = ledger.end(read_card(ledger, CARD_FILES), why="the card was taken out")
    assert receipt.state is ReadingState.INTERRUPTED
    assert "the reading is not complete: the card was taken out" in receipt.blockers


def test_a_card_that_comes_and_goes_without_news_owes_one_receipt(ledger: Ledger) -> None:
    listed = [media(path) for path in sorted(CARD_FILES)]

    def taken_out_after(count: int) -> None:
        reading = ledger.begin(CARD)
        ledger.list_files(reading, (Listed(media=file) for file in listed))
        settle(ledger, reading, list(ledger.pending(reading))[:count], CARD_FILES)
        ledger.end(reading, why="the card was taken out")

    for _ in range(50):
        taken_out_after(0)
    taken_out_after(2)
    taken_out_after(0)
    assert [receipt.pending for receipt in receipts_in(send_everything(ledger))] == [4, 2]


def test_a_complete_reading_is_never_reopened(ledger: Ledger) -> None:
    first = read_card(ledger, CARD_FILES)
    ledger.end(first)
    assert ledger.begin(CARD).reading_id != first.reading_id


def test_readings_of_two_cards_do_not_mix(ledger: Ledger) -> None:
    first = ledger.begin(CARD)
    ledger.list_files(first, [Listed(media=media("a.jpg"))])
    second = ledger.begin(OTHER_CARD)
    ledger.list_files(second, [Listed(media=media("a.jpg"))])
    ledger.settle(second, [finding(second, media("a.jpg"), "a deer")])
    assert [file.name for file in ledger.pending(first)] == ["a.jpg"]


def test_what_is_settled_by_its_name_is_named(ledger: Ledger) -> None:
    reading = ledger.begin(CARD)
    ledger.list_files(reading, [Listed(media=media("notes.txt"), fate=Fate.IGNORED, reason="no picture")])
    receipt = ledger.end(reading)
    assert receipt.counts[Fate.IGNORED] == receipt.seen == 1
    ((name, reason),) = [(named.path, named.reason) for named in receipt.named]
    assert (name, reason) == ("notes.txt", "no picture")


def test_a_listing_that_finds_a_file_changed_has_it_read_again(ledger: Ledger) -> None:
    reading = read_card(ledger, CARD_FILES)
    ledger.end(reading, why="stopped")
    again = ledger.begin(CARD)
    listed = [media(path, size_bytes=len(CARD_FILES[path][0])) for path in sorted(CARD_FILES)]
    listed[1] = media("b.jpg", size_bytes=7, mtime_ns=2)
    ledger.list_files(again, (Listed(media=file) for file in listed))
    assert list(ledger.pending(again)) == [listed[1]]


def test_a_file_that_went_before_it_was_settled_is_forgotten(ledger: Ledger) -> None:
    reading = ledger.begin(CARD)
    ledger.list_files(reading, [Listed(media=media("a.jpg")), Listed(media=media("b.jpg"))])
    again = ledger.begin(CARD)
    ledger.list_files(again, [Listed(media=media("a.jpg"))])
    assert [file.name for file in ledger.pending(again)] == ["a.jpg"]


# --- rules ---


def test_rule_1_findings_are_settled_all_or_none(tmp_path: Path, clock: TestClock) -> None:
    class PowerCut(Exception):  # noqa: N818
        pass

    def cut(step: str) -> None:
        if step == "settle:written":
            raise PowerCut

    with open_ledger(tmp_path, clock, on_step=cut) as ledger:
        reading = ledger.begin(CARD)
        listed = [media(path) for path in sorted(CARD_FILES)]
        ledger.list_files(reading, (Listed(media=file) for file in listed))
        with pytest.raises(PowerCut):
            settle(ledger, reading, listed, CARD_FILES)
        assert len(list(ledger.pending(reading))) == 4
        assert ledger.outbox.pack(flush=True) == 0


def test_rule_2_the_same_bytes_elsewhere_are_a_duplicate(ledger: Ledger) -> None:
    files = {"a.jpg": ("a red panda", Fate.PANDA), "b.jpg": ("a red panda", Fate.PANDA)}
    receipt = ledger.end(read_card(ledger, files))
    assert (receipt.counts[Fate.PANDA], receipt.counts[Fate.DUPLICATE]) == (1, 1)
    read_card(ledger, {"other card.jpg": ("a red panda", Fate.PANDA)}, card=OTHER_CARD)
    assert owed_records(ledger) == [("a.jpg", "panda"), ("b.jpg", "duplicate"), ("other card.jpg", "duplicate")]


def test_rule_2_the_same_file_read_again_keeps_its_first_fate_and_owes_nothing(ledger: Ledger) -> None:
    first = read_card(ledger, CARD_FILES)
    records = list(ledger.settled(first))
    receipt = ledger.end(first)
    assert len(owed_records(ledger)) == 4
    # Another model, other settings: what the file was judged to be stands.
    again = read_card(ledger, {path: (content, Fate.REVIEW) for path, (content, _) in CARD_FILES.items()})
    assert list(ledger.settled(again)) == records
    assert ledger.end(again).counts == receipt.counts
    assert owed_records(ledger) == []


def test_rule_3_empty_files_are_unreadable_and_never_duplicates(ledger: Ledger) -> None:
    reading = read_card(ledger, {"a.jpg": ("", Fate.UNREADABLE), "b.jpg": ("", Fate.UNREADABLE)})
    assert ledger.end(reading).counts[Fate.UNREADABLE] == 2


def test_a_file_that_cannot_be_read_is_counted_for_each_attempt(ledger: Ledger) -> None:
    reading = ledger.begin(CARD)
    ledger.list_files(reading, [Listed(media=media("a.jpg"))])
    assert [ledger.failed(reading, media("a.jpg")) for _ in range(3)] == [1, 2, 3]


# --- receipts: what makes a card safe to wipe ---


def test_safe_to_wipe_only_when_every_verdict_is_confirmed_and_every_original_kept(ledger: Ledger) -> None:
    reading = read_card(ledger, CARD_FILES, kept=False)
    ledger.end(reading)
    sent = send_everything(ledger)
    assert {len(m.payload.records) for m in sent if isinstance(m.payload, wire.Records)} == {1, 3}
    assert ledger.receipt(reading.reading_id).unconfirmed == 4, "sent is not confirmed"
    confirm(ledger, len(sent))
    receipt = ledger.receipt(reading.reading_id)
    assert (receipt.unconfirmed, receipt.originals_owed) == (0, 1)
    assert receipt.blockers == ("1 originals are to be kept and are not on this gateway yet",)
    again = read_card(ledger, CARD_FILES, kept=True)
    receipt = ledger.end(again)
    assert (receipt.originals_owed, receipt.blockers, receipt.safe_to_wipe) == (0, (), True)
    assert receipt.destroyed_by_wiping == 3


def test_headquarters_is_told_once_that_a_card_became_safe(ledger: Ledger) -> None:
    ledger.end(read_card(ledger, CARD_FILES))
    sent = send_everything(ledger)
    assert [receipt.safe_to_wipe for receipt in receipts_in(sent)] == [False]
    confirm(ledger, len(sent))
    confirm(ledger, len(sent))
    assert [receipt.safe_to_wipe for receipt in receipts_in(send_everything(ledger))] == [True]


def test_a_gap_keeps_its_files_from_being_safe_and_is_sent_again(ledger: Ledger) -> None:
    reading = read_card(ledger, CARD_FILES)
    ledger.end(reading)
    sent = {message.sequence: message for message in send_everything(ledger)}
    (gap,) = [
        n for n, m in sent.items() if isinstance(m.payload, wire.Records) and m.payload.records[0].fate is Fate.PANDA
    ]
    confirm(ledger, gap - 1, highest=len(sent), missing=[[gap, gap]])
    assert ledger.receipt(reading.reading_id).unconfirmed == 1
    assert [message.sequence for message in send_everything(ledger)] == [gap]
    confirm(ledger, len(sent))
    assert ledger.receipt(reading.reading_id).safe_to_wipe


def test_a_duplicate_shares_its_twins_confirmation(ledger: Ledger) -> None:
    ledger.end(read_card(ledger, {"a.jpg": ("a red panda", Fate.PANDA)}))
    twin = read_card(ledger, {"b.jpg": ("a red panda", Fate.PANDA)}, card=OTHER_CARD)
    ledger.end(twin)
    sent = send_everything(ledger)
    (of_twin,) = [
        m.sequence for m in sent if isinstance(m.payload, wire.Records) and m.payload.records[0].path == "b.jpg"
    ]
    ledger.outbox.ack([(of_twin, of_twin)])
    assert ledger.receipt(twin.reading_id).unconfirmed == 1, "its own record is there, the picture's verdict is not"
    confirm(ledger, len(sent))
    assert ledger.receipt(twin.reading_id).safe_to_wipe


@pytest.mark.parametrize("how", ["buried", "parked"])
def test_what_headquarters_does_not_understand_keeps_its_card(ledger: Ledger, how: str) -> None:
    reading = read_card(ledger, CARD_FILES)
    ledger.end(reading)
    while ledger.outbox.pack(flush=True):
        pass
    (batch,) = [row[0] for row in ledger.outbox.rows() if row[1] == "records"]
    if how == "buried":
        ledger.outbox.bury(batch, reason="too large")
    sent = send_everything(ledger)
    confirm(ledger, len(sent), parked=[batch] if how == "parked" else [])
    receipt = ledger.receipt(reading.reading_id)
    assert receipt.unconfirmed == 3
    assert not receipt.safe_to_wipe
    assert ledger.outbox.backlog().messages == 0, "and yet nothing is sent for ever"


def test_a_confirmation_for_another_ledger_is_ignored(ledger: Ledger) -> None:
    ledger.end(read_card(ledger, CARD_FILES))
    sent = send_everything(ledger)
    confirm(ledger, len(sent), ledger_id="another")
    assert ledger.outbox.backlog().messages == len(sent)


def test_a_ledger_restored_from_a_backup_takes_another_identity_and_sends_again(ledger: Ledger) -> None:
    reading = read_card(ledger, CARD_FILES)
    ledger.end(reading)
    before, sent = ledger.ledger_id, send_everything(ledger)
    confirm(ledger, len(sent) + 5)
    assert ledger.ledger_id != before
    again = send_everything(ledger)
    assert {message.ledger_id for message in again} == {ledger.ledger_id}
    assert sorted(message.sequence for message in again) == list(range(1, len(sent) + 1))
    assert ledger.receipt(reading.reading_id).unconfirmed == 4
    confirm(ledger, len(again))
    assert ledger.receipt(reading.reading_id).safe_to_wipe


def test_a_folder_that_could_not_be_read_keeps_the_card(ledger: Ledger) -> None:
    reading = ledger.begin(CARD)
    ledger.list_files(reading, [Listed(media=media("DCIM/"), fate=Fate.UNREADABLE, reason="folder cannot be read")])
    ledger.end(reading)
    confirm(ledger, len(send_everything(ledger)))
    (blocker,) = ledger.receipt(reading.reading_id).blockers
    assert blocker == "1 folders could not be read: nobody knows what is in them"


def test_a_receipt_fits_into_a_message_whatever_the_files_are_called(ledger: Ledger) -> None:
    reading = ledger.begin(CARD)
    names = [b"\x01" * 250 + b"/" + b"\x02" * 240 + b"%d.txt" % n for n in range(200)]
    ledger.list_files(reading, (Listed(media=media(name), fate=Fate.IGNORED, reason="no picture") for name in names))
    receipt = ledger.end(reading)
    assert len(receipt.named) + receipt.named_omitted == 200
    assert receipt.named
    assert max(row[3] for row in ledger.outbox.rows()) <= wire.MESSAGE_MAX_BYTES


def test_there_is_no_receipt_of_what_was_never_read(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match=r"there is no reading nothing\.1"):
        ledger.receipt("nothing.1")


# --- compaction ---


def test_compaction_keeps_fates_and_receipts_and_drops_the_rest(ledger: Ledger) -> None:
    files = CARD_FILES | {"e.jpg": ("a deer", Fate.OTHER)}
    reading = read_card(ledger, files)
    ledger.end(reading)
    assert ledger.compact() == 0, "nothing is confirmed"
    confirm(ledger, len(send_everything(ledger)))
    before = ledger.receipt(reading.reading_id)
    assert ledger.compact() == 1
    assert ledger.compact() == 0
    assert ledger.receipt(reading.reading_id) == before
    assert list(ledger.settled(reading)) == []
    send_everything(ledger)
    again = read_card(ledger, {path: (content, Fate.REVIEW) for path, (content, _) in CARD_FILES.items()})
    assert {record.path: record.fate for record in ledger.settled(again)} == {
        path: fate for path, (_, fate) in CARD_FILES.items()
    }
    assert ledger.end(again).safe_to_wipe


def test_what_is_scored_again_after_compaction_keeps_the_first_fate_and_is_compacted_too(ledger: Ledger) -> None:
    reading = read_card(ledger, {"a.jpg": ("a deer", Fate.OTHER)})
    ledger.end(reading)
    confirm(ledger, len(send_everything(ledger)))
    assert ledger.compact() == 1
    send_everything(ledger)
    ledger.read_again(CARD.card_id, rescore=True)
    again = ledger.begin(CARD)
    assert again.rescore
    file = media("a.jpg", size_bytes=6)
    ledger.list_files(again, [Listed(media=file)])
    found = replace(finding(again, file, "a deer", Fate.PANDA, model_id="model-2"), rescored=True)
    assert [record.fate for record in ledger.settle(again, [found])] == [Fate.OTHER]
    assert [record.fate for record in ledger.settled(again)] == [Fate.OTHER]
    assert owed_records(ledger) == [("a.jpg", "panda")], "what the new model says is owed"
    assert ledger.end(again).counts[Fate.OTHER] == 1
    third = read_card(ledger, {"a.jpg": ("a deer", Fate.OTHER)})
    assert [record.fate for record in ledger.settled(third)] == [Fate.OTHER]
    ledger.end(third)
    send_everything(ledger)
    confirm(ledger, ledger.outbox.highest())
    ledger.compact()
    record = finding(reading, file, "a deer", Fate.REVIEW, model_id="model-3").record
    assert ledger.rescored(record, b"a.jpg", ())
    assert not ledger.rescored(record, b"a.jpg", ())
    send_everything(ledger)
    confirm(ledger, ledger.outbox.highest())
    ledger.compact()
    assert ledger.statistics().get("record.1", 0) == 0, "nothing is kept that headquarters has"


def test_an_interrupted_reading_is_not_compacted(ledger: Ledger) -> None:
    ledger.end(read_card(ledger, CARD_FILES), why="stopped")
    confirm(ledger, len(send_everything(ledger)))
    assert ledger.compact() == 0


def test_what_grew_while_a_bundle_was_written_slowly_becomes_small_again(tmp_path: Path, clock: TestClock) -> None:
    with open_ledger(tmp_path, clock) as ledger:

        def say(times: int) -> None:
            for _ in range(times):
                ledger.outbox.put(wire.Alert(code="test", text="x" * 100_000, at=clock.now()))

        def log_bytes() -> int:
            return sum(path.stat().st_size for path in tmp_path.rglob("*-wal"))

        say(2)
        bundle = ledger.outbox.unconfirmed()
        next(bundle)
        say(200)
        assert log_bytes() > 16_000_000, "whoever reads for long keeps the log from being emptied"
        assert sum(1 for _ in bundle) == 1
        say(3)
        assert log_bytes() < 8_000_000


# --- a damaged ledger ---


def test_a_new_ledger_learns_from_the_notes_beside_the_originals(tmp_path: Path, clock: TestClock) -> None:
    originals = Originals(tmp_path / "originals")
    files = {name: (content, fate) for name, (content, fate) in CARD_FILES.items()} | {"z.jpg": ("unsure", Fate.REVIEW)}
    with open_ledger(tmp_path / "first", clock) as ledger:
        reading = read_card(ledger, files)
        for record in ledger.settled(reading):
            if record.fate in (Fate.PANDA, Fate.REVIEW):
                originals.keep(record, record.path.encode(), BytesIO(files[record.path][0].encode()))
        records = list(ledger.settled(reading))
    with open_ledger(tmp_path / "second", clock) as ledger:
        assert originals.restore_into(ledger, POLICY) == 2
        assert ledger.known(sha256("a red panda")) == Known(fate=Fate.PANDA, stays_here=False)
        assert owed_records(ledger) == [("a.jpg", "panda"), ("z.jpg", "review")]
        again = read_card(ledger, files)
        assert list(ledger.settled(again)) == records
        assert ledger.end(again).originals_owed == 0


def test_of_ledgers_that_were_set_aside_the_last_two_stay(tmp_path: Path) -> None:
    path, aside = tmp_path / "ledger.sqlite", []
    for n in range(4):
        path.write_bytes(b"not a database but a letter" * 500)
        path.with_name("ledger.sqlite-wal").write_bytes(b"%d" % n)
        database, damaged = open_or_set_aside(path)
        database.close()
        assert damaged
        aside.append(damaged)
    assert sorted(tmp_path.glob("ledger.damaged-*.sqlite")) == aside[-2:]
    left = {path.name.removesuffix("-wal").removesuffix("-shm") for path in tmp_path.glob("ledger.damaged-*")}
    assert left == {path.name for path in aside[-2:]}, "with their logs"


class _Breaks(BytesIO):
    """A file of a card that is taken out after its first piece."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError(errno.EIO, "Input/output error")
        return super().read(size)


def test_half_a_copy_takes_no_room(tmp_path: Path) -> None:
    originals = Originals(tmp_path / "originals")
    record = Record(
        card_id="card", reading_id="card.1", path="a.mp4", media_id=sha256("a film"), model_id="", fate=Fate.REVIEW,
        size_bytes=3 << 20,
    )  # fmt: skip
    with pytest.raises(OSError, match="Input/output error"):
        originals.keep(record, b"a.mp4", _Breaks(bytes(3 << 20)))
    assert [path for path in (tmp_path / "originals").rglob("*") if path.is_file()] == []


def test_a_name_that_is_no_text_is_the_same_file_after_a_rebuild(tmp_path: Path, clock: TestClock) -> None:
    originals, raw = Originals(tmp_path / "originals"), b"p\xff.jpg"
    file = Media(path=raw, size_bytes=11, mtime_ns=0)

    def read(ledger: Ledger) -> Record:
        reading = ledger.begin(Card(card_id="card", source="marker"))
        ledger.list_files(reading, [Listed(media=file)])
        record = Record(
            card_id="card",
            reading_id=reading.reading_id,
            path=file.name,
            media_id=sha256("a red panda"),
            model_id="",
            fate=Fate.PANDA,
            size_bytes=11,
        )
        return ledger.settle(reading, [Finding(media=file, record=record)])[0]

    with open_ledger(tmp_path / "first", clock) as ledger:
        originals.keep(read(ledger), raw, BytesIO(b"a red panda"))
    with open_ledger(tmp_path / "second", clock) as ledger:
        assert originals.restore_into(ledger, POLICY) == 1
        assert read(ledger).fate is Fate.PANDA, "not a duplicate of itself"


def test_a_note_that_cannot_be_read_is_passed_over(tmp_path: Path, clock: TestClock) -> None:
    originals = Originals(tmp_path / "originals")
    with open_ledger(tmp_path, clock) as ledger:
        reading = read_card(ledger, CARD_FILES)
        panda = next(record for record in ledger.settled(reading) if record.fate is Fate.PANDA)
        originals.keep(panda, panda.path.encode(), BytesIO(b"a red panda"))
        for n, text in enumerate(["", "{", "[]", "null", '{"path": 1}', "\ud800".encode("utf-8", "surrogatepass")]):
            content = text if isinstance(text, bytes) else text.encode()
            (tmp_path / "originals" / "00").mkdir(exist_ok=True)
            (tmp_path / "originals" / "00" / f"{n}.json").write_bytes(content)
        assert originals.restore_into(ledger, POLICY) == 1


# --- threads and files ---


def test_many_threads_may_use_it_and_leave_nothing_open(ledger: Ledger) -> None:
    reading = read_card(ledger, CARD_FILES)

    def look(number: int) -> None:
        ledger.receipt(reading.reading_id)
        ledger.outbox.put(wire.Tombstone(buried_kind="alert", reason=str(number), media_ids=()))

    for start in range(0, 80, 4):
        threads = [threading.Thread(target=look, args=(start + n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert ledger.outbox.backlog().messages == 80
    assert len(list(Path("/proc/self/fd").iterdir())) < 60, "a reader's connection closes after its thread has ended"


def test_one_process_at_a_time(tmp_path: Path, ledger: Ledger, clock: TestClock) -> None:
    with pytest.raises(LedgerError, match="in use by another process; end it, or set another data_dir"):
        open_ledger(tmp_path, clock)
