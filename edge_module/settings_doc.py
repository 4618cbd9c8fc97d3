"""docs/settings.md, made from the settings' schema: ``python -m edge_module.settings_doc``."""

from collections.abc import Sequence

from edge_module.settings import ENVIRONMENT_PREFIX, SCHEMA, Setting

_HEAD = f"""\
# Settings of the gateway

Made from `edge_module/settings.py` by `make docs`. A later source overrides an earlier one:

1. the defaults here,
2. a YAML file (`--settings FILE`) of `setting: value` lines,
3. environment variables: `{ENVIRONMENT_PREFIX}` and the name in capitals, such as `{ENVIRONMENT_PREFIX}EVENT_GAP_S`,
4. the desired properties under `settings` in the device twin; a null there resets a setting.

Faults are named all at once, and nothing of a faulty patch applies. `python -m edge_module check-config` shows what is
in force.

The twin's reported properties say what became of a patch, in the form of IoT Plug and Play: under `settings`, for each
name, `value` (what is in force; of a secret only whether it is set), `ac` (200 applied, 400 refused), `av` (the version
of the desired properties) and `ad` (in words); under `settings_fault` every fault of the last patch, none while there
is none. What applied last is kept on the disk and holds after a start without a network. `docs/settings.dtdl.json` has
the same for machines.

| setting | default | allowed | in the twin | what it is for |
|---|---|---|---|---|
"""


def markdown(schema: Sequence[Setting]) -> str:
    """The page."""
    return _HEAD + "".join(_row(setting) for setting in schema)


def _row(setting: Setting) -> str:
    default = "" if setting.default is None else setting.default
    twin = "yes" if setting.twin else "no"
    return f"| `{setting.name}` | {default} | {setting.allowed} | {twin} | {setting.doc} |\n"


if __name__ == "__main__":
    print(markdown(SCHEMA), end="")  # noqa: T201
