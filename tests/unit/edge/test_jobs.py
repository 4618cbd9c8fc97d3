"""Jobs: done one after another, reported when they are over, and begun again after a power cut."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edge_module.errors import BusyError, ModelError
from edge_module.jobs import WAITING_MAX, Jobs, Work


def beat(*, allow_s: float = 0.0) -> None:
    """Nobody watches."""


class Worked:
    """Jobs in a folder, and what was reported of them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "jobs.json"
        self.reports: list[tuple[str, str]] = []
        self.begun: list[Mapping[str, Any]] = []

    def jobs(self, **does: Work) -> Jobs:
        return Jobs(path=self.path, does=does, report=lambda code, text: self.reports.append((code, text)))

    def done(self, parameters: Mapping[str, Any], _stop: threading.Event) -> str:
        self.begun.append(parameters)
        return "all is well"

    def until_over(self, jobs: Jobs) -> None:
        """Run until nothing waits."""
        stop = threading.Event()
        thread = threading.Thread(target=jobs.run, args=(stop,), kwargs={"beat": beat})
        thread.start()
        for _ in range(1200):
            if not jobs.waiting():
                break
            threading.Event().wait(0.05)
        stop.set()
        thread.join(60)
        assert not jobs.waiting()


@pytest.fixture
def worked(tmp_path: Path) -> Worked:
    return Worked(tmp_path)


def test_a_job_is_done_and_reported_by_its_id(worked: Worked) -> None:
    jobs = worked.jobs(look=worked.done)
    job_id = jobs.ask("look", {"card_id": "a"})
    worked.until_over(jobs)
    assert worked.reports == [("job_done", f"look {job_id}: all is well")]
    assert worked.begun == [{"card_id": "a"}]


def test_the_same_that_waits_is_not_done_twice_and_only_so_much_may_wait(worked: Worked) -> None:
    jobs = worked.jobs(look=worked.done)
    ids = {jobs.ask("look", {"n": n % WAITING_MAX}) for n in range(2 * WAITING_MAX)}
    assert len(ids) == WAITING_MAX
    with pytest.raises(BusyError):
        jobs.ask("look", {"n": "one more"})
    worked.until_over(jobs)
    assert [p["n"] for p in worked.begun] == list(range(WAITING_MAX))


def test_one_that_fails_is_reported_and_the_next_is_done(worked: Worked) -> None:
    def fail(_parameters: Mapping[str, Any], _stop: threading.Event) -> str:
        raise ModelError("golden frames: panda_day_1.jpg: blank, expected panda")

    jobs = worked.jobs(fail=fail, look=worked.done)
    jobs.ask("fail", {})
    jobs.ask("look", {})
    worked.until_over(jobs)
    assert [code for code, _ in worked.reports] == ["job_failed", "job_done"]
    assert "expected panda" in worked.reports[0][1]


def test_what_was_asked_for_before_a_power_cut_is_done_after_it(worked: Worked) -> None:
    job_id = worked.jobs(look=worked.done).ask("look", {})
    worked.until_over(worked.jobs(look=worked.done))
    assert worked.reports == [("job_done", f"look {job_id}: all is well")]
    worked.until_over(worked.jobs(look=worked.done))
    assert len(worked.reports) == 1


def test_one_that_ends_the_gateway_each_time_is_given_up(worked: Worked) -> None:
    class PowerCut(BaseException):
        pass

    def cut(_parameters: Mapping[str, Any], _stop: threading.Event) -> str:
        raise PowerCut

    worked.jobs(look=cut).ask("look", {})
    for _ in range(3):
        with pytest.raises(PowerCut):
            worked.jobs(look=cut).run(threading.Event(), beat=beat)
    worked.until_over(worked.jobs(look=cut))
    ((code, text),) = worked.reports
    assert code == "job_failed"
    assert "begun 3 times" in text


def test_one_that_is_told_to_stop_is_begun_again_at_the_next_start(worked: Worked) -> None:
    stop = threading.Event()

    def stopped(_parameters: Mapping[str, Any], stop: threading.Event) -> None:
        stop.set()

    for _ in range(5):
        jobs = worked.jobs(look=stopped)
        if not jobs.waiting():
            jobs.ask("look", {})
        stop.clear()
        jobs.run(stop, beat=beat)
    worked.until_over(worked.jobs(look=worked.done))
    assert [code for code, _ in worked.reports] == ["job_done"]


@pytest.mark.parametrize("spoilt", [b"", b"{}", b"[1]", b'[{"job_id": 1}]', b"\0" * 99, b'[{"kind": "x", "y": 1}]'])
def test_a_list_that_is_spoilt_is_forgotten(worked: Worked, spoilt: bytes) -> None:
    worked.path.write_bytes(spoilt)
    assert worked.jobs(look=worked.done).waiting() == 0


def test_a_disk_that_takes_no_more_refuses_the_job(worked: Worked) -> None:
    jobs = worked.jobs(look=worked.done)
    (worked.path.parent / ".jobs.json.part").mkdir()
    with pytest.raises(OSError, match=r"."):
        jobs.ask("look", {})
    assert jobs.waiting() == 0
