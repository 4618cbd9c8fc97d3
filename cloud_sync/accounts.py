"""Accounts of people at headquarters: roles, names, passwords."""

import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from edge_module.errors import ConfigError

PASSWORD_MIN: Final = 12
PASSWORD_MAX: Final = 200
"""Characters; bounded, because hashing costs time on purpose."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,63}")
_ONE_TIME_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # none that are mistaken for another on paper
_ONE_TIME_GROUPS: Final = 4

_hasher: Final = PasswordHasher()
"""argon2id with the library's defaults (RFC 9106, low memory): 64 MB for some 50 ms."""


class Role(StrEnum):
    """What somebody may see and do."""

    COORDINATOR = "coordinator"
    """Sees exact places; changes cameras and deployments."""
    VIEWER = "viewer"
    """Sees the coarse grid; changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Somebody who may sign in.

    Args:
        must_change: the password was given by another; nothing else is allowed until it is changed.
    """

    name: str
    role: Role
    must_change: bool


def checked_name(name: str) -> str:
    """A name that an account may have.

    Raises:
        ConfigError: it may not.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError([f"account name {name[:80]!r}: 2 to 64 of a-z, 0-9, '.', '_', '-', a letter or digit first"])
    return name


def one_time_password() -> str:
    """A password to be told once: some 79 bits."""
    groups = ("".join(secrets.choice(_ONE_TIME_LETTERS) for _ in range(4)) for _ in range(_ONE_TIME_GROUPS))
    return "-".join(groups)


def fault_of_password(new: str, *, name: str, old: str) -> str:
    """Why a password cannot be taken, for people; empty if it can. Length is what counts (NIST SP 800-63B)."""
    if not PASSWORD_MIN <= len(new) <= PASSWORD_MAX:
        return f"A password has {PASSWORD_MIN} to {PASSWORD_MAX} characters; a sentence is fine."
    if new == old:
        return "This is the password you have; choose another."
    if name in new.lower() and len(new) < PASSWORD_MIN + len(name):
        return "Do not build the password around your name."
    if len(set(new)) < PASSWORD_MIN // 2:
        return "Too few different characters."
    return ""


def hashed(password: str) -> str:
    """What is stored of a password."""
    return _hasher.hash(password)


@cache
def _nobodys() -> str:
    return hashed(secrets.token_hex())


def matches(password_hash: str | None, password: str) -> bool:
    """Whether a password is the one that was hashed; takes as long where there is no such account (None)."""
    if len(password) > PASSWORD_MAX:
        return False
    try:
        return _hasher.verify(password_hash or _nobodys(), password) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False
