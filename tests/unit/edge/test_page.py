"""The page on the gateway: what a technician sees, what a stranger does not, and what no name on a card can do."""

import html
import re
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter

import pytest
import yaml
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from edge_module import wire
from edge_module.bundle_format import CONFIRMATION_SUFFIX, GatewayKeys, write_confirmation
from edge_module.domain import CardReceipt, Fate, ReadingState
from edge_module.pace import Pace
from edge_module.page import server, view
from edge_module.page.guard import Guard, LockedError, is_local_host
from edge_module.page.state import CardShown, Link, Trouble, Word, of_all, shown
from edge_module.page.words import LANGUAGES, chosen, words
from edge_module.places import CardSeen, PlaceState
from edge_module.stick import JobState, StickState
from tests.gateway_cards import LIMIT_S, mounted, needs_mounts, wait_until
from tests.gateway_page import PIN, Served, Visit, confirm_all, serving
from tests.ledgers import TestClock
from tests.pictures import drawn, encoded, jpeg

FAST = Link(connected=True, owed_bytes=10_000, bytes_per_s=1000)


# --- what is said of a card (state.py) ---


def receipt(*, unconfirmed: int = 0, blockers: tuple[str, ...] = (), state: ReadingState = ReadingState.COMPLETE):
    blockers = blockers or (("headquarters has not confirmed it",) if unconfirmed else ())
    return CardReceipt(
        card_id="volume-1", reading_id="volume-1.1", state=state, counts=dict.fromkeys(Fate, 0) | {Fate.BLANK: 9},
        pending=0, unconfirmed=unconfirmed, originals_owed=0, destroyed_by_wiping=9, blockers=blockers, named=(),
        named_omitted=0, cameras={},
    )  # fmt: skip


def said(
    state: PlaceState, given: CardReceipt | None = None, link: Link = FAST, *, read_for_s: float = 0, **more: object
):
    card = CardSeen(name="sda1", state=state, card_id="volume-1", reading_id="volume-1.1", **more)  # type: ignore[arg-type]
    receipts = {"volume-1.1": given} if given else {}
    (one,) = shown([card], receipts, link, read_for_s={"volume-1.1": read_for_s}, now_s=100.0)
    return one


def test_a_card_that_is_read_tells_the_time_left() -> None:
    one = said(PlaceState.READING, done=150, done_before=50, total=350, began_s=50.0)
    assert (one.word, one.left_s) == (Word.READING, 100.0)
    assert said(PlaceState.READING, done=55, done_before=50, total=350, began_s=50.0).left_s is None
    assert said(PlaceState.LISTING).word is Word.READING


def test_a_card_is_safe_when_its_receipt_says_so_and_no_sooner() -> None:
    assert said(PlaceState.READ, receipt()).word is Word.SAFE
    one = said(PlaceState.READ, receipt(unconfirmed=9))
    assert (one.word, one.left_s, one.unconfirmed) == (Word.SENDING, 10.0, 9)
    assert said(PlaceState.READ, receipt(blockers=("1 folder could not be read",))).trouble is Trouble.INCOMPLETE


@pytest.mark.parametrize(
    ("link", "read_for_s", "word"),
    [
        (Link(connected=True, owed_bytes=10_000_000, bytes_per_s=1000), 0, Word.WAIT),
        (Link(connected=True, owed_bytes=10_000, bytes_per_s=0), 10, Word.SENDING),
        (Link(connected=True, owed_bytes=10_000, bytes_per_s=0), 300, Word.WAIT),
        (Link(connected=False, owed_bytes=10_000, bytes_per_s=1000), 10, Word.SENDING),
        (Link(connected=False, owed_bytes=10_000, bytes_per_s=1000), 300, Word.WAIT),
        (FAST, 3000, Word.SENDING),
    ],
)
def test_nobody_is_let_wait_for_a_slow_link(link: Link, read_for_s: float, word: Word) -> None:
    assert said(PlaceState.READ, receipt(unconfirmed=9), link, read_for_s=read_for_s).word is word


