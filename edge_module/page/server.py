"""Serves the page on the local network: standard library only, a few visitors at once, nothing but this page.

Whoever is on the network may ask, so every request is hostile: bodies and headers are bounded, a slow visitor is
dropped, forms must be ours, and without the PIN nothing is shown but how things stand.
"""

import contextlib
import logging
import secrets
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from edge_module.errors import LedgerError
from edge_module.page import view
from edge_module.page.guard import Guard, LockedError, is_local_host
from edge_module.page.view import Seen, Visitor
from edge_module.page.words import LANGUAGES, Words, chosen, words
from edge_module.stick import Stick

_log = logging.getLogger(__name__)

_FOLDER: Final = Path(__file__).parent
_ASSETS: Final = {"/page.css": "text/css; charset=utf-8", "/page.js": "text/javascript; charset=utf-8"}
_BODY_MAX_BYTES: Final = 4096
_PATIENCE_S: Final = 10.0
_WHOLE_S: Final = 60.0
"""For a request and its answer together: who sends a byte now and then would keep a place for ever."""
_AT_ONCE_MAX: Final = 16
_LISTEN_AGAIN_S: Final = 5.0
_BEAT_S: Final = 5.0
_YEAR_S: Final = 365 * 86400

_VISITOR: Final = "ponya_visitor"
_SESSION: Final = "ponya_session"
_LANGUAGE: Final = "ponya_language"

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Page:
    """The page's parts, and the thread that serves it.

    Args:
        address: to listen on.
        port: to listen on; 0 for any free one.
        seen: what there is to show.
        guard: who may see and do what.
        pin_set: whether a PIN is set.
        stick: to be written, and read.
    """

    def __init__(
        self, *, address: str, port: int, seen: Callable[[], Seen], guard: Guard, pin_set: Callable[[], bool],
        stick: Stick,
    ) -> None:  # fmt: skip
        self.address = (address, port)
        self.seen = seen
        self.guard = guard
        self.pin_set = pin_set
        self.stick = stick
        self.port = 0

    def run(self, stop: threading.Event, *, beat: Callable[[], None] = lambda: None) -> None:
        """Serve until told to stop; where the address cannot be had, try again now and then."""
        told = False
        while not stop.is_set():
            try:
                server = _Server(self)
            except OSError as exc:
                if not told:
                    _log.warning("the page cannot listen on %s: %s", self.address, exc.strerror or exc)
                told = True
                beat()
                stop.wait(_LISTEN_AGAIN_S)
                continue
            with server:
                self.port = server.server_address[1]
                thread = threading.Thread(target=server.serve_forever, name="page-listen", daemon=True)
                thread.start()
                while not stop.wait(_BEAT_S):
                    beat()
                server.shutdown()
            return


