"""Databases for tests: a new, migrated one each, on SQLite and on PostgreSQL.

Use it from a ``conftest.py`` by importing the fixtures::

    from tests.databases import database_url, postgresql  # noqa: F401

A test that takes ``database_url`` runs once on each. PostgreSQL is started by the run itself, in a folder of its own;
where it is not installed (Debian's ``postgresql``), those runs are skipped and say so.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cloud_sync.database import connect
from cloud_sync.migrate import migrate

_numbers = itertools.count(1)


def _program(name: str) -> str | None:
    found = shutil.which(name)
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(debian[-1]) if debian else found


class PostgreSQL:
    """A server of this test run alone, on a unix socket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None

    def start(self) -> None:
        if self._user:
            shutil.chown(self._folder, self._user)
        data = str(self._folder / "data")
        self._run("initdb", "-D", data, "-U", "ponya", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-c listen_addresses='' -c fsync=off -c timezone=Asia/Kathmandu -k {self._folder}"
        self._run("pg_ctl", "-D", data, "-w", "-l", str(self._folder / "log"), "-o", options, "start")
        self.execute("CREATE DATABASE ponya_template")
        engine = connect(self.url("ponya_template"))
        migrate(engine)
        engine.dispose()

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")

    def restart(self) -> None:
        options = f"-c listen_addresses='' -c fsync=off -c timezone=Asia/Kathmandu -k {self._folder}"
        data = str(self._folder / "data")
        self._run("pg_ctl", "-D", data, "-w", "-l", str(self._folder / "log"), "-o", options, "start")

    def new_database(self) -> str:
        name = f"ponya_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE ponya_template")
        return self.url(name)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://ponya@/{database}?host={self._folder}"

    def execute(self, statement: str) -> None:
        with psycopg.connect(host=str(self._folder), user="ponya", dbname="postgres", autocommit=True) as connection:
            connection.execute(statement.encode())

    def _run(self, name: str, *arguments: str) -> None:
        program = _program(name)
        assert program
        done = subprocess.run(
            [program, *arguments],
            user=self._user,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        log = self._folder / "log"
        assert done.returncode == 0, f"{name}: {log.read_text() if log.exists() else done.returncode}"


@contextlib.contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    if not _program("initdb"):
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    # The folder stays short: a unix socket's path has 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="ponya-pg-", dir="/tmp"))
    server = PostgreSQL(folder)
    try:
        server.start()
        yield server
    finally:
        with contextlib.suppress(AssertionError):
            server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    with running_postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        server: PostgreSQL = request.getfixturevalue("postgresql")
        return server.new_database()
    url = f"sqlite:///{tmp_path}/hq.db"
    engine = connect(url)
    migrate(engine)
    engine.dispose()
    return url
