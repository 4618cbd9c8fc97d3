"""Registers a gateway, through the same REST interface that headquarters uses."""

import json
import ssl
import urllib.error
import urllib.request
from typing import Any, Final

from deployment.local import MODULE_ID, sas
from deployment.local.errors import LocalError
from deployment.local.state import State, read_json

_TIMEOUT_S: Final = 30
_CONFLICT: Final = 409


def provision(state: State, gateway_id: str) -> None:
    """Create the device and its module; one that exists stays as it is.

    Raises:
        LocalError: the hub cannot be reached, or refuses.
    """
    device = {"deviceId": gateway_id, "capabilities": {"iotEdge": True}}
    module = {"deviceId": gateway_id, "moduleId": MODULE_ID, "managedBy": "iotEdge"}
    request(state, "PUT", f"/devices/{gateway_id}", device, allow=_CONFLICT)
    request(state, "PUT", f"/devices/{gateway_id}/modules/{MODULE_ID}", module, allow=_CONFLICT)


def request(state: State, method: str, path: str, body: Any = None, *, allow: int = 0) -> Any:
    """Ask the hub of this state folder as its owner; returns decoded JSON, or None for a status in ``allow``.

    Raises:
        LocalError: the hub cannot be reached, or refuses.
    """
    hub = read_json(state.folder("hub") / "hub.json", "start the hub first")
    policy = dict(part.split("=", 1) for part in hub["iot_hub"].split(";"))
    token = sas.token(
        policy["HostName"], policy["SharedAccessKey"], lifetime_s=60, policy=policy["SharedAccessKeyName"]
    )
    asked = urllib.request.Request(  # noqa: S310 - our own address
        hub["https"] + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": token, "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(  # noqa: S310 - our own address
            asked, timeout=_TIMEOUT_S, context=ssl.create_default_context(cafile=hub["ca"])
        ) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as exc:
        if exc.code == allow:
            return None
        raise LocalError(f"the hub refused {method} {path}: {exc.code} {exc.read().decode(errors='replace')}") from exc
    except OSError as exc:
        raise LocalError(f"the hub at {hub['https']} cannot be reached: {exc}") from exc