class _Server(ThreadingMixIn, HTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = _AT_ONCE_MAX

    def __init__(self, page: Page) -> None:
        self.page = page
        self._places = threading.BoundedSemaphore(_AT_ONCE_MAX)
        self.address_family = socket.AF_INET6 if ":" in page.address[0] else socket.AF_INET
        super().__init__(page.address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        deadline = threading.Timer(_WHOLE_S, _hang_up, (request,))
        deadline.daemon = True
        try:
            deadline.start()
            super().process_request_thread(request, client_address)
        finally:
            deadline.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        del request, client_address
        _log.info("a visitor of the page was dropped", exc_info=True)


def _hang_up(request: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is over already
        request.shutdown(socket.SHUT_RDWR)


class _RefusedError(Exception):
    """This request gets no more than a status."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "Ponya"
    sys_version = ""
    timeout = _PATIENCE_S

    def setup(self) -> None:
        super().setup()
        self._cookies_to_set: list[str] = []

    def do_GET(self) -> None:
        """Show something."""
        self._answer({"/": self._page, "/state": self._state, "/language": self._language}, forms=False)

    def do_POST(self) -> None:
        """Take a form."""
        self._answer(
            {
                "/sign-in": self._sign_in,
                "/sign-out": self._sign_out,
                "/bundle": lambda: self._with_stick(self._page_of.stick.write),
                "/confirmation": lambda: self._with_stick(self._page_of.stick.confirm),
            },
            forms=True,
        )

    # --- every request ------------------------------------------------------------------------------------------

    def _answer(self, handlers: dict[str, Callable[[], None]], *, forms: bool) -> None:
        path = urlsplit(self.path).path
        try:
            self._begin(forms=forms)
            if not forms and path in _ASSETS:
                self._send(HTTPStatus.OK, (_FOLDER / path[1:]).read_bytes(), _ASSETS[path])
                return
            handlers.get(path, self._not_found)()
        except _RefusedError as exc:
            key = "not_found" if exc.status is HTTPStatus.NOT_FOUND else "form_old"
            self._html(exc.status, view.plain(self._say(key), self._say))
        except LedgerError as exc:
            _log.error("the page cannot be shown: %s", exc)
            self._html(HTTPStatus.SERVICE_UNAVAILABLE, view.plain(self._say("fault_disk"), self._say))

    def _begin(self, *, forms: bool) -> None:
        self._cookies = SimpleCookie()
        try:
            self._cookies.load(self.headers.get("Cookie", "")[:_BODY_MAX_BYTES])
        except CookieError:
            self._cookies = SimpleCookie()
        language = chosen(self._cookie(_LANGUAGE), self.headers.get("Accept-Language", ""))
        self._say: Words = words(language)
        self._visitor = self._cookie(_VISITOR)
        if not is_local_host(self.headers.get("Host", "")):
            raise _RefusedError(HTTPStatus.MISDIRECTED_REQUEST)
        if not self._visitor and not forms:
            self._visitor = secrets.token_urlsafe(24)
            self._set_cookie(_VISITOR, self._visitor)
        self._form = self._read_form() if forms else {}

    def _read_form(self) -> dict[str, str]:
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError as exc:
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED) from exc
        if not 0 <= length <= _BODY_MAX_BYTES:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            given = parse_qs(self.rfile.read(length).decode("ascii"), max_num_fields=8)
        except ValueError as exc:
            raise _RefusedError(HTTPStatus.BAD_REQUEST) from exc
        form = {name: values[0] for name, values in given.items()}
        if not self._page_of.guard.is_our_form(self._visitor, form.get("token", "")):
            raise _RefusedError(HTTPStatus.FORBIDDEN)
        return form

    @property
    def _page_of(self) -> Page:
        return self.server.page

    @property
    def _who(self) -> Visitor:
        guard = self._page_of.guard
        return Visitor(
            signed_in=guard.signed_in(self._cookie(_SESSION)),
            pin_set=self._page_of.pin_set(),
            form_token=guard.form_token(self._visitor),
        )

    # --- what is shown ------------------------------------------------------------------------------------------

    def _page(self) -> None:
        self._html(HTTPStatus.OK, view.page(self._page_of.seen(), self._who, self._say))

    def _state(self) -> None:
        self._html(HTTPStatus.OK, view.state(self._page_of.seen(), self._who, self._say))

    def _language(self) -> None:
        wanted = parse_qs(urlsplit(self.path).query).get("to", [""])[0]
        if wanted not in LANGUAGES:
            raise _RefusedError(HTTPStatus.NOT_FOUND)
        self._set_cookie(_LANGUAGE, wanted, max_age_s=_YEAR_S)
        self._back()

    def _not_found(self) -> None:
        raise _RefusedError(HTTPStatus.NOT_FOUND)

    # --- what is done -------------------------------------------------------------------------------------------

    def _sign_in(self) -> None:
        try:
            token = self._page_of.guard.sign_in(self._form.get("pin", ""), self.client_address[0])
        except LockedError as exc:
            fault = self._say("pin_locked", time=self._say.duration(exc.wait_s))
            self._fault(HTTPStatus.TOO_MANY_REQUESTS, fault)
            return
        if token is None:
            _log.warning("a wrong PIN was entered on the page")
            self._fault(HTTPStatus.FORBIDDEN, self._say("pin_wrong"))
            return
        self._set_cookie(_SESSION, token)
        self._back()

    def _fault(self, status: HTTPStatus, fault: str) -> None:
        self._html(status, view.page(self._page_of.seen(), self._who, self._say, fault=fault))

    def _sign_out(self) -> None:
        self._page_of.guard.sign_out(self._cookie(_SESSION))
        self._set_cookie(_SESSION, "", max_age_s=0)
        self._back()

    def _with_stick(self, work: Callable[[], bool]) -> None:
        if not self._page_of.guard.signed_in(self._cookie(_SESSION)):
            raise _RefusedError(HTTPStatus.FORBIDDEN)
        work()  # what came of it, or why it did not begin, the page says
        self._back()

    # --- answers ------------------------------------------------------------------------------------------------

    def _cookie(self, name: str) -> str:
        morsel = self._cookies.get(name)
        return morsel.value if morsel is not None and morsel.value.isascii() else ""

    def _set_cookie(self, name: str, value: str, *, max_age_s: int | None = None) -> None:
        age = "" if max_age_s is None else f"; Max-Age={max_age_s}"
        self._cookies_to_set.append(f"{name}={value}; Path=/; HttpOnly; SameSite=Strict{age}")

    def _back(self) -> None:
        self._send(HTTPStatus.SEE_OTHER, b"", "text/plain", location="/")

    def _html(self, status: HTTPStatus, html: view.Html) -> None:
        # A name that is no Unicode came from a file system's bytes.
        self._send(status, html.encode("utf-8", "backslashreplace"), "text/html; charset=utf-8")

    def _send(self, status: HTTPStatus, body: bytes, kind: str, *, location: str = "") -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        for cookie in self._cookies_to_set:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class has it so
        """Nothing: who asks what is nobody's business, and a log must not grow with it."""
