"""Who may do what on the page: the PIN, how often it may be guessed, sessions, and forms that come from elsewhere."""

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

_GUESSES: Final = 5
_LOCK_FIRST_S: Final = 60.0
_LOCK_LONGEST_S: Final = 900.0
_ALL_GUESSES: Final = 100
_ALL_WINDOW_S: Final = 3600.0
"""Of everybody together: who has many addresses has no more guesses. A PIN of six digits lasts for a year."""
_ADDRESSES_MAX: Final = 256
_SESSION_S: Final = 12 * 3600.0
_SESSIONS_MAX: Final = 64


@dataclass(slots=True)
class _Guesser:
    wrong: int = 0
    locked_until_s: float = 0.0


class LockedError(Exception):
    """Too many wrong PINs: not before `wait_s` have passed."""

    def __init__(self, wait_s: float) -> None:
        super().__init__()
        self.wait_s = wait_s


class Guard:
    """Keeps sessions and guesses in memory: a restart signs everybody out.

    Args:
        pin: the one in force now; None where none is set.
        monotonic_s: tells the time.
    """

    def __init__(self, pin: Callable[[], str | None], monotonic_s: Callable[[], float]) -> None:
        self._pin = pin
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._key = secrets.token_bytes(32)
        self._guessers: dict[str, _Guesser] = {}
        self._wrong_at_s: list[float] = []
        self._sessions: dict[str, tuple[float, bytes]] = {}

    def sign_in(self, given: str, address: str) -> str | None:
        """Check a PIN. Returns a session's token, or None if it is wrong.

        Raises:
            LockedError: too many wrong ones, from this address or of all.
        """
        pin, now_s = self._pin(), self._monotonic_s()
        with self._lock:
            guesser = self._guesser(address)
            self._wrong_at_s = [at_s for at_s in self._wrong_at_s if at_s > now_s - _ALL_WINDOW_S]
            if len(self._wrong_at_s) >= _ALL_GUESSES:
                raise LockedError(self._wrong_at_s[0] + _ALL_WINDOW_S - now_s)
            if guesser.locked_until_s > now_s:
                raise LockedError(guesser.locked_until_s - now_s)
            # Compared also where no PIN is set, and as digests: a wrong one takes as long as a right one.
            right = hmac.compare_digest(self._digest(given), self._digest(pin or secrets.token_hex()))
            if not right or pin is None:
                guesser.wrong += 1
                self._wrong_at_s.append(now_s)
                if guesser.wrong % _GUESSES == 0:
                    lock_s = _LOCK_FIRST_S * 2.0 ** (guesser.wrong // _GUESSES - 1)
                    guesser.locked_until_s = now_s + min(lock_s, _LOCK_LONGEST_S)
                return None
            del self._guessers[address]
            token = secrets.token_urlsafe(32)
            while len(self._sessions) >= _SESSIONS_MAX:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[token] = (now_s + _SESSION_S, self._digest(pin))
        return token

    def _guesser(self, address: str) -> _Guesser:
        while len(self._guessers) >= _ADDRESSES_MAX and address not in self._guessers:
            del self._guessers[next(iter(self._guessers))]
        return self._guessers.setdefault(address, _Guesser())

    def signed_in(self, token: str) -> bool:
        """Whether a session is in force: not too old, and by the PIN that is set now."""
        pin = self._pin()
        with self._lock:
            until_s, digest = self._sessions.get(token, (0.0, b""))
            if pin is None or self._monotonic_s() >= until_s or not hmac.compare_digest(digest, self._digest(pin)):
                self._sessions.pop(token, None)
                return False
        return True

    def sign_out(self, token: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(token, None)

    def form_token(self, visitor: str) -> str:
        """What a form of ours carries back, so that nobody else's page can send one; `visitor` is a cookie's value."""
        return hmac.new(self._key, b"form" + visitor.encode(), hashlib.sha256).hexdigest()

    def is_our_form(self, visitor: str, token: str) -> bool:
        """Whether a form came from our page to this visitor."""
        return bool(visitor) and hmac.compare_digest(self.form_token(visitor).encode(), token.encode())

    def _digest(self, pin: str) -> bytes:
        return hmac.digest(self._key, pin.encode("utf-8", "replace"), "sha256")


def is_local_host(host: str) -> bool:
    """Whether a ``Host`` header names a gateway on a local network: an address, or a name that no stranger can own.

    A page elsewhere could otherwise point its own name at this gateway and read the answers (DNS rebinding).
    """
    name = host.removeprefix("[").partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        ip_address(name)
    except ValueError:
        return "." not in name or name.lower().endswith(".local")
    return True
