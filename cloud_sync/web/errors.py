"""Errors as people read them: what happened, and what to do."""

import logging
from typing import Final

from flask import Flask, jsonify, redirect, render_template, request, url_for
from flask_limiter import RateLimitExceeded
from flask_wtf.csrf import CSRFError  # type: ignore[import-untyped] # ships no type hints
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from cloud_sync.database import StoreRefusedError, StoreUnavailableError
from cloud_sync.web.access import wants_page
from cloud_sync.web.texts import mark, say

log = logging.getLogger(__name__)

_PAGES: Final[dict[int, tuple[str, str]]] = {
    400: (mark("That cannot be answered"), mark("Something in the address or the form is not as it should be.")),
    401: (mark("Please sign in"), mark("You are not signed in, or your session has ended.")),
    403: (mark("Not for your role"), mark("Your account may not see or do this.")),
    404: (mark("Not here"), mark("There is no such page, or what it was about is no longer there.")),
    405: (mark("Not like this"), mark("This address takes other requests.")),
    413: (mark("Too large"), mark("This form takes less than was sent.")),
    429: (mark("Too many attempts"), mark("Wait a minute, then try again.")),
    500: (
        mark("A fault of ours"),
        mark("It has been written to the log. Nothing that was recorded is lost; going back and trying again is safe."),
    ),
    503: (
        mark("The database is away"),
        mark("Nothing is lost: gateways keep what is not confirmed. Try again in a minute, then look at the database."),
    ),
}


def handle(app: Flask) -> None:
    """Answer every error by a page, or by JSON where a program asked."""

    @app.errorhandler(CSRFError)
    def _forged(error: HTTPException) -> Response:
        log.warning("a form without its token was refused: %s", error.description)
        return _answer(
            400, say("This form was not sent from this site, or it has grown old. Open it again and send it.")
        )

    @app.errorhandler(HTTPException)
    def _http(error: HTTPException) -> Response:
        code = error.code or 500
        if code == 401 and wants_page():  # noqa: PLR2004 - HTTP's own number
            back = request.full_path.rstrip("?") if request.method == "GET" else None
            return redirect(url_for("sign_in.form", next=back if back != "/" else None), 303)
        if isinstance(error.response, Response):
            return error.response
        if code < 400:  # noqa: PLR2004 - a redirect that routing makes
            return Response(status=code, headers=error.get_headers())
        if isinstance(error, RateLimitExceeded):
            return _answer(code, None)  # its description is the limit, of use to the guesser alone
        own = error.description if error.description != type(error).description else None
        return _answer(code, own)

    @app.errorhandler(StoreUnavailableError)
    def _away(error: StoreUnavailableError) -> Response:
        log.warning("answered 503: %s", error)
        response = _answer(503, None)
        response.headers["Retry-After"] = "30"
        return response

    @app.errorhandler(StoreRefusedError)
    def _refused(error: StoreRefusedError) -> Response:
        log.warning("answered 400: %s", error)  # such as a NUL in a name, which PostgreSQL has no text for
        return _answer(400, None)

    @app.errorhandler(Exception)
    def _fault(error: Exception) -> Response:
        log.error("fault while answering %s", request.endpoint, exc_info=error)
        return _answer(500, None)


def _answer(code: int, what: str | None) -> Response:
    title, does = _PAGES.get(code, _PAGES[400] if code < 500 else _PAGES[500])  # noqa: PLR2004
    title, text = say(title), what or say(does)
    if wants_page():
        return Response(render_template("error.html", code=code, title=title, text=text), code, mimetype="text/html")
    response: Response = jsonify({"status": code, "title": title, "detail": text})
    response.status_code = code
    return response
