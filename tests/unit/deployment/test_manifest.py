"""The deployment: what `make manifest` writes does what a gateway needs, and what it refuses it names."""

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from deployment.local import MODULE_ID
from deployment.manifest import rules
from deployment.manifest.render import CREATE_OPTIONS_PIECE, ManifestError, check_layer, create_options, render
from edge_module import settings

ROOT = Path(__file__).resolve().parents[3]
SCHEMAS = ROOT.parent / "shared" / "schemas" / "iotedge"
TEMPLATE = (ROOT / "deployment.template.json").read_text()
VARIABLES = {
    "ARCH": "arm32v7",
    "REPOSITORY": "registry.example/ponya",
    "VERSION": "0.1.0",
    "REGISTRY_ADDRESS": "registry.example",
    "REGISTRY_USERNAME": "puller",
    "REGISTRY_PASSWORD": 'with "quotes" and ${braces}',
}


def agent(content: dict[str, Any]) -> dict[str, Any]:
    desired: dict[str, Any] = content["modulesContent"]["$edgeAgent"]["properties.desired"]
    return desired


def hub(content: dict[str, Any]) -> dict[str, Any]:
    desired: dict[str, Any] = content["modulesContent"]["$edgeHub"]["properties.desired"]
    return desired


def own(content: dict[str, Any]) -> dict[str, Any]:
    module: dict[str, Any] = agent(content)["modules"]["camtrap"]
    return module


