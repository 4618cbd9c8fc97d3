"""A deployment manifest from its template, and a check of layered deployments. Pure."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from deployment.manifest import rules

CREATE_OPTIONS_PIECE: Final = 512
"""Characters of create options in one twin property. IoT Edge puts `createOptions`, `createOptions01`... together."""
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z0-9_]*)\}")


class ManifestError(Exception):
    """A template or layer is wrong. Carries one line a fault: where, what, what to do."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def render(template: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """The manifest of a template.

    Args:
        template: JSON with ``${NAME}`` in its strings; create options as objects.
        variables: the names' values. Registry credentials with an empty address are left out: the registry is public.

    Raises:
        ManifestError: it is not JSON, a variable is missing, or the manifest would not do what it should.
    """
    manifest = _filled(_json(template, "the template"), variables)
    content = manifest.get("modulesContent") if isinstance(manifest, dict) else None
    if not isinstance(content, dict):
        raise ManifestError(["modulesContent: is missing, or not an object"])
    agent = content.get("$edgeAgent", {}).get("properties.desired", {})
    runtime = agent.get("runtime", {}).get("settings", {})
    credentials = runtime.get("registryCredentials", {})
    runtime["registryCredentials"] = {name: one for name, one in credentials.items() if one.get("address")}
    faults = rules.manifest_faults(content)
    if faults:
        raise ManifestError(faults)
    for modules in (agent["systemModules"], agent["modules"]):
        for module in modules.values():
            settings = module["settings"]
            settings.update(_pieces(settings.pop("createOptions", {})))
    faults = rules.twin_faults(content)
    if faults:
        raise ManifestError(faults)
    return {"modulesContent": content}


def create_options(module: Mapping[str, Any]) -> dict[str, Any]:
    """A rendered module's create options, put together again as IoT Edge does."""
    settings = module["settings"]
    return dict(json.loads("".join(settings[name] for name in sorted(settings) if name.startswith("createOptions"))))


def check_layer(text: str) -> None:
    """Check a layered deployment.

    Raises:
        ManifestError: it is not JSON, or would not do what it should.
    """
    layer = _json(text, "the layer")
    faults = rules.layer_faults(layer)
    if faults:
        raise ManifestError(faults)


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as exc:
        raise ManifestError([f"{what} is not JSON: {exc}"]) from exc


def _filled(template: Any, variables: Mapping[str, str]) -> Any:
    """The template with values for variables, in strings only: a value cannot change the structure."""
    missing: set[str] = set()

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(one) for key, one in value.items() if key != "$schema-template"}
        if isinstance(value, list):
            return [fill(one) for one in value]
        if not isinstance(value, str):
            return value
        missing.update(name for name in _VARIABLE.findall(value) if name not in variables)
        return _VARIABLE.sub(lambda found: variables.get(found.group(1), ""), value)

    filled = fill(template)
    if missing:
        raise ManifestError([f"${{{name}}} is not set: make manifest {name}=..." for name in sorted(missing)])
    return filled


def _pieces(options: object) -> dict[str, str]:
    text = json.dumps(options, separators=(",", ":"))
    pieces = [text[at : at + CREATE_OPTIONS_PIECE] for at in range(0, len(text), CREATE_OPTIONS_PIECE)]
    return {"createOptions" + (f"{number:02}" if number else ""): piece for number, piece in enumerate(pieces)}