@pytest.mark.parametrize(
    ("state", "trouble"),
    [
        (PlaceState.HUNG, Trouble.HUNG), (PlaceState.CONFLICT, Trouble.CONFLICT),
        (PlaceState.FAILED, Trouble.INTERRUPTED),
    ],
)  # fmt: skip
def test_what_is_wrong_has_a_word(state: PlaceState, trouble: Trouble) -> None:
    one = said(state, receipt(), why="read error")
    assert (one.word, one.trouble) == (Word.ERROR, trouble)


def test_the_gateways_word_is_that_of_the_card_that_needs_somebody_most() -> None:
    def cards(*given: Word) -> list[CardShown]:
        return [CardShown(name="a", here=True, word=word) for word in given]

    assert of_all([]) is Word.WAITING
    assert of_all(cards(Word.SAFE, Word.READING)) is Word.READING
    assert of_all(cards(Word.SAFE, Word.READING, Word.ERROR)) is Word.ERROR
    assert of_all(cards(Word.SAFE)) is Word.SAFE
    assert of_all(cards(Word.SAFE), fault=True) is Word.ERROR
    assert of_all([CardShown(name="gone", here=False, word=Word.SENDING)]) is Word.WAITING


def test_how_fast_headquarters_confirms_counts_only_the_time_in_which_something_was_owed() -> None:
    pace = Pace()
    assert pace.bytes_per_s(0) == 0
    pace.owing(0)
    pace.confirmed(6000, 60, all_of_it=False)
    assert pace.bytes_per_s(60) == 100
    assert pace.bytes_per_s(120) == 50
    pace.confirmed(6000, 120, all_of_it=True)
    assert pace.bytes_per_s(600) == 100
    assert pace.bytes_per_s(10_000) == 0


def test_where_nobody_looks_at_the_page_a_month_of_confirmations_takes_no_memory() -> None:
    pace = Pace()
    for minute in range(30 * 24 * 60):
        pace.confirmed(1000, 60.0 * minute, all_of_it=True)
    assert len(pace._steps) <= 16


# --- words ---


def catalogue(language: str) -> dict[str, str]:
    folder = Path(view.__file__).parent
    texts: dict[str, str] = yaml.safe_load((folder / f"{language}.yml").read_text(encoding="utf-8"))
    return texts


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_text_with_the_same_values(language: str) -> None:
    texts, english = catalogue(language), catalogue("en")
    assert list(texts) == list(english)
    for key, text in texts.items():
        values = {name for _, name, _, _ in Formatter().parse(text) if name}
        assert values == {name for _, name, _, _ in Formatter().parse(english[key]) if name}, key
        assert isinstance(text, str), key
        assert text.strip(), key
    assert set(view.troubles()) <= set(texts)


def test_every_text_is_used() -> None:
    folder = Path(view.__file__).parent
    code = "".join((folder / name).read_text() for name in ("view.py", "words.py", "server.py", "panel.py"))
    made = {*view.troubles()}
    assert [key for key in catalogue("en") if not re.search(f"[\"']{key}[\"']", code) and key not in made] == []


@pytest.mark.parametrize(
    ("cookie", "accept", "language"),
    [
        ("", "", "en"), ("", "ne-NP,ne;q=0.9,en;q=0.8", "ne"), ("", "fr,en;q=0.3,ne;q=0.4", "ne"), ("en", "ne", "en"),
        ("xx", "ne", "ne"), ("", "\x00;q=x,,;;", "en"), ("", "ne;q=0", "en"),
    ],
)  # fmt: skip
def test_the_language_is_the_chosen_one_or_the_browsers(cookie: str, accept: str, language: str) -> None:
    assert chosen(cookie, accept) == language


def test_numbers_and_times_are_said_in_the_languages_digits() -> None:
    assert words("ne")("reading_text", done=1234, total=5) == "५ मध्ये १,२३४ फाइल पढियो।"
    assert [words("en").duration(s) for s in (5, 90, 5400, 200_000)] == [
        "less than a minute", "about 2 min", "about 2 h", "about 2 days",
    ]  # fmt: skip
    assert (words("en").size(0), words("en").size(1500), words("en").size(2_340_000)) == ("0 KB", "2 KB", "2.3 MB")