def host(content: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = own(content)["settings"]["createOptions"]["HostConfig"]
    return config


def faults_of(change: Callable[[dict[str, Any]], object]) -> str:
    """What is said of the template with a change made to it."""
    template = json.loads(TEMPLATE)
    change(template)
    with pytest.raises(ManifestError) as caught:
        render(json.dumps(template), VARIABLES)
    assert all("\n" not in fault for fault in caught.value.faults)
    return str(caught.value)


# --- what it says ---


def test_the_manifest_has_the_values_and_nothing_is_left_to_fill_in() -> None:
    manifest = render(TEMPLATE, VARIABLES)
    assert own(manifest)["settings"]["image"] == "registry.example/ponya:0.1.0-arm32v7"
    credentials = agent(manifest)["runtime"]["settings"]["registryCredentials"]["ponya"]
    assert credentials["password"] == 'with "quotes" and ${braces}', "a value is a value, whatever is in it"
    del credentials["password"]
    assert "${" not in json.dumps(manifest)


def test_a_registry_that_is_public_has_no_credentials() -> None:
    manifest = render(TEMPLATE, VARIABLES | {"REGISTRY_ADDRESS": ""})
    assert agent(manifest)["runtime"]["settings"]["registryCredentials"] == {}


def test_create_options_come_in_pieces_that_edge_agent_puts_together_again() -> None:
    template = json.loads(TEMPLATE)
    wanted = own(template)["settings"]["createOptions"]
    wanted["Env"] = ["A=" + "x" * 1500]
    module = own(render(json.dumps(template), VARIABLES))
    pieces = {name: text for name, text in module["settings"].items() if name != "image"}
    assert len(pieces) > 3
    assert all(len(text) <= CREATE_OPTIONS_PIECE for text in pieces.values())
    assert all(re.fullmatch(r"createOptions(0[1-7])?", name) for name in pieces)
    assert create_options(module) == wanted


def test_the_modules_own_desired_properties_are_left_alone() -> None:
    assert set(render(TEMPLATE, VARIABLES)["modulesContent"]) == {"$edgeAgent", "$edgeHub"}


def test_the_local_page_is_published_where_the_module_serves_it() -> None:
    module = own(render(TEMPLATE, VARIABLES))
    port = next(one.default for one in settings.SCHEMA if one.name == "page_port")
    assert list(create_options(module)["HostConfig"]["PortBindings"]) == [f"{port}/tcp"]
    assert f"tcp dport {{ 53, {port} }} accept" in (ROOT / "deployment/host/files/firewall.nft").read_text()


def test_alerts_go_first_and_everything_waits_for_weeks() -> None:
    desired = hub(render(TEMPLATE, VARIABLES))
    routes = desired["routes"]
    assert "kind = 'alert'" in routes["alerts"]["route"]
    assert routes["alerts"]["priority"] < routes["telemetry"]["priority"]
    assert desired["storeAndForwardConfiguration"]["timeToLiveSecs"] >= 28 * 86400


def test_edge_hub_starts_before_the_module_and_both_system_modules_keep_their_state_on_the_host() -> None:
    desired = agent(render(TEMPLATE, VARIABLES))
    assert desired["systemModules"]["edgeHub"]["startupOrder"] < desired["modules"]["camtrap"]["startupOrder"]
    for module in desired["systemModules"].values():
        folder = module["env"]["storageFolder"]["value"]
        assert any(bind.endswith(f":{folder}") for bind in create_options(module)["HostConfig"]["Binds"])


def test_user_and_mounts_agree_with_the_image() -> None:
    dockerfile = (ROOT / "Dockerfile.arm32v7").read_text()
    options = create_options(own(render(TEMPLATE, VARIABLES)))
    assert f"\nUSER {options['User']}\n" in dockerfile
    targets = {bind.split(":")[1] for bind in options["HostConfig"]["Binds"]}
    folders = dict(re.findall(r"PONYA_(DATA_DIR|CARDS_DIR|BUNDLES_DIR)=(\S+)", dockerfile))
    assert {"DATA_DIR", "CARDS_DIR"} <= set(folders)
    assert set(folders.values()) <= targets
    must = re.search(r"PONYA_MUST_BE_MOUNTS=(\S+)", dockerfile)
    assert must
    assert set(must.group(1).split(":")) <= targets


# --- what it refuses: a line each, exit status 2, nothing written ---


@pytest.mark.parametrize("name", [name for name in VARIABLES if name != "ARCH"])
def test_a_missing_variable_is_named(name: str) -> None:
    variables = {key: value for key, value in VARIABLES.items() if key != name}
    with pytest.raises(ManifestError, match=re.escape(f"${{{name}}} is not set")):
        render(TEMPLATE, variables)


def to_nowhere(template: dict[str, Any]) -> None:
    hub(template)["routes"]["alerts"]["route"] = "FROM /messages/modules/camtrap/outputs/telemetry INTO $upsteam"


def from_no_output(template: dict[str, Any]) -> None:
    hub(template)["routes"]["alerts"]["route"] = "FROM /messages/modules/camtrap/outputs/alerts INTO $upstream"


def from_no_module(template: dict[str, Any]) -> None:
    hub(template)["routes"]["alerts"]["route"] = "FROM /messages/modules/cam/outputs/telemetry INTO $upstream"


def to_no_module(template: dict[str, Any]) -> None:
    hub(template)["routes"]["more"] = {
        "route": 'FROM /messages/modules/camtrap/outputs/telemetry INTO BrokeredEndpoint("/modules/blur/inputs/in")'
    }


def without_the_rest(template: dict[str, Any]) -> None:
    del hub(template)["routes"]["telemetry"]


def too_soon_forgotten(template: dict[str, Any]) -> None:
    hub(template)["storeAndForwardConfiguration"]["timeToLiveSecs"] = 7200


def oversize(template: dict[str, Any]) -> None:
    own(template)["settings"]["createOptions"]["Env"] = ["A=" + "x" * 4096]


def as_root(template: dict[str, Any]) -> None:
    own(template)["settings"]["createOptions"]["User"] = "0:0"


def privileged(template: dict[str, Any]) -> None:
    host(template)["Privileged"] = True


def capable(template: dict[str, Any]) -> None:
    host(template)["CapDrop"] = []


def writable_root(template: dict[str, Any]) -> None:
    host(template)["ReadonlyRootfs"] = False


def writable_cards(template: dict[str, Any]) -> None:
    host(template)["Binds"][0] = "/media/cards:/media/cards:rslave"


def no_later_mounts(template: dict[str, Any]) -> None:
    host(template)["Binds"][0] = "/media/cards:/media/cards:ro"


def no_data(template: dict[str, Any]) -> None:
    host(template)["Binds"].pop()


def data_on_the_root(template: dict[str, Any]) -> None:
    host(template)["Binds"][-1] = "/srv/ponya:/data"


def unbounded_log(template: dict[str, Any]) -> None:
    del host(template)["LogConfig"]


def own_twin(template: dict[str, Any]) -> None:
    template["modulesContent"]["camtrap"] = {"properties.desired": {"settings": {}}}


def no_module(template: dict[str, Any]) -> None:
    del agent(template)["modules"]["camtrap"]


def no_tag(template: dict[str, Any]) -> None:
    own(template)["settings"]["image"] = "registry.example/ponya"


def no_restart(template: dict[str, Any]) -> None:
    own(template)["restartPolicy"] = "sometimes"


def too_large(template: dict[str, Any]) -> None:
    own(template)["env"] = {f"V{number}": {"value": "x" * 4000} for number in range(9)}


def bad_key(template: dict[str, Any]) -> None:
    own(template)["env"] = {"a.b": {"value": "x"}}


def unknown_setting(template: dict[str, Any]) -> None:
    own(template)["env"] = {"PONYA_EVENT_GAP": {"value": "60"}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (unknown_setting, "modules.camtrap.env: 'event_gap': no such setting"),
        (to_nowhere, "routes.alerts: goes to $upsteam, which is nowhere"),
        (from_no_output, "routes.alerts: camtrap has no output alerts; it has telemetry"),
        (from_no_module, "routes.alerts: comes from module cam, which is not deployed"),
        (to_no_module, "routes.more: goes to module blur, which is not deployed"),
        (without_the_rest, "match no route and would be dropped"),
        (too_soon_forgotten, "storeAndForwardConfiguration.timeToLiveSecs: 7200: must be at least"),
        (oversize, "modules.camtrap.settings.createOptions: "),
        (as_root, "User: '0:0': must be '10001:10001', as in the image"),
        (privileged, "HostConfig.Privileged"),
        (capable, "HostConfig.CapDrop"),
        (writable_root, "HostConfig.ReadonlyRootfs"),
        (writable_cards, "/media/cards needs the options ro,rslave"),
        (no_later_mounts, "/media/cards needs the options ro,rslave"),
        (no_data, "nothing is bound to /data"),
        (data_on_the_root, "/srv/ponya is not below /data/: it would be gone after a restart"),
        (unbounded_log, "HostConfig.LogConfig"),
        (own_twin, "modulesContent.camtrap: a base deployment must not hold a module's desired properties"),
        (no_module, "modules: camtrap is missing"),
        (no_tag, "must be an image with a tag"),
        (no_restart, "restartPolicy: 'sometimes'"),
        (too_large, "bytes of desired properties, 32768 are allowed"),
        (bad_key, "a key must not hold"),
    ],
)
def test_what_would_not_work_is_named(change: Callable[[dict[str, Any]], object], said: str) -> None:
    assert said in faults_of(change)


