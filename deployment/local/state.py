"""The folder everything is kept in: paths, private files, and addresses that stay the same after a restart."""

import json
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployment.local.errors import LocalError

MQTT_PORT = 8883
"""Fixed by the device SDKs."""

_SOCKET_PATH_BYTES = 107
"""Linux: sun_path is 108 bytes with its closing zero."""


@dataclass(frozen=True, slots=True)
class State:
    """Where each process keeps what it must not lose.

    Attributes:
        root: the folder given as ``--state``; made (mode 0700) where it is missing.
    """

    root: Path

    def folder(self, *parts: str) -> Path:
        """A folder below the root that only its owner may enter."""
        path = self.root.joinpath(*parts)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def gateway(self, gateway_id: str) -> Path:
        """The folder of one gateway's edge hub."""
        if not gateway_id or gateway_id.startswith(".") or "/" in gateway_id:
            raise LocalError(f"gateway id {gateway_id!r}: must not be empty, begin with a dot or contain a slash")
        return self.folder("gateways", gateway_id)


def write_private(path: Path, content: bytes | str) -> None:
    """Write a file whole or not at all, readable by its owner only (0600)."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def secret(path: Path, make_bytes: int = 32) -> str:
    """A random secret made the first time it is asked for, as hexadecimal digits."""
    if not path.exists():
        write_private(path, secrets.token_hex(make_bytes))
    return path.read_text().strip()


def read_json(path: Path, wanted: str) -> dict[str, Any]:
    """Read what another process left behind.

    Raises:
        LocalError: it has not been written yet, or is damaged. ``wanted`` says what to start first.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as exc:
        raise LocalError(f"{path} is missing: {wanted}") from exc
    except ValueError as exc:
        raise LocalError(f"{path} is not JSON ({exc}): delete it and {wanted}") from exc
    if not isinstance(content, dict):
        raise LocalError(f"{path} does not hold a JSON object: delete it and {wanted}")
    return content


def write_env(path: Path, values: dict[str, str]) -> None:
    """Write ``NAME=value`` lines: for systemd's EnvironmentFile, ``docker --env-file`` and the tests."""
    write_private(path, "".join(f"{name}={value}\n" for name, value in values.items()))


def read_env(path: Path) -> dict[str, str]:
    """Read what ``write_env`` wrote."""
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def listen(file: Path, name: str, address: str, port: int) -> socket.socket:
    """Bind a listening socket; port 0 means a free one, and the same one again after a restart.

    Args:
        file: JSON file that remembers the ports of this process.
        name: what the port is for.
        address: IP address to bind.
        port: port asked for, or 0.

    Raises:
        LocalError: the port asked for is taken.
    """
    remembered = json.loads(file.read_text()) if file.exists() else {}
    tries = [port] if port else [int(remembered.get(name, 0)), 0]
    for number in tries:
        listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, number))
        except OSError as exc:
            listener.close()
            if number:
                refusal = exc
                continue
            raise LocalError(f"cannot listen on {address} for {name}: {exc}") from exc
        listener.listen(128)
        listener.setblocking(False)  # noqa: FBT003 - the socket's own signature
        remembered[name] = listener.getsockname()[1]
        write_private(file, json.dumps(remembered))
        return listener
    raise LocalError(f"port {port} of {address}, wanted for {name}, cannot be had ({refusal}): choose another, or 0")


def mqtt_listener(file: Path, address: str) -> socket.socket:
    """Bind port 8883 of an address; ``auto`` finds a free loopback address and remembers it.

    The SDKs allow no other port, so that each edge hub of a machine needs an address of its own. Linux answers to all
    of 127.0.0.0/8.
    """
    if address != "auto":
        return listen(file, "mqtt", address, MQTT_PORT)
    remembered = json.loads(file.read_text()).get("address") if file.exists() else None
    for _ in range(20):
        candidate = (
            remembered or f"127.{64 + secrets.randbelow(128)}.{secrets.randbelow(256)}.{2 + secrets.randbelow(250)}"
        )
        remembered = None
        try:
            listener = listen(file, "mqtt", candidate, MQTT_PORT)
        except LocalError:
            continue
        write_private(file, json.dumps({**json.loads(file.read_text()), "address": candidate}))
        return listener
    raise LocalError(f"no free loopback address with port {MQTT_PORT}: give one with --address")


def socket_path(folder: Path) -> Path:
    """Where the workload API listens.

    Raises:
        LocalError: the path is too long for a unix socket.
    """
    path = (folder / "workload.sock").absolute()
    if len(os.fsencode(path)) > _SOCKET_PATH_BYTES:
        raise LocalError(f"{path}: a unix socket's path has at most {_SOCKET_PATH_BYTES} bytes; use a shorter --state")
    return path
