"""What a deployment must hold so that a gateway does its work. Pure; a fault is a line: where, what, what to do.

Sources: "Learn how to deploy modules and establish routes" and "Properties of the IoT Edge agent and hub twins"
in Azure's documentation, IoT Hub's limits, and the image's own Dockerfile (a test compares).
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from edge_module import settings as settings_module
from edge_module.errors import ConfigError
from edge_module.hub import OUTPUT

MODULE: Final = "camtrap"
OUTPUTS: Final = {MODULE: {OUTPUT}}
USER: Final = "10001:10001"
BINDS: Final = {
    "/media/cards": {"ro", "rslave"},
    "/media/bundles": {"rslave"},
    "/data": set[str](),
}
"""Where the image has its mounts, and the options that each must have."""
CREATE_OPTIONS_MAX_CHARACTERS: Final = 4096
"""Eight pieces of 512: what edgeAgent puts together again."""
TWIN_MAX_BYTES: Final = 32 * 1024
STRING_MAX_BYTES: Final = 4096
STORE_LEAST_S: Final = 14 * 86400
"""Messages must survive weeks without a link."""
DATA_PARTITION: Final = "/data/"
"""Everything else on the gateway's root file system is gone after a restart."""

_STATUS: Final = {"running", "stopped"}
_RESTART: Final = {"always", "never", "on-failure", "on-unhealthy"}
_ROUTE: Final = re.compile(
    r"FROM\s+/messages/modules/(?P<module>[^/\s]+)/outputs/(?P<output>[^/\s]+)(\s+WHERE\s+(?P<where>.+?))?"
    r"\s+INTO\s+(?P<sink>\$upstream|BrokeredEndpoint\(\"/modules/(?P<to>[^/\"]+)/inputs/[^/\"]+\"\)|.+)",
    re.IGNORECASE | re.DOTALL,
)
_DESIRED: Final = "properties.desired"
_SUBPATH: Final = re.compile(r"properties\.desired\.(settings|deployments|model)")
_FORBIDDEN_IN_KEYS: Final = re.compile(r"[.$\s\x00-\x1f\x7f]")


def manifest_faults(content: Mapping[str, Any]) -> list[str]:
    """What is wrong with a base deployment's `modulesContent`, its create options still objects."""
    return list(_manifest_faults(content))


def _manifest_faults(content: Mapping[str, Any]) -> Iterator[str]:
    for name in content:
        if name not in ("$edgeAgent", "$edgeHub"):
            yield (
                f"modulesContent.{name}: a base deployment must not hold a module's desired properties: it would"
                " replace its whole twin; write a layer (deployment/layers)"
            )
    try:
        agent, hub = content["$edgeAgent"][_DESIRED], content["$edgeHub"][_DESIRED]
        system, modules = agent["systemModules"], agent["modules"]
        routes, store = hub["routes"], hub["storeAndForwardConfiguration"]["timeToLiveSecs"]
        both = [(f"systemModules.{name}", system[name]) for name in ("edgeAgent", "edgeHub")]
    except (KeyError, TypeError) as exc:
        yield f"modulesContent: {exc} is missing"
        return
    if MODULE not in modules:
        yield f"modules: {MODULE} is missing"
    for where, module in [*both, *((f"modules.{name}", one) for name, one in modules.items())]:
        yield from _module_faults(where, module)
    if MODULE in modules:
        yield from _own_faults(f"modules.{MODULE}", modules[MODULE])
    for name, route in routes.items():
        yield from _route_faults(f"routes.{name}", route, set(modules))
    yield from _unrouted(routes)
    if not _is_whole(store) or store < STORE_LEAST_S:
        yield f"storeAndForwardConfiguration.timeToLiveSecs: {store!r}: must be at least {STORE_LEAST_S} (two weeks)"