@pytest.mark.parametrize("template", ["", "{", "[]", "{}", '{"modulesContent": {"$edgeAgent": {}}}'])
def test_what_is_no_template_is_refused_in_a_line(template: str) -> None:
    with pytest.raises(ManifestError) as caught:
        render(template, VARIABLES)
    assert len(caught.value.faults) == 1


# --- layers ---


@pytest.mark.parametrize("layer", sorted((ROOT / "deployment" / "layers").glob("*.json")), ids=lambda path: path.stem)
def test_the_layers_that_come_along_are_fine(layer: Path) -> None:
    check_layer(layer.read_text())


def layer_with(path: str, value: object, module: str = "camtrap") -> str:
    return json.dumps({"modulesContent": {module: {path: value}}})


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (layer_with("properties.desired.settings", {"event_gap": 60}), "'event_gap': no such setting"),
        (layer_with("properties.desired.settings", {"event_gap_s": -1}), "event_gap_s: '-1' is not allowed"),
        (layer_with("properties.desired.settings", {"data_dir": "/"}), "data_dir: cannot be set from afar"),
        (layer_with("properties.desired.settings", 5), "must be an object of settings"),
        (layer_with("properties.desired", {"settings": {}}), "would replace what headquarters has written"),
        (layer_with("properties.desired.confirmed", {}), "would replace what headquarters has written"),
        (layer_with("properties.desired.settings", {}, module="other"), "a layer writes to camtrap only"),
        ("{}", "modulesContent: is missing"),
        ("[", "is not JSON"),
    ],
)
def test_a_layer_that_would_do_harm_is_named(layer: str, said: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(said)):
        check_layer(layer)


