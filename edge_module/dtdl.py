"""docs/settings.dtdl.json: what can be set and asked from afar, for IoT Plug and Play (DTDL version 3).

Made from the schema of the settings by ``python -m edge_module.dtdl``. Telemetry stands in docs/wire.dtdl.json.
"""

import json
from typing import Any, Final

from edge_module.settings import SCHEMA, Setting

_ID: Final = "dtmi:org:ponya:camtrap:settings;1"
_KINDS: Final = {int: "long", float: "double", bool: "boolean", str: "string"}
_DESCRIPTION_MAX: Final = 512


def interface() -> dict[str, Any]:
    """The interface."""
    return {
        "@context": "dtmi:dtdl:context;3",
        "@id": _ID,
        "@type": "Interface",
        "displayName": "What is set from afar",
        "description": "Made from edge_module/settings.py; docs/settings.md has the same for people.",
        "contents": [
            {
                "@type": "Property",
                "name": "settings",
                "writable": True,
                "description": "Applies whole or not at all. A null resets. Faults: `settings_fault`, reported.",
                "schema": _object([_setting(setting) for setting in SCHEMA if setting.twin]),
            },
            {
                "@type": "Property",
                "name": "settings_fault",
                "description": "Every fault of the last patch, one a line; absent while there is none.",
                "schema": _object([_field("ac", "integer"), _field("av", "integer"), _field("ad", "string")]),
            },
            {
                "@type": "Property",
                "name": "model",
                "writable": True,
                "description": "The model to use; docs/models.md. Reported are `model_id` and `state`.",
                "schema": _object(_MODEL),
            },
            *(
                {
                    "@type": "Command",
                    "name": name,
                    "description": described,
                    **({"request": {"name": "parameters", "schema": _object(request)}} if request else {}),
                    **({"response": {"name": "answer", "schema": _object(response)}} if response else {}),
                }
                for name, (described, request, response) in _COMMANDS.items()
            ),
        ],
    }


def _setting(setting: Setting) -> dict[str, Any]:
    default = "" if setting.default is None else f" Default: {setting.default}."
    described = f"{setting.doc} Allowed: {setting.allowed}.{default}"
    schema: str | dict[str, Any] = _KINDS[setting.kind]
    if setting.choices:
        values = [{"name": choice, "enumValue": choice} for choice in setting.choices]
        schema = {"@type": "Enum", "valueSchema": "string", "enumValues": values}
    return _field(setting.name, schema, described)


def _object(fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"@type": "Object", "fields": fields}


def _field(name: str, schema: str | dict[str, Any], description: str = "") -> dict[str, Any]:
    said = {"description": description[:_DESCRIPTION_MAX]} if description else {}
    return {"name": name, **said, "schema": schema}


def _array(of: str | dict[str, Any]) -> dict[str, Any]:
    return {"@type": "Array", "elementSchema": of}


_MODEL: Final = [
    _field("request", "string", "Tells one sending from the next."),
    _field("head", _array("string"), "Slices of the text of head.json."),
    _field("head_sha256", "string"),
    _field("backbone_sha256", "string"),
    _field("backbone_url", "string", "Where the backbone is, if the gateway has to fetch it."),
    _field("backbone_bytes", "long"),
    _field("expected", _array(_object([_field("frame", "string"), _field("verdict", "string")]))),
    _field("model_id", "string", "Reported: the model in force."),
    _field("state", "string", "Reported: downloading, trying, waiting, installed, refused or rolled_back."),
]

_CARD: Final = _field("card_id", "string", "Which card; every one unless given.")
_JOB: Final = _field("job", "string", "Its id; ends in the alert job_done or job_failed.")
_COMMANDS: Final[dict[str, tuple[str, list[dict[str, Any]], list[dict[str, Any]]]]] = {
    "getStatus": ("What status telemetry says, now: its measures.", [], [_field("activity", "string")]),
    "rescanCard": ("Reads a card again.", [_CARD], [_field("card_ids", _array("string"))]),
    "uploadMedia": (
        "Has a picture sent.",
        [_field("media_id", "string"), _field("variant", "string", "crop, frame or original")],
        [_field("state", "string", "queued, stored, gone, withheld or unknown")],
    ),
    "releaseMedia": (
        "Kept originals need not be kept any more.",
        [_field("media_ids", _array("string"))],
        [_field("released", "integer"), _field("not_kept", _array("string"))],
    ),
    "retryFailed": ("Tries again at once.", [], [_field("messages", "integer"), _field("pictures", "integer")]),
    "setUploadSas": (
        "A new upload credential.",
        [_field("container_url", "string"), _field("sas", "string"), _field("expires_at", "dateTime")],
        [],
    ),
    "getLogs": (
        "The last lines of the log.",
        [_field("lines", "integer", "1 to 1,000"), _field("level", "string", "debug, info, warning or error")],
        [_field("lines", _array("string")), _field("omitted", "integer")],
    ),
    "runSelfTest": ("Golden frames, ledger and disk are tried.", [], [_JOB]),
    "reclassify": ("Scores again with the model in force.", [_CARD], [_JOB]),
    "assignCard": (
        "Headquarters has decided whose card this is.",
        [_field("card_id", "string"), _field("deployment_key", "string", "Null takes the decision back.")],
        [_field("card_id", "string"), _field("reading_id", "string"), _field("deployment_key", "string")],
    ),
}
"""docs/methods.md has them for people."""


if __name__ == "__main__":
    print(json.dumps(interface(), indent=1))  # noqa: T201
