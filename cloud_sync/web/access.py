"""Who is asking, and what they may: a session for each sign-in, roles, and the detour to a password of one's own."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from flask import Flask, abort, g, redirect, request, session, url_for
from werkzeug.exceptions import Forbidden, Unauthorized
from werkzeug.wrappers import Response

from cloud_sync.accounts import Account, Role
from cloud_sync.accounts_store import AccountsStore
from cloud_sync.web.texts import say

P = ParamSpec("P")
R = TypeVar("R")

TOKEN: Final = "token"  # noqa: S105 - the name of a field
_OPEN: Final = frozenset(
    {
        "assets.asset",
        "assets.favicon",
        "probes.healthz",
        "probes.readyz",
        "sign_in.form",
        "sign_in.enter",
        "language.choose",
    }
)
_BEFORE_CHANGE: Final = frozenset({"sign_in.password", "sign_in.change", "sign_in.leave"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who sent this request."""

    account: Account
    token: str


def guard(app: Flask, accounts: AccountsStore) -> None:
    """Let nobody past who is not signed in: a page that forgets to ask is closed, not open."""

    @app.before_request
    def _only_signed_in() -> Response | None:
        g.asking = None
        if request.endpoint is None or request.endpoint in _OPEN:
            return None  # no endpoint: there is no such page, which may be told to everybody
        token = session.get(TOKEN)
        account = accounts.signed_in(token) if isinstance(token, str) else None
        if account is None:
            raise Unauthorized
        g.asking = Asking(account=account, token=str(token))
        if account.must_change and request.endpoint not in _BEFORE_CHANGE:
            if wants_page():
                return redirect(url_for("sign_in.password"), 303)
            raise Forbidden(say("Change the one-time password first."))
        return None


def asking() -> Asking:
    """Who is asking; only behind `guard`."""
    who: Asking = g.asking
    return who


def role() -> Role:
    """What they may see."""
    return asking().account.role


def coordinators_only(page: Callable[P, R]) -> Callable[P, R]:
    """A page that viewers may not see, or a change that they may not make."""

    @wraps(page)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        if role() is not Role.COORDINATOR:
            abort(403, say("Only a coordinator may do this. Ask one of yours."))
        return page(*args, **kwargs)

    return guarded


def wants_page() -> bool:
    """Whether a person is to read the answer, rather than a program."""
    return not request.path.startswith("/api/")


def local_path(target: str | None) -> str:
    """Where to go after signing in: a path of ours, or the first page; never another site."""
    if not target or not target.startswith("/") or target.startswith(("//", "/\\")) or not target.isprintable():
        return "/"
    return target


def current() -> Any:
    """For templates: the account, or None on a page that is open to all."""
    who: Asking | None = g.get("asking")
    return who.account if who else None
