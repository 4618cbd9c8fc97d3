"""`python -m cloud_sync`: what is missing or wrong is said in one line each, and nothing is started."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cloud_sync.settings import HELP, IngestSettings
from edge_module import wire
from edge_module.errors import ConfigError
from tests.cloud_messages import NOW, arrival, records

ROOT = Path(__file__).parents[3]
GOOD = {
    "PONYA_DATABASE_URL": "sqlite:///x.db",
    "IOTHUB_CONNECTION_STRING": "HostName=h;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0a2V5",
    "EVENTHUB_CONNECTION_STRING": "Endpoint=sb://h/;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0a2V5;EntityPath=e",
    "STORAGE_CONNECTION_STRING": "AccountName=a;AccountKey=c2VjcmV0a2V5;BlobEndpoint=http://127.0.0.1:1/a",
}


def run(*arguments, env=None, status=0):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PONYA", "IOTHUB", "EVENTHUB", "STORAGE"))}
    done = subprocess.run(
        [sys.executable, "-m", "cloud_sync", *arguments],
        cwd=ROOT,
        env=clean | (env or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_help_names_every_command_and_every_setting():
    said = run("--help").stdout
    for word in ("migrate", "ingest", "gateway", "export", "bundle"):
        assert word in said
    for name in GOOD:
        assert name in said


def test_what_is_missing_is_said_in_one_line_each():
    lines = run("ingest", status=2).stderr.splitlines()
    assert [line.split()[1] for line in lines] == [f"{name}:" for name in GOOD]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PONYA_CONFIRM_INTERVAL_S", "soon", "must be a number from"),
        ("PONYA_CONFIRM_INTERVAL_S", "nan", "must be a number from"),
        ("PONYA_CONFIRM_INTERVAL_S", "-1", "must be a number from"),
        ("PONYA_UPLOAD_SAS_DAYS", "8", "must be a number from 0.01 to 7"),
        ("IOTHUB_CONNECTION_STRING", "HostName=h;SharedAccessKey=c2VjcmV0a2V5", "lacks SharedAccessKeyName"),
        (
            "EVENTHUB_CONNECTION_STRING",
            "Endpoint=sb://h/;SharedAccessKey=c2VjcmV0a2V5",
            "lacks SharedAccessKeyName, EntityPath",
        ),
        ("STORAGE_CONNECTION_STRING", "c2VjcmV0a2V5", "lacks AccountName"),
        ("STORAGE_ACCOUNT_URL", "http://plain.example", "must begin with https://"),
    ],
)
def test_what_is_wrong_is_said_without_repeating_a_secret(name, value, says):
    with pytest.raises(ConfigError) as caught:
        IngestSettings.read(GOOD | {name: value})
    [fault] = caught.value.faults
    assert fault.startswith(f"{name}: ")
    assert says in fault
    assert "c2VjcmV0a2V5" not in fault


def test_what_is_not_said_has_defaults_and_help_tells_them():
    read = IngestSettings.read(GOOD)
    assert (read.confirm_interval_s, read.upload_sas_days, read.consumer_group) == (60, 7, "$Default")
    for default in ("default 60", "default 7", "default $Default", f"default {read.checkpoint_container}"):
        assert default in HELP


def test_a_database_is_migrated_before_anything_else(tmp_path):
    env = {"PONYA_DATABASE_URL": f"sqlite:///{tmp_path}/hq.db"}
    assert "python -m cloud_sync migrate" in run("gateway", "list", env=env, status=2).stderr
    run("migrate", env=env)
    run("migrate", env=env)
    assert run("gateway", "list", env=env).stdout == ""


def test_a_database_that_cannot_be_opened_is_one_line(tmp_path):
    env = {"PONYA_DATABASE_URL": f"sqlite:///{tmp_path}/no/such/folder/hq.db"}
    assert len(run("migrate", env=env, status=1).stderr.splitlines()) == 1


def test_people_judge_a_sample_and_are_told_what_is_being_missed(store, database_url, tmp_path):
    env, sheet = {"PONYA_DATABASE_URL": database_url}, tmp_path / "judged.csv"
    assert run("audit", "list", env=env).stdout.splitlines()[1:] == []
    store.take([arrival(1, records(0, 40, audit_probability=0.1)), arrival(2, records(40, 30))])
    # Scored again by another model, a picture is still one.
    store.take([arrival(3, records(0, 5, audit_probability=0.1, model_id="model-2"))])
    head, *lines = run("audit", "list", env=env).stdout.splitlines()
    assert len(lines) == 40
    sheet.write_text("\n".join([head, *lines]))
    assert "nothing is known" in run("audit", "estimate", str(sheet), env=env).stdout
    assert all(line.endswith(",") for line in lines)
    sheet.write_text("\n".join([head, *(f"{line}{'yes' if n < 2 else 'no'}" for n, line in enumerate(lines))]))
    said = run("audit", "estimate", str(sheet), env=env).stdout
    assert "40 discards were drawn, 40 looked at, 2 of them red pandas: about 20 red pandas" in said
    found = json.loads(run("audit", "estimate", str(sheet), "--json", env=env).stdout)
    assert found["lowest"] < 20 == found["estimate"] < found["highest"]


def test_a_sheet_carries_out_nothing_that_a_card_names(store, database_url):
    (record,) = records(0, 1, audit_probability=0.1).records
    formula = replace(record, path="=HYPERLINK(1)")
    store.take([arrival(1, wire.Records(records=(formula,)))])
    _, line = run("audit", "list", env={"PONYA_DATABASE_URL": database_url}).stdout.splitlines()
    assert ",'=HYPERLINK(1)," in line


def test_a_sheet_with_faults_is_refused_naming_each(store, database_url, tmp_path):
    env, sheet = {"PONYA_DATABASE_URL": database_url}, tmp_path / "judged.csv"
    store.take([arrival(1, records(0, 2, audit_probability=0.1))])
    head, first, _ = run("audit", "list", env=env).stdout.splitlines()
    sheet.write_text("\n".join([head, f"{first}perhaps", f"{'f' * 64},,,,,,,yes"]))
    lines = run("audit", "estimate", str(sheet), env=env, status=2).stderr.splitlines()
    assert "line 2: red_panda is 'perhaps'; yes, no or nothing is allowed" in lines[0]
    assert "line 3: 'ffff" in lines[1]
    sheet.write_text("media_id\n")
    assert "lacks the column red_panda" in run("audit", "estimate", str(sheet), env=env, status=2).stderr
    sheet.write_bytes(b"media_id,red_panda\n\xff\xfe")
    assert "no CSV file in UTF-8" in run("audit", "estimate", str(sheet), env=env, status=2).stderr
    assert "No such file" in run("audit", "estimate", str(tmp_path / "none.csv"), env=env, status=1).stderr


def test_observations_are_exported_whole_or_not_at_all(store, database_url, tmp_path):
    store.take([arrival(1, records(0, 30))])
    store.add_gateway("gateway-1", NOW)
    env = {"PONYA_DATABASE_URL": database_url}
    out = tmp_path / "observations.jsonl"
    run("export", "observations", "--format", "jsonl", "--out", str(out), env=env)
    assert out.read_text() == run("export", "observations", env=env).stdout
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == 30
    assert lines[0]["captured_at"] == "2026-10-31T18:15:07+00:00"
    assert lines[0]["probabilities"]["red_panda"] == 0.01
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    listed = json.loads(run("gateway", "list", "--json", env=env).stdout)
    assert listed == {"gateway_id": "gateway-1", "last_message_at": None}