# --- the guard ---


def test_a_wrong_pin_is_refused_and_soon_not_even_looked_at() -> None:
    clock = TestClock()
    guard = Guard(lambda: PIN, clock.monotonic_s)
    for _ in range(5):
        assert guard.sign_in("000000", "10.0.0.9") is None
    with pytest.raises(LockedError):
        guard.sign_in(PIN, "10.0.0.9")
    assert guard.sign_in(PIN, "10.0.0.10")  # the technician beside the stranger
    clock.pass_s(61)
    assert guard.sign_in(PIN, "10.0.0.9")


def test_a_stranger_with_many_addresses_has_no_more_guesses() -> None:
    clock = TestClock()
    guard = Guard(lambda: PIN, clock.monotonic_s)
    for n in range(100):
        assert guard.sign_in("000000", f"10.0.{n}.1") is None
    with pytest.raises(LockedError) as locked:
        guard.sign_in("000000", "10.9.9.9")
    assert locked.value.wait_s <= 3600
    clock.pass_s(3601)
    assert guard.sign_in(PIN, "10.9.9.9")


@pytest.mark.parametrize("given", ["", "271828 ", "\uff12\uff17\uff11\uff18\uff12\uff18", "2" * 5000, "\ud800"])
def test_nothing_but_the_pin_is_the_pin(given: str) -> None:
    assert Guard(lambda: PIN, TestClock().monotonic_s).sign_in(given, "a") is None
    assert Guard(lambda: None, TestClock().monotonic_s).sign_in(given, "a") is None


def test_a_session_ends_with_time_with_another_pin_and_by_signing_out() -> None:
    clock, pin = TestClock(), [PIN]
    guard = Guard(lambda: pin[0], clock.monotonic_s)
    token = guard.sign_in(PIN, "a")
    assert token
    assert guard.signed_in(token)
    assert not guard.signed_in("")
    pin[0] = "314159"
    assert not guard.signed_in(token)
    token = guard.sign_in("314159", "a") or ""
    clock.pass_s(13 * 3600)
    assert not guard.signed_in(token)
    token = guard.sign_in("314159", "a") or ""
    guard.sign_out(token)
    assert not guard.signed_in(token)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1:8377", True), ("[::1]:8377", True), ("192.168.4.1", True), ("localhost:1", True),
        ("ponya.local:8377", True), ("gateway", True), ("evil.example.org", False), ("127.0.0.1.nip.io:8377", False),
    ],
)  # fmt: skip
def test_a_strangers_name_for_the_gateway_is_not_answered(host: str, local: bool) -> None:
    assert is_local_host(host) is local


# --- the page, served ---


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as made:
        yield made


def wait_text(visit: Visit, text: str) -> str:
    wait_until(lambda: text in html.unescape(visit.get("/state")), lambda: visit.text)
    return html.unescape(visit.text)


def test_the_way_of_a_card_from_put_in_to_safe_to_wipe(served: Served) -> None:
    visit = served.visit()
    visit.sign_in()
    assert "Put a card in" in visit.get()
    served.gateway.insert("sda1", {"a.jpg": jpeg(1), "b.jpg": jpeg(2)})
    text = wait_text(visit, "Headquarters still has to confirm 2 of them")
    assert "sda1" in text
    assert "Do not wipe the card yet" in text
    assert "Safe to wipe" not in text
    served.connected = False
    served.gateway.clock.ahead_s += 300
    assert "put another card into the camera" in wait_text(visit, "Leave this card, put a spare in the camera")
    served.connected = True
    confirm_all(served.gateway)
    served.gateway.clock.ahead_s += 10
    assert "The card may be wiped" in wait_text(visit, "Safe to wipe")
    assert "12.3 MB" in visit.text