def _module_faults(where: str, module: Mapping[str, Any]) -> Iterator[str]:
    agent_itself = where.endswith(".edgeAgent")
    if module.get("type") != "docker":
        yield f"{where}.type: {module.get('type')!r}: must be 'docker'"
    if not agent_itself:
        for name, allowed in (("status", _STATUS), ("restartPolicy", _RESTART)):
            if module.get(name) not in allowed:
                yield f"{where}.{name}: {module.get(name)!r}: must be one of {', '.join(sorted(allowed))}"
        if not _is_whole(module.get("startupOrder")):
            yield f"{where}.startupOrder: {module.get('startupOrder')!r}: must be a whole number from 0"
    settings = module.get("settings", {})
    image = settings.get("image")
    if not isinstance(image, str) or not re.fullmatch(r"[\w.\-:/]+:[\w.\-]+(@sha256:[0-9a-f]{64})?", image):
        yield f"{where}.settings.image: {image!r}: must be an image with a tag, such as registry/ponya:0.1-arm32v7"
    options = settings.get("createOptions", {})
    if not isinstance(options, dict):
        yield f"{where}.settings.createOptions: must be an object"
        return
    size = len(json.dumps(options, separators=(",", ":")))
    if size > CREATE_OPTIONS_MAX_CHARACTERS:
        yield (
            f"{where}.settings.createOptions: {size} characters, {CREATE_OPTIONS_MAX_CHARACTERS} are allowed: move"
            " what is not about the container to `env` or to the image"
        )
    host = options.get("HostConfig", {})
    if host.get("LogConfig", {}).get("Config", {}).keys() < {"max-size", "max-file"}:
        yield f"{where}: HostConfig.LogConfig: must have max-size and max-file: logs fill the disk otherwise"
    for bind in host.get("Binds", []):
        source, _, rest = bind.partition(":")
        if not source.startswith(DATA_PARTITION) and rest.partition(":")[0] not in ("/media/cards", "/media/bundles"):
            yield f"{where}: bind {bind}: {source} is not below {DATA_PARTITION}: it would be gone after a restart"


def _own_faults(where: str, module: Mapping[str, Any]) -> Iterator[str]:
    environment = {name: one.get("value") for name, one in module.get("env", {}).items()}
    try:
        settings_module.combine((f"{where}.env", settings_module.from_environment(environment)))
    except ConfigError as exc:
        yield from exc.faults
    options = module.get("settings", {}).get("createOptions", {})
    if not isinstance(options, dict):
        return
    host = options.get("HostConfig", {})
    if options.get("User") != USER:
        yield f"{where}: User: {options.get('User')!r}: must be {USER!r}, as in the image"
    wanted = {
        "ReadonlyRootfs": (host.get("ReadonlyRootfs") is True, "must be true"),
        "CapDrop": (host.get("CapDrop") == ["ALL"], 'must be ["ALL"]'),
        "CapAdd": (not host.get("CapAdd"), "must not be there"),
        "Privileged": (not host.get("Privileged"), "must not be there"),
        "NetworkMode": (host.get("NetworkMode") != "host", "must not be the host's"),
        "SecurityOpt": ("no-new-privileges:true" in host.get("SecurityOpt", []), "must have no-new-privileges:true"),
        "Memory": (_is_whole(host.get("Memory")) and host["Memory"] > 0, "must be a limit in bytes"),
        "PidsLimit": (_is_whole(host.get("PidsLimit")) and host["PidsLimit"] > 0, "must be a limit"),
        "Tmpfs": ("/tmp" in host.get("Tmpfs", {}), "must have /tmp: the root is read-only"),  # noqa: S108
    }
    for name, (holds, what) in wanted.items():
        if not holds:
            yield f"{where}: HostConfig.{name}: {host.get(name)!r}: {what}"
    binds = {}
    for bind in host.get("Binds", []):
        _source, target, *options_of_it = f"{bind}:".split(":")[:3]
        binds[target] = {one for one in "".join(options_of_it).split(",") if one}
    for target, needed in BINDS.items():
        if target not in binds:
            yield f"{where}: HostConfig.Binds: nothing is bound to {target}, which the image needs"
        elif needed - binds[target]:
            yield f"{where}: HostConfig.Binds: {target} needs the options {','.join(sorted(needed))}"
    if "ro" in binds.get("/data", ()) or "ro" in binds.get("/media/bundles", ()):
        yield f"{where}: HostConfig.Binds: /data and /media/bundles must be writable"


