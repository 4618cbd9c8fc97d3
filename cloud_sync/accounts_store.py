"""Every SQL statement on accounts and on who is signed in."""

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, delete, insert, select, update

from cloud_sync import accounts, schema
from cloud_sync.accounts import Account, Role
from cloud_sync.database import StoreRefusedError, transaction
from edge_module.errors import ConfigError

_accounts = schema.accounts
_sessions = schema.web_sessions


class AccountsStore:
    """Accounts in headquarters' database. Every method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, name: str, role: Role) -> str:
        """Make an account.

        Returns:
            Its one-time password, which is stored nowhere.

        Raises:
            ConfigError: the name cannot be used, or is taken.
            StoreUnavailableError: the database is away.
        """
        password = accounts.one_time_password()
        row = {
            "name": accounts.checked_name(name),
            "role": role.value,
            "password_hash": accounts.hashed(password),
            "must_change": True,
            "created_at": datetime.now(UTC),
        }
        try:
            with transaction(self._engine) as connection:
                connection.execute(insert(_accounts), [row])
        except StoreRefusedError as exc:
            raise ConfigError(
                [f"there is an account {name} already: `account reset {name}` for a new password"]
            ) from exc
        return password

    def reset(self, name: str) -> str:
        """Give an account a new one-time password, and sign it out everywhere.

        Raises:
            ConfigError: there is no such account.
        """
        password = accounts.one_time_password()
        with transaction(self._engine) as connection:
            values = {"password_hash": accounts.hashed(password), "must_change": True}
            changed = connection.execute(update(_accounts).where(_accounts.c.name == name).values(**values))
            connection.execute(delete(_sessions).where(_sessions.c.name == name))
        if not changed.rowcount:
            raise ConfigError([f"there is no account {name[:80]!r}"])
        return password

    def remove(self, name: str) -> None:
        """Remove an account, and sign it out everywhere.

        Raises:
            ConfigError: there is no such account.
        """
        with transaction(self._engine) as connection:
            connection.execute(delete(_sessions).where(_sessions.c.name == name))
            removed = connection.execute(delete(_accounts).where(_accounts.c.name == name))
        if not removed.rowcount:
            raise ConfigError([f"there is no account {name[:80]!r}"])

    def all(self) -> list[Account]:
        """Every account, by name."""
        query = select(_accounts.c.name, _accounts.c.role, _accounts.c.must_change).order_by(_accounts.c.name)
        with transaction(self._engine, writing=False) as connection:
            return [_account(*row) for row in connection.execute(query)]

    def sign_in(self, name: str, password: str, *, lasts: timedelta) -> str | None:
        """Sign somebody in.

        Returns:
            The token that stands for it, of which only the SHA-256 is stored; None if name and password do not match.
        """
        query = select(_accounts.c.password_hash).where(_accounts.c.name == name)
        with transaction(self._engine, writing=False) as connection:
            password_hash = connection.execute(query).scalar()
        if not accounts.matches(password_hash, password):
            return None
        token, now = secrets.token_urlsafe(32), datetime.now(UTC)
        row = {"token_sha256": _digest(token), "name": name, "expires_at": now + lasts}
        with transaction(self._engine) as connection:
            connection.execute(delete(_sessions).where(_sessions.c.expires_at <= now))
            connection.execute(insert(_sessions), [row])
        return token

    def signed_in(self, token: str) -> Account | None:
        """Who a token stands for; None if it never did, or does no longer."""
        query = (
            select(_accounts.c.name, _accounts.c.role, _accounts.c.must_change)
            .join(_sessions, _sessions.c.name == _accounts.c.name)
            .where(_sessions.c.token_sha256 == _digest(token), _sessions.c.expires_at > datetime.now(UTC))
        )
        with transaction(self._engine, writing=False) as connection:
            row = connection.execute(query).one_or_none()
        return _account(*row) if row else None

    def sign_out(self, token: str) -> None:
        """A token stands for nobody any more."""
        with transaction(self._engine) as connection:
            connection.execute(delete(_sessions).where(_sessions.c.token_sha256 == _digest(token)))

    def change_password(self, name: str, *, old: str, new: str, token: str) -> bool:
        """Change a password, and sign the account out everywhere but here; False if the old one does not match."""
        mine = _accounts.c.name == name
        with transaction(self._engine, writing=False) as connection:
            password_hash = connection.execute(select(_accounts.c.password_hash).where(mine)).scalar()
        if not accounts.matches(password_hash, old):
            return False
        values = {"password_hash": accounts.hashed(new), "must_change": False}
        with transaction(self._engine) as connection:
            connection.execute(update(_accounts).where(mine).values(**values))
            others = (_sessions.c.name == name) & (_sessions.c.token_sha256 != _digest(token))
            connection.execute(delete(_sessions).where(others))
        return True


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _account(name: str, role: str, must_change: bool) -> Account:
    return Account(name=name, role=Role(role), must_change=must_change)
