"""The cloud, in small: the template holds together and gives nobody more than they need; quantities are plausible."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployment.azure.quantities import PRICES, Load, cost, quantities

ROOT = Path(__file__).resolve().parents[3]
TEMPLATE: dict[str, Any] = json.loads((ROOT / "deployment/azure/main.json").read_text())


def texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value


def expressions(value: object) -> list[str]:
    return [text for text in texts(value) if text.startswith("[") and text.endswith("]")]


def of_type(kind: str) -> dict[str, Any]:
    (found,) = [one for one in TEMPLATE["resources"] if one["type"] == kind]
    assert isinstance(found, dict)
    return found


# --- it holds together ---


def test_what_is_used_is_declared_and_what_is_declared_is_used() -> None:
    said = " ".join(expressions([TEMPLATE["resources"], TEMPLATE["outputs"], TEMPLATE["variables"]]))
    for kind in ("parameters", "variables"):
        assert set(re.findall(rf"{kind}\('(\w+)'\)", said)) == set(TEMPLATE[kind])


def test_expressions_are_well_formed() -> None:
    known = {
        "parameters", "variables", "resourceId", "subscriptionResourceId", "resourceGroup", "reference", "listKeys",
        "format", "guid",
    }  # fmt: skip
    for text in expressions(TEMPLATE):
        bare = re.sub(r"'[^']*'", "''", text[1:-1])
        assert bare.count("(") == bare.count(")"), text
        assert bare.count("'") % 2 == 0, text
        assert set(re.findall(r"(\w+)\(", bare)) <= known, text
        for pattern, arguments in re.findall(r"format\('([^']*)', (.*)\)", text):
            assert len(re.findall(r"\{\d\}", pattern)) <= arguments.count(",") + 1


def test_every_resource_is_named_dated_and_depends_on_what_is_there() -> None:
    types = {one["type"] for one in TEMPLATE["resources"]}
    for one in TEMPLATE["resources"]:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d(-preview)?", one["apiVersion"]), one["type"]
        assert one["name"]
        for needed in one.get("dependsOn", []):
            found = re.match(r"\[resourceId\('([\w./]+)'", needed)
            assert found
            assert found.group(1) in types
        inner = one["type"].count("/") - 1
        if inner and not one.get("scope"):
            assert one["name"].count("/") == inner, f"{one['type']}: a child's name holds its parents'"
    names = [(one["type"], one["name"]) for one in TEMPLATE["resources"]]
    assert len(names) == len(set(names))


def test_every_parameter_says_what_it_is() -> None:
    assert all(one["metadata"]["description"].endswith(".") for one in TEMPLATE["parameters"].values())


# --- least privilege ---


def test_pictures_are_never_public_and_no_account_key_opens_them() -> None:
    properties = of_type("Microsoft.Storage/storageAccounts")["properties"]
    assert properties["allowBlobPublicAccess"] is False
    assert properties["allowSharedKeyAccess"] is False
    assert properties["supportsHttpsTrafficOnly"] is True
    assert properties["minimumTlsVersion"] == "TLS1_2"


def test_headquarters_gets_two_roles_on_the_storage_account_and_nothing_wider() -> None:
    # Source: "Azure built-in roles for Storage": Blob Data Contributor, Blob Delegator.
    allowed = {"ba92f5b4-2d11-453d-a403-e96b0029c9fe", "db58b8e5-c6ad-4a2a-8342-4190687cbf4a"}
    given = [one for one in TEMPLATE["resources"] if one["type"] == "Microsoft.Authorization/roleAssignments"]
    assert all(one["scope"].startswith("[format('Microsoft.Storage/storageAccounts/{0}'") for one in given)
    roles = {re.findall(r"variables\('(\w+)'\)", one["properties"]["roleDefinitionId"])[0] for one in given}
    assert {TEMPLATE["variables"][role] for role in roles} == allowed
    assert len(given) == len(allowed)


def test_the_hub_has_policies_for_a_purpose_each_and_a_consumer_group_of_headquarters_own() -> None:
    hub = of_type("Microsoft.Devices/IotHubs")["properties"]
    rights = {one["keyName"]: one["rights"] for one in hub["authorizationPolicies"]}
    assert rights["ingest"] == "ServiceConnect"
    assert not any("DeviceConnect" in right for right in rights.values())
    assert "iothubowner" not in json.dumps(TEMPLATE)
    assert hub["minTlsVersion"] == "1.2"
    assert of_type("Microsoft.Devices/IotHubs/eventHubEndpoints/ConsumerGroups")["properties"]["name"] == "hq"


def test_no_secret_stands_in_the_outputs_or_as_a_parameter() -> None:
    assert "listKeys" not in json.dumps(TEMPLATE["outputs"])
    assert not [name for name in TEMPLATE["parameters"] if re.search("key|secret|password", name, re.IGNORECASE)]


# --- quantities ---


def test_twenty_cameras_bring_what_was_counted() -> None:
    found = quantities(Load(cameras=20))
    assert found.frames_month / 30.4 * 60 == pytest.approx(55_000)
    assert (found.gateways, found.hub_units) == (1, 1)


def test_two_thousand_cameras_bring_a_hundred_times_as_much_and_still_fit_one_unit() -> None:
    few, many = quantities(Load(cameras=20)), quantities(Load(cameras=2000))
    assert many.messages_month == pytest.approx(100 * few.messages_month, rel=0.01)
    assert many.pieces_day < 400_000 * many.hub_units
    assert many.gateways == 100


def test_a_unit_more_is_asked_for_when_one_is_full() -> None:
    found = quantities(Load(cameras=60_000))
    assert found.hub_units > 1
    assert found.pieces_day <= 400_000 * found.hub_units


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deployment.azure", *words],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_prices_are_what_one_gives(tmp_path: Path) -> None:
    prices = dict.fromkeys(PRICES, 2.0)
    (tmp_path / "prices.json").write_text(json.dumps(prices))
    done = command("20", "--prices", tmp_path / "prices.json")
    total = sum(cost(quantities(Load(cameras=20)), prices).values())
    assert done.stdout.splitlines()[-1].split()[-1] == f"{total:,.2f}"
    assert "IoT Hub" not in command("20").stdout, "no prices, no costs"


@pytest.mark.parametrize("prices", ["{}", "[]", "nonsense", '{"hub_unit_month": "dear"}'])
def test_prices_that_cannot_be_used_are_named(prices: str, tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text(prices)
    done = command("20", "--prices", tmp_path / "prices.json")
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert "hub_unit_month" in done.stderr