def _route_faults(where: str, route: object, modules: set[str]) -> Iterator[str]:
    text = route.get("route") if isinstance(route, dict) else route
    found = _ROUTE.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        yield f"{where}: {text!r}: must be FROM /messages/modules/MODULE/outputs/OUTPUT [WHERE ...] INTO $upstream"
        return
    module, output = found["module"], found["output"]
    if module not in modules:
        yield f"{where}: comes from module {module}, which is not deployed; deployed are {', '.join(sorted(modules))}"
    elif output not in OUTPUTS.get(module, {output}):
        yield f"{where}: {module} has no output {output}; it has {', '.join(sorted(OUTPUTS[module]))}"
    if found["to"] is not None:
        if found["to"] not in modules:
            yield f"{where}: goes to module {found['to']}, which is not deployed"
    elif found["sink"].lower() != "$upstream":
        yield f"{where}: goes to {found['sink']}, which is nowhere; $upstream is IoT Hub"
    if isinstance(route, dict):
        priority, time_to_live_s = route.get("priority", 9), route.get("timeToLiveSecs", STORE_LEAST_S)
        if not _is_whole(priority) or priority > 9:  # noqa: PLR2004 - IoT Edge's own
            yield f"{where}.priority: {priority!r}: must be a whole number from 0 (first) to 9"
        if not _is_whole(time_to_live_s) or time_to_live_s < STORE_LEAST_S:
            yield f"{where}.timeToLiveSecs: {time_to_live_s!r}: must be at least {STORE_LEAST_S} (two weeks)"


def _unrouted(routes: Mapping[str, Any]) -> Iterator[str]:
    """Every message must match some route: what none takes, edgeHub drops without a word."""
    texts = [str(route.get("route") if isinstance(route, dict) else route) for route in routes.values()]
    for module, outputs in OUTPUTS.items():
        for output in outputs:
            source = f"/messages/modules/{module}/outputs/{output}"
            own = [found for text in texts if source in text and (found := _ROUTE.fullmatch(text.strip()))]
            conditions = {" ".join((found["where"] or "").split()) for found in own}
            if "" in conditions or any(f"NOT ({one})" in conditions for one in conditions):
                continue
            yield f"routes: some messages of {source} match no route and would be dropped; add one for the rest"


def twin_faults(content: Mapping[str, Any]) -> list[str]:
    """What of rendered modules' desired properties does not fit into IoT Hub's twins."""
    faults = []
    for name, twin in content.items():
        desired = twin[_DESIRED]
        size = len(json.dumps(desired, separators=(",", ":")).encode())
        if size > TWIN_MAX_BYTES:
            faults.append(f"{name}: {size} bytes of desired properties, {TWIN_MAX_BYTES} are allowed")
        faults += _value_faults(name, desired)
    return faults


def _value_faults(where: str, value: object) -> list[str]:
    if isinstance(value, dict):
        own = [
            f"{where}: {key!r}: a key must not hold '.', '$', space or control characters"
            for key in value if _FORBIDDEN_IN_KEYS.search(key)
        ]  # fmt: skip
        return own + [fault for key, one in value.items() for fault in _value_faults(f"{where}.{key}", one)]
    if isinstance(value, str) and len(value.encode()) > STRING_MAX_BYTES:
        return [f"{where}: {len(value.encode())} bytes of text, {STRING_MAX_BYTES} are allowed"]
    return []


def layer_faults(layer: object) -> list[str]:
    """What is wrong with a layered deployment: it may write sub-paths of the module's desired properties only."""
    content = layer.get("modulesContent") if isinstance(layer, dict) else None
    if not isinstance(content, dict) or not content:
        return ["modulesContent: is missing, or empty"]
    faults = []
    for module, paths in content.items():
        if module != MODULE:
            faults.append(f"modulesContent.{module}: a layer writes to {MODULE} only")
            continue
        for path, value in paths.items():
            where = f"{module}.{path}"
            if not _SUBPATH.fullmatch(path):
                faults.append(
                    f"{where}: a layer writes properties.desired.settings, .deployments or .model only: anything else"
                    " would replace what headquarters has written"
                )
                continue
            faults += _value_faults(where, value)
            if path.endswith(".settings"):
                faults += _settings_faults(where, value)
    return faults


def _settings_faults(where: str, wanted: object) -> list[str]:
    if not isinstance(wanted, dict):
        return [f"{where}: must be an object of settings"]
    local = {setting.name for setting in settings_module.SCHEMA if not setting.twin}
    faults = [f"{where}.{name}: cannot be set from afar" for name in wanted if name in local]
    try:
        settings_module.combine((where, {name: value for name, value in wanted.items() if name not in local}))
    except ConfigError as exc:
        faults += exc.faults
    return faults


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