def test_a_layer_may_set_every_setting_that_the_module_takes_from_afar() -> None:
    wanted = {one.name: one.default for one in settings.SCHEMA if one.twin and one.default is not None}
    check_layer(layer_with("properties.desired.settings", wanted))


# --- the command ---


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deployment.manifest", *words],
        cwd=ROOT, env={}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_command_writes_the_manifest_for_its_owner_alone(tmp_path: Path) -> None:
    words = [f"{name}={value}" for name, value in VARIABLES.items() if name != "ARCH"]
    done = command("--out", tmp_path / "d" / "out.json", "arm64v8", *words)
    assert (done.returncode, done.stderr) == (0, "")
    out = tmp_path / "d" / "out.json"
    assert own(json.loads(out.read_text()))["settings"]["image"].endswith(":0.1.0-arm64v8")
    assert out.stat().st_mode & 0o077 == 0


def test_the_command_names_what_is_wrong_and_writes_nothing(tmp_path: Path) -> None:
    layer = tmp_path / "layer.json"
    layer.write_text(layer_with("properties.desired.settings", {"event_gap": 60}))
    done = command("--out", tmp_path / "out.json", "--layer", layer, "arm32v7", "VERSION=1")
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    assert any("${REPOSITORY} is not set" in line for line in lines)
    assert any(line.startswith(f"error: {layer}: ") and "event_gap" in line for line in lines)
    assert not (tmp_path / "out.json").exists()


# --- Microsoft's own schemas, where they are at hand ---


@pytest.mark.skipif(not SCHEMAS.is_dir(), reason="../shared/schemas/iotedge is not here")
@pytest.mark.parametrize("which", ["template", "manifest"])
def test_the_published_schemas_accept_it(which: str) -> None:
    def load(uri: str) -> Any:
        return json.loads((SCHEMAS / uri.rsplit("/", 1)[-1]).read_text())

    registry: Any = Registry(
        retrieve=lambda uri: Resource.from_contents(load(uri), default_specification=DRAFT4)  # type: ignore[call-arg]
    )
    name, document = {
        "template": ("azure-iot-edge-deployment-template-4.0.json", json.loads(TEMPLATE)),
        "manifest": ("azure-iot-edge-deployment-2.0.json", render(TEMPLATE, VARIABLES)),
    }[which]
    validator = jsonschema.Draft4Validator(load(name), registry=registry)
    assert [error.message for error in validator.iter_errors(document)] == []
    broken = copy.deepcopy(document)
    agent(broken)["modules"]["camtrap"]["status"] = "sleeping"
    assert list(validator.iter_errors(broken)), "a schema that takes everything proves nothing"


def test_the_rules_know_the_modules_name() -> None:
    assert rules.MODULE == MODULE_ID
