"""``web`` and ``account``: the pages, and who may sign in to them."""

import argparse
import os
from contextlib import closing
from typing import Any, Final

from cloud_sync import settings
from cloud_sync.accounts import Role
from cloud_sync.accounts_store import AccountsStore
from cloud_sync.commands.environment import command, store_of_environment

_PORT_MAX: Final = 65_535


def add(commands: Any) -> None:
    """Add these commands to the command line."""
    serving = command(commands, "web", _web, "serve the pages until stopped")
    serving.add_argument("--host", default="127.0.0.1", help="address to listen at, default %(default)s")
    serving.add_argument("--port", type=_port, default=8080, help="default %(default)s")

    account = commands.add_parser("account", help="who may sign in to the pages").add_subparsers(required=True)
    adding = command(account, "add", _account_add, "make an account; prints its one-time password")
    adding.add_argument("name", metavar="NAME")
    adding.add_argument("--role", choices=list(Role), required=True, help="coordinators see exact places")
    resetting = command(account, "reset", _account_reset, "give an account a new one-time password")
    resetting.add_argument("name", metavar="NAME")
    removing = command(account, "remove", _account_remove, "remove an account")
    removing.add_argument("name", metavar="NAME")
    command(account, "list", _account_list, "every account and its role")


def _web(given: argparse.Namespace) -> int:
    from cloud_sync.web import app  # noqa: PLC0415 - no other command needs Flask

    app.run(settings.WebSettings.read(os.environ, host=given.host, port=given.port), host=given.host, port=given.port)
    return 0


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _PORT_MAX):
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no port: 1 to {_PORT_MAX}")
    return int(text)


def _account_add(given: argparse.Namespace) -> int:
    with closing(store_of_environment()) as store:
        password = AccountsStore(store.engine).add(given.name, Role(given.role))
    print(f"{given.name} is a {given.role} now. One-time password, to be changed at the first sign-in:")
    print(password)
    return 0


def _account_reset(given: argparse.Namespace) -> int:
    with closing(store_of_environment()) as store:
        password = AccountsStore(store.engine).reset(given.name)
    print(f"{given.name} is signed out everywhere. New one-time password, to be changed at the next sign-in:")
    print(password)
    return 0


def _account_remove(given: argparse.Namespace) -> int:
    with closing(store_of_environment()) as store:
        AccountsStore(store.engine).remove(given.name)
    print(f"{given.name} is removed, and signed out everywhere")
    return 0


def _account_list(_given: argparse.Namespace) -> int:
    with closing(store_of_environment()) as store:
        accounts = AccountsStore(store.engine).all()
    for account in accounts:
        print(f"{account.name:<32} {account.role}{'  (has not chosen a password yet)' if account.must_change else ''}")
    return 0
