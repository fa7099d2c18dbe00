"""The page of `gearman_worker --metrics`, with real workers that end in all ways."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.gearmand import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

JOB = "tests.contrib.integration.observed"
QUICK_FILES = re.compile(r"(counter|histogram|gauge_\w+)(_jobs)?_slot[0-9]+\.db")


@pytest.fixture(params=["sqlite"])
def vendor(request) -> str:
    return request.param


@pytest.fixture
def values(project, tmp_path) -> Path:
    """The directory in which the supervisors of this test make theirs."""
    made = tmp_path / "values"
    made.mkdir()
    project.set(TMPDIR=str(made))
    return made


class Page:
    """The page of a worker, as its log names it."""

    def __init__(self, project: Any, *arguments: str) -> None:
        self.project = project
        self.worker = project.worker("--metrics", "127.0.0.1:0", *arguments)
        self.address = ""
        wait_until(lambda: "ready: " in self.output or self.worker.poll(), "the worker")
        [self.address] = re.findall(r"metrics at (http://[^/]+)/metrics", self.output)

    @property
    def output(self) -> str:
        return self.project.output(self.worker)

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        request = urllib.request.Request(self.address + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def families(self) -> Mapping[str, Metric]:
        status, text = self.get("/metrics")
        assert status == 200, text
        return {each.name: each for each in text_string_to_metric_families(text)}

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples with these labels."""
        return sum(
            sample.value
            for family in self.families().values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.worker.pid}/task/{self.worker.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def workers(self) -> list[int]:
        return [pid for pid in self.children() if _name(pid) != "attendant"]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def files(values: Path) -> Iterator[str]:
    for directory in values.glob("django-gearman-metrics-*"):
        yield from (entry.name for entry in directory.iterdir())


def test_sums_are_right_although_processes_end_in_all_ways(project, values):
    page = Page(project, "-w", "4", "--max-jobs", "10")
    deaths, jobs = 6, 600
    project.python(f"observed.enqueue_many([0.002] * {jobs})")

    killed: set[int] = set()
    while page.value("gearman_process_deaths_total", reason="SIGKILL") < deaths:
        pid = wait_until(lambda: [each for each in page.workers() if each not in killed], "one")[0]
        killed.add(pid)
        with suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(project.lines()) >= jobs and not _left(page), "the end of all jobs")

    # A process that dies may take the count of a few ended runs with it, but no run is counted twice.
    # One that was about to end by itself has not died.
    kills = len(killed)
    runs = len(project.lines())
    ended = page.value("gearman_jobs_total")
    assert runs - 26 * kills <= ended <= runs + kills, "results are written 25 at a time"
    assert abs(ended - jobs) <= 26 * kills
    assert deaths <= page.value("gearman_process_deaths_total", reason="SIGKILL") <= kills
    assert page.value("observed_jobs_total") == pytest.approx(runs, abs=kills), "of the job's own"
    assert page.value("gearman_job_duration_seconds_count", job=JOB) == ended
    names = [*files(values)]
    assert all(QUICK_FILES.fullmatch(name) for name in names)
    assert len(names) <= 3 * (4 + 1) + 3, f"some 60 processes have ended: {names}"
    assert project.stop(page.worker) == 0
    assert not [*values.iterdir()], "the directory is removed"


def _left(page: Page) -> float:
    return page.value("gearman_queue_jobs") + page.value("gearman_jobs_running")


def test_counters_and_the_page_survive_a_reload(project, values):
    page = Page(project, "-w", "2")
    project.python("for _ in range(20): observed.do_background(0)")
    wait_until(lambda: page.value("gearman_jobs_total", outcome="success") == 20, "20 runs")
    before = page.workers()

    page.worker.send_signal(signal.SIGHUP)

    def is_over() -> bool:
        assert page.value("gearman_jobs_total") >= 20, "it never falls"
        return "Reloaded" in page.output and not {*before} & {*page.workers()}

    wait_until(is_over, "new processes", 60)
    project.python("for _ in range(5): observed.do_background(0)")
    wait_until(lambda: page.value("gearman_jobs_total", outcome="success") == 25, "25 runs")
    assert page.output.count("metrics at") == 2
    assert len([*values.iterdir()]) == 1
    assert project.stop(page.worker) == 0
    assert not [*values.iterdir()]


def test_health_and_readiness(project, values, own_gearmand):
    page = Page(project, "-w", "2")
    assert page.get("/healthz") == (200, "ok\n")
    assert page.get("/readyz") == (200, "2 processes are serving\n")

    own_gearmand.kill()

    wait_until(
        lambda: page.get("/readyz") == (503, "0 of 2 processes are serving\n"), "no server", 60
    )
    assert page.get("/healthz") == (200, "ok\n")
    assert page.value("gearman_server_up") == 0
    os.kill(page.worker.pid, signal.SIGSTOP)
    assert page.get("/healthz")[0] == 503
    began = time.monotonic()
    assert page.get("/metrics")[0] == 200, "of what can be known"
    assert time.monotonic() - began < 10
    os.kill(page.worker.pid, signal.SIGCONT)
    wait_until(lambda: page.get("/healthz")[0] == 200, "it again")
    [attendant] = {*page.children()} - {*page.workers()}
    os.kill(attendant, signal.SIGKILL)
    assert page.get("/healthz") == (200, "ok\n"), "the next attendant answers"
    assert project.stop(page.worker) == 0


def test_a_submission_a_failure_and_a_store_error_of_a_job_are_counted(project, values):
    page = Page(project)
    project.python("submits.do_background()")
    wait_until(lambda: page.value("gearman_jobs_total", outcome="failure") == 1, "the failure")

    assert page.value("gearman_jobs_submitted_total", job=JOB) == 3
    assert page.value("gearman_jobs_total", job=JOB, queue="trail", outcome="success") == 3
    assert page.value("observed_jobs_total") == 4, "one in a process that a job has forked"
    assert all(QUICK_FILES.fullmatch(name) or "_strays" in name for name in files(values))
    assert page.value("gearman_store_errors_total") == 0
    assert page.value("gearman_outbox_rows") == 0
    kinds = {name: family.type for name, family in page.families().items()}
    assert kinds["gearman_jobs"] == "counter"
    assert kinds["gearman_job_wait_seconds"] == "histogram"
    labels = {
        label
        for name, family in page.families().items()
        if name.startswith("gearman")
        for sample in family.samples
        for label in sample.labels
    }
    assert not labels & {"pid", "host", "hostname", "id", "message", "worker"}
    if promtool := shutil.which("promtool"):
        lint = [promtool, "check", "metrics"]
        text = page.get("/metrics")[1]
        done = subprocess.run(lint, input=text, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
    openmetrics = page.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")[1]
    assert openmetrics.endswith("# EOF\n")
    assert project.stop(page.worker) == 0


def test_a_port_in_use_stops_the_command_before_a_process_starts(project, values):
    page = Page(project)
    address = page.address.removeprefix("http://")

    output = project.manage("gearman_worker", "--metrics", address, code=1)

    assert f"CommandError: --metrics {address}: Address already in use\n" in output
    assert "ready:" not in output
    assert len([*values.iterdir()]) == 1, "that of the first"
    assert project.stop(page.worker) == 0