def test_a_stranger_sees_how_things_stand_and_no_name(served: Served) -> None:
    served.gateway.insert("Secret valley camera 7", {"a.jpg": jpeg(1)})
    served.gateway.wait("Secret valley camera 7", PlaceState.READ)
    stranger = served.visit()
    text = wait_text(stranger, "A card 1")
    assert "Sending" in text
    for path in ("/", "/state"):
        assert "Secret" not in stranger.get(path)
        assert "/bundle" not in stranger.text
    assert "folder-" not in stranger.get()
    for path in ("/bundle", "/confirmation"):
        stranger.get()
        stranger.post(path)
        assert stranger.status == 403
    assert "This PIN is wrong" in stranger.sign_in("000000")
    assert stranger.status == 403
    for _ in range(5):
        stranger.post("/sign-in", pin="000000")
    assert stranger.status == 429
    assert "Too many wrong PINs" in stranger.text
    assert PIN not in stranger.text


def test_without_a_pin_the_page_says_so_and_lets_nobody_in(tmp_path: Path) -> None:
    with serving(tmp_path, pin=None) as served:
        visit = served.visit()
        assert "has not set a PIN" in visit.get()
        assert "<form" not in visit.text
        visit.get()
        visit.post("/sign-in", pin="")
        assert visit.status == 403


EVIL = "<img src=x onerror=alert(1)>\"&'{}{0}"


def test_scripts_in_names_stay_text(served: Served) -> None:
    evil_file = "<script>alert(1)</script>.jpg".replace("/", "\u2215")
    visit = served.visit()
    visit.sign_in()
    served.gateway.insert(EVIL, {evil_file: jpeg(1), "ponya.yml": b'card: "<b>x</b>"'})
    served.gateway.insert("second", {"ponya.yml": b'card: "<b>x</b>"'})
    text = wait_text(visit, "Two cards here say")
    assert EVIL in text
    raw = visit.get()
    assert "<img" not in raw
    assert "<script>" not in raw
    assert raw.count("<script") == 1
    policy = visit.answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_name_that_is_no_unicode_breaks_nothing(served: Served) -> None:
    visit = served.visit()
    visit.sign_in()
    (served.gateway.dir / b"caf\xe9\x01".decode("utf-8", "surrogateescape")).mkdir()
    (served.gateway.dir / b"caf\xe9\x01".decode("utf-8", "surrogateescape") / "a.jpg").write_bytes(jpeg(1))
    assert "caf" in wait_text(visit, "Sending")


