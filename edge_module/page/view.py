"""The page as HTML. Pure; whatever is not `Html` is escaped, so that names from cards stay text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from edge_module.page.state import CardShown, Link, Trouble, Word, of_all
from edge_module.page.words import LANGUAGES, Words, words
from edge_module.stick import Job, JobState, StickState

_SIGNS: Final = {
    Word.ERROR: "!", Word.READING: "…", Word.SENDING: "↑", Word.SAFE: "✓", Word.WAIT: "⏸", Word.WAITING: "+",
}  # fmt: skip
_NAME_MAX: Final = 80
_WHY_MAX: Final = 600
_VOID: Final = frozenset({"input", "meta", "link"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def el(_tag: str, *children: str, **attributes: str | bool) -> Html:
    """An element: children that are not `Html` and all attributes are escaped; ``class_`` is ``class``."""
    said = "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for name, value in attributes.items()
        if value is not False
    )
    if _tag in _VOID:
        return Html(f"<{_tag}{said}>")
    inner = "".join(child if isinstance(child, Html) else escape(child) for child in children)
    return Html(f"<{_tag}{said}>{inner}</{_tag}>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What there is to show.

    Args:
        cards: as `state.shown` says them.
        link: to headquarters.
        pictures_owed: that wait to be sent.
        budget_left_bytes: of today's data.
        fault: key of what is wrong with the gateway itself, ``fault_cards`` or ``fault_disk``; empty if nothing is.
        stick: whether one is in.
        job: what was last done with one.
    """

    cards: Sequence[CardShown]
    link: Link
    pictures_owed: int = 0
    budget_left_bytes: int = 0
    fault: str = ""
    stick: StickState = StickState.ABSENT
    job: Job = field(default_factory=Job)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who asks.

    Args:
        signed_in: knows the PIN: may see names and use a stick.
        pin_set: whether there is one to know.
        form_token: goes back with each form.
    """

    signed_in: bool
    pin_set: bool
    form_token: str


def page(seen: Seen, visitor: Visitor, say: Words, *, fault: str = "") -> Html:
    """The whole page; `fault` is what was wrong with the last form, in words."""
    return _document(
        say,
        el("p", fault, class_="fault", role="alert") if fault else "",
        el("div", state(seen, visitor, say), id="state", data_no_answer=say("no_answer")),
        _sign_in(visitor, say),
    )


def state(seen: Seen, visitor: Visitor, say: Words) -> Html:
    """The part of the page that changes by itself."""
    word = of_all(seen.cards, fault=bool(seen.fault))
    # Read aloud when it changes: without numbers, which change all the time.
    parts = [el("p", say(seen.fault or word), id="word", role="status", aria_live="polite", class_=f"word {word}")]
    parts += [_card(card, visitor, say, number) for number, card in enumerate(seen.cards, start=1)]
    parts.append(_link(seen, say))
    if visitor.signed_in:
        parts.append(_stick(seen, visitor, say))
    return Html("".join(parts))


def plain(title: str, say: Words) -> Html:
    """A page that says one thing."""
    return _document(say, el("p", title, class_="fault", role="alert"), el("p", el("a", say("back"), href="/")))


def _document(say: Words, *body: str) -> Html:
    others = [
        el("a", words(language)("language_name"), href=f"/language?to={language}", lang=language, hreflang=language)
        for language in LANGUAGES
        if language != say.language
    ]
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"{say('title')} - Ponya"),
        el("link", rel="stylesheet", href="/page.css"),
        el("script", src="/page.js", defer=True),
        el("noscript", el("meta", http_equiv="refresh", content="10")),
    )
    header = el("header", el("h1", say("title")), el("nav", *others, aria_label="Language / भाषा"))
    return Html("<!doctype html>" + el("html", head, el("body", header, el("main", *body)), lang=say.language))


def _card(card: CardShown, visitor: Visitor, say: Words, number: int) -> Html:
    name = card.name[:_NAME_MAX] if visitor.signed_in else f"{say('card_unnamed')} {say.number(number)}"
    lines = [say(f"{card.trouble}_text")] if card.trouble else _lines(card, say)
    advice = say(f"{card.trouble or card.word}_do")
    more: list[str] = []
    if visitor.signed_in and card.word in (Word.SAFE, Word.SENDING, Word.WAIT):
        if card.pandas:
            more.append(el("p", say("pandas", n=card.pandas)))
        if card.lost_by_wiping:
            more.append(el("p", say("lost", n=card.lost_by_wiping), class_="small"))
    if visitor.signed_in and card.why:
        more.append(el("details", el("summary", say("details")), el("p", card.why[:_WHY_MAX], lang="en", dir="ltr")))
    bar: str = ""
    if card.word is Word.READING and card.total:
        bar = el("progress", value=str(card.done), max=str(card.total), aria_label=say("reading"))
    return el(
        "section",
        el("h2", el("bdi", name), " ", el("span", say("card_here" if card.here else "card_gone"), class_="small")),
        el("p", el("span", _SIGNS[card.word], class_="sign", aria_hidden="true"), " ", say(card.word), class_="state"),
        bar,
        *(el("p", line) for line in lines),
        el("p", advice, class_="advice"),
        *more,
        class_=f"card {card.word}",
    )


def _lines(card: CardShown, say: Words) -> list[str]:
    left = {Word.READING: "reading_left", Word.SENDING: "sending_left", Word.WAIT: "wait_left"}.get(card.word)
    if card.word is Word.READING:
        text = say("reading_text", done=card.done, total=card.total) if card.total else say("listing_text")
    else:
        text = say(f"{card.word}_text", total=card.total, n=card.unconfirmed)
    return [text] + ([say(left, time=say.duration(card.left_s))] if left and card.left_s is not None else [])


def _link(seen: Seen, say: Words) -> Html:
    lines = [say("link_up" if seen.link.connected else "link_down")]
    if seen.link.owed_bytes:
        lines.append(say("owed", size=say.size(seen.link.owed_bytes)))
    if seen.pictures_owed:
        lines.append(say("pictures_owed", n=seen.pictures_owed))
    lines.append(say("budget", size=say.size(seen.budget_left_bytes)))
    return el("section", *(el("p", line) for line in lines), class_="link small")


def _stick(seen: Seen, visitor: Visitor, say: Words) -> Html:
    job, parts = seen.job, [el("h2", say("stick"))]
    match job.state:
        case JobState.WORKING:
            parts.append(el("p", say("stick_writing", done=job.done, total=job.total), class_="advice"))
        case JobState.WRITTEN:
            parts.append(el("p", say("stick_written", messages=job.messages, pictures=job.pictures), class_="advice"))
        case JobState.CONFIRMED:
            parts.append(el("p", say("stick_confirmed", n=job.messages), class_="advice"))
        case JobState.NO_CONFIRMATION:
            parts.append(el("p", say("stick_no_confirmation"), class_="advice"))
        case JobState.FAILED:
            parts.append(el("p", say("stick_failed"), class_="fault"))
            parts.append(el("details", el("summary", say("details")), el("p", job.why[:_WHY_MAX], lang="en")))
        case JobState.IDLE:
            pass
    if job.state is not JobState.WORKING:
        parts.append(el("p", say(f"stick_{seen.stick}")))
        if seen.stick is StickState.READY:
            parts.append(_form("/bundle", visitor, el("button", say("stick_write"))))
            parts.append(_form("/confirmation", visitor, el("button", say("stick_confirm"), class_="second")))
    return el("section", *parts, class_="stick")


def _sign_in(visitor: Visitor, say: Words) -> Html:
    if visitor.signed_in:
        return _form("/sign-out", visitor, el("button", say("sign_out"), class_="second"))
    if not visitor.pin_set:
        return el("p", say("pin_unset"), class_="small")
    return _form(
        "/sign-in",
        visitor,
        el("p", say("sign_in_text"), class_="small"),
        el("label", say("pin"), for_="pin"),
        el(
            "input", id="pin", name="pin", type="password", inputmode="numeric", autocomplete="current-password",
            required=True, maxlength="12",
        ),
        el("button", say("sign_in")),
    )  # fmt: skip


def _form(action: str, visitor: Visitor, *children: str) -> Html:
    token = el("input", type="hidden", name="token", value=visitor.form_token)
    return el("form", token, *children, method="post", action=action)


def troubles() -> list[str]:
    """The keys that a catalogue needs and that are put together here: a test compares."""
    said = [f"{name}_{part}" for name in (*Trouble, "reading", "sending", "safe", "wait") for part in ("text", "do")]
    return [*said, *Word, *(f"stick_{state}" for state in StickState)]
