"""The page of a gateway, served on a port of its own, with real cards, and a visitor without scripts."""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from edge_module import wire
from edge_module.pace import Pace
from edge_module.page.guard import Guard
from edge_module.page.panel import Panel
from edge_module.page.server import Page
from edge_module.stick import Stick
from tests.gateway_cards import LIMIT_S, GatewayCards, running, wait_until

PIN = "271828"


@dataclass
class Visit:
    """A browser without scripts: keeps cookies, sends forms."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 0
    text: str = ""

    def get(self, path: str = "/", **headers: str) -> str:
        return self.ask("GET", path, None, headers)

    def post(self, path: str, *, token: str | None = None, **values: str) -> str:
        given = self.token if token is None else token
        form = urlencode({**values, "token": given})
        text = self.ask("POST", path, form, {"Content-Type": "application/x-www-form-urlencoded"})
        return self.get() if self.status == 303 else text

    def ask(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection.request(method, path, body, {"Cookie": cookie, **self.headers, **headers})
        answer = connection.getresponse()
        self.status, self.answer = answer.status, answer
        for name, value in answer.getheaders():
            if name == "Set-Cookie":
                assert "HttpOnly" in value
                assert "SameSite=Strict" in value
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0]
        self.text = answer.read().decode()
        connection.close()
        return self.text

    @property
    def token(self) -> str:
        found = re.search(r'name="token" value="([0-9a-f]+)"', self.text)
        return found[1] if found else ""

    def sign_in(self, pin: str = PIN) -> str:
        self.get()
        return self.post("/sign-in", pin=pin)


@dataclass
class Served:
    gateway: GatewayCards
    stick: Stick
    page: Page
    connected: bool = True

    def visit(self) -> Visit:
        return Visit(port=self.page.port)


@contextmanager
def serving(folder: Path, *, pin: str | None = PIN) -> Iterator[Served]:
    with running(folder, settings={"poll_s": 0.2}) as gateway:
        stick = Stick(
            folder=folder / "stick", keys=folder / "data" / "bundle-keys.json", ledger=gateway.ledger,
            originals=gateway.originals,
        )  # fmt: skip
        panel = Panel(
            cards=gateway.cards, ledger=gateway.ledger, pace=Pace(), stick=stick, connected=lambda: served.connected,
            pictures_owed=lambda: 3, budget_left_bytes=lambda: 12_300_000, disk_fault=lambda: False,
            clock=gateway.clock,
        )  # fmt: skip
        page = Page(
            address="127.0.0.1", port=0, seen=panel.seen, stick=stick,
            guard=Guard(lambda: pin, gateway.clock.monotonic_s), pin_set=lambda: pin is not None,
        )  # fmt: skip
        served = Served(gateway=gateway, stick=stick, page=page)
        stop = threading.Event()
        thread = threading.Thread(target=page.run, args=(stop,), daemon=True)
        thread.start()
        wait_until(lambda: page.port > 0, lambda: "the page is not served")
        try:
            yield served
        finally:
            stop.set()
            thread.join(LIMIT_S)
        assert not thread.is_alive()


def confirm_all(gateway: GatewayCards) -> None:
    """Headquarters records and confirms everything."""
    outbox = gateway.ledger.outbox
    while outbox.pack(flush=True):
        pass
    for owed in outbox.lease(limit=1000, lease_s=60):
        outbox.sent(owed.sequence)
    highest = outbox.highest()
    said = wire.Confirmed(ledger_id=gateway.ledger.ledger_id, through=highest, highest=highest)
    gateway.ledger.confirm(said, resend_older_than_s=0)