def test_forms_from_elsewhere_are_refused(served: Served) -> None:
    visit = served.visit()
    visit.sign_in()
    for token in ("", "0" * 64, "x"):
        visit.post("/sign-out", token=token)
        assert visit.status == 403
    other = served.visit()
    other.get()
    visit.post("/sign-out", token=other.token)
    assert visit.status == 403
    visit.get(Host="evil.example.org")
    assert visit.status == 421
    visit.get()
    assert "Sign out" in visit.text
    assert "Sign in" in visit.post("/sign-out")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\n\r\n", 411),
        (b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 413),
        (b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n", 413),
        (b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n\xff\xfe", 400),
        (b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 39\r\n\r\n" + b"a=1&" * 9 + b"b=2", 400),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /page.css/../server.py HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET //[ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /language?to=xx HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: \xff=;;,ponya_session=\xe9\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"noise\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ],
)  # fmt: skip
def test_noise_is_refused_and_the_page_stays(served: Served, request_: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", served.page.port), timeout=LIMIT_S) as connection:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    assert str(status).encode() in answer[:200], answer[:300]
    assert served.visit().get().startswith("<!doctype html>")


def test_who_sends_a_byte_now_and_then_keeps_no_place(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_WHOLE_S", 0.5)
    give_up_at = time.monotonic() + LIMIT_S
    with socket.create_connection(("127.0.0.1", served.page.port), timeout=LIMIT_S) as connection:
        connection.settimeout(0.1)
        while time.monotonic() < give_up_at:
            try:
                connection.sendall(b"G")
                if connection.recv(1) == b"":
                    return
            except TimeoutError:
                continue
            except OSError:
                return
    pytest.fail("it still has its place")


def test_visitors_who_say_nothing_do_not_keep_others_out(served: Served) -> None:
    silent = [socket.create_connection(("127.0.0.1", served.page.port), timeout=LIMIT_S) for _ in range(40)]
    for connection in silent:
        connection.close()
    wait_until(lambda: _answers(served), lambda: "the page does not answer any more")


def _answers(served: Served) -> bool:
    try:
        return served.visit().get().startswith("<!doctype html>")
    except OSError:
        return False


def test_the_language_is_switched_and_kept(served: Served) -> None:
    visit = served.visit()
    assert '<html lang="en">' in visit.get()
    assert '<html lang="ne">' in visit.get(**{"Accept-Language": "ne"})
    visit.get("/language?to=ne")
    assert visit.status == 303
    assert "कार्ड हाल्नुहोस्" in visit.get()


# --- the stick ---


def enrol(folder: Path) -> SigningKey:
    """Prepare a gateway for sticks, as headquarters does; returns the key that signs confirmations."""
    signing = SigningKey.generate()
    keys = GatewayKeys(
        gateway_id="gateway-1", hq_encrypt_key=bytes(PrivateKey.generate().public_key),
        hq_verify_key=bytes(signing.verify_key), signing_seed=bytes(SigningKey.generate()),
    )  # fmt: skip
    (folder / "bundle-keys.json").write_text(keys.to_json())
    return signing


def test_a_folder_is_no_stick(served: Served) -> None:
    (served.gateway.folder / "stick").mkdir()
    assert served.stick.state is StickState.ABSENT
    assert not served.stick.write()
    visit = served.visit()
    assert "labelled PONYA-OUT" in visit.sign_in()


@needs_mounts
def test_what_is_owed_goes_onto_a_stick_by_a_button(served: Served, tmp_path: Path) -> None:
    served.gateway.insert("sda1", {"panda.jpg": encoded(drawn()), "a.jpg": jpeg(1)})
    served.gateway.wait("sda1", PlaceState.READ)
    visit = served.visit()
    with mounted(tmp_path / "stick") as stick:
        visit.sign_in()
        assert "has not prepared this gateway" in wait_text(visit, "Use a stick")
        keys = enrol(tmp_path / "data")
        visit.get()
        visit.post("/bundle")
        assert "You may take the stick out" in wait_text(visit, "Written:")
        (bundle,) = stick.iterdir()
        assert bundle.suffix == ".ponya-bundle"
        visit.get()
        visit.post("/confirmation")
        wait_text(visit, "There is no confirmation")
        signing, ledger = keys, served.gateway.ledger
        (stick / f"other{CONFIRMATION_SUFFIX}").write_bytes(b"noise")
        visit.get()
        visit.post("/confirmation")
        assert "try another stick" in wait_text(visit, "That did not work")
        assert ledger.outbox.backlog().messages > 0
        highest = ledger.outbox.highest()
        held = wire.Confirmed(ledger_id=ledger.ledger_id, through=highest, highest=highest)
        confirmation = write_confirmation("gateway-1", held, bytes(signing), datetime.now(UTC))
        (stick / f"ours{CONFIRMATION_SUFFIX}").write_bytes(confirmation)
        visit.get()
        visit.post("/confirmation")
        wait_text(visit, "The confirmation is taken")
        served.gateway.clock.ahead_s += 10
        wait_text(visit, "Safe to wipe")
    wait_text(visit, "Put in a stick")
    with mounted(tmp_path / "stick", "-t", "tmpfs", "-o", "ro", "stick"):
        assert served.stick.state is StickState.READ_ONLY


@needs_mounts
def test_a_stick_that_is_full_is_said_and_nothing_is_lost(served: Served, tmp_path: Path) -> None:
    enrol(tmp_path / "data")
    served.gateway.insert("sda1", {f"{n}.mp4": b"%d" % n for n in range(50)} | {"panda.jpg": encoded(drawn())})
    served.gateway.wait("sda1", PlaceState.READ)
    with mounted(tmp_path / "stick", "-t", "tmpfs", "-o", "size=4k", "stick") as stick:
        assert served.stick.write()
        wait_until(lambda: served.stick.job.state is not JobState.WORKING, lambda: str(served.stick.job))
        assert served.stick.job.state is JobState.FAILED
        assert list(stick.iterdir()) == []
    assert served.gateway.ledger.outbox.backlog().messages > 0
