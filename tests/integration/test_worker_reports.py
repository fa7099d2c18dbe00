"""A worker's words about itself: at its start, when it loads new code, and at its end."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from django_gearman.testing.gearmand import free_port
from tests.integration.conftest import Process, workers_ready
from tests.integration.test_output import messages, records
from tests.support.gearmand import wait_until
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

JSON = "--log-format", "json"
JOBS = "tests.integration"
FAIL, CRASH = f"{JOBS}.raise_text", f"{JOBS}.poison_without_retries"


def stopped(worker: Process) -> list[int]:
    """Stop a worker; return the numbers of done, failed and retried jobs that it reports."""
    assert worker.stop() == 0
    [line] = [line for line in worker.output.splitlines() if "Stopped: " in line]
    found = re.search(r"Stopped: (\d+) jobs? done, (\d+) failed, (\d+) retried in [\d.]+ ", line)
    assert found, line
    return [int(number) for number in found.groups()]


def test_an_idle_worker_says_that_it_has_stopped(launch, own_gearmand):
    worker = launch("gearman_worker")
    workers_ready(own_gearmand, 1)

    assert stopped(worker) == [0, 0, 0]


def test_a_worker_counts_the_jobs_of_all_processes_and_of_replaced_ones(
    launch, client, own_gearmand
):
    worker = launch("gearman_worker", "-w", "2", "--max-jobs", "3", "--prefetch", "0")
    workers_ready(own_gearmand, 2)

    for n in range(20):
        client.submit_job(f"{JOBS}.mark", n, background=True)
    assert client.submit_job(FAIL, 1, poll_timeout=30).state == "FAILED"
    wait_until(lambda: not own_gearmand.totals()[f"{JOBS}.mark"][0], "all jobs are done")
    wait_until(lambda: not own_gearmand.totals()[FAIL][0], "all jobs are done")

    assert stopped(worker) == [20, 1, 0]


def test_a_job_that_crashes_its_process_is_counted(launch, client, own_gearmand):
    worker = launch("gearman_worker")
    workers_ready(own_gearmand, 1)

    request = client.submit_job(CRASH, poll_timeout=60)

    assert request.state == "FAILED"
    wait_until(lambda: not own_gearmand.totals()[CRASH][0], "it has failed")
    assert stopped(worker) == [0, 1, 0]


def test_interrupted_jobs_are_reported(launch, client, own_gearmand, trail):
    worker = launch("gearman_worker")
    workers_ready(own_gearmand, 1)
    client.submit_job(f"{JOBS}.hold", 60, background=True)
    wait_until(lambda: trail() == ["begun"], "it runs")

    worker.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "stopping: waiting for" in worker.output, "it stops")
    worker.process.send_signal(signal.SIGTERM)
    worker.process.wait(30)

    assert "0 retried in " in worker.output
    assert "1 interrupted, to run again on another worker" in worker.output


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A settings module that a test can change between two releases."""
    path = tmp_path / "changing_settings.py"
    path.write_text("from tests.integration.settings import *\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return path


@pytest.mark.parametrize("arguments", [[], JSON], ids=["text", "json"])
def test_a_reload_is_one_line_with_the_changes(
    launch, client, own_gearmand, project, tmp_path, arguments
):
    worker = launch("gearman_worker", "--settings", "changing_settings", "-w", "2", *arguments)
    workers_ready(own_gearmand, 2)
    client.submit_job(f"{JOBS}.mark", 1, poll_timeout=30)
    more = tmp_path / "more"
    more.mkdir()
    (more / "__init__.py").touch()
    (more / "gearman_jobs.py").write_text(
        "from django_gearman import gearman_job\n\n@gearman_job\ndef extra(): ...\n"
    )
    project.write_text("from tests.integration.settings import *\nINSTALLED_APPS += ['more']\n")

    worker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "Reloaded: " in worker.output, "the new code runs")
    workers_ready(own_gearmand, 2, "more.extra")
    workers_ready(own_gearmand, 2)

    assert worker.output.count("Reloaded: ") == 1
    assert "1 added (more.extra); replacing 2 processes one by one" in worker.output
    assert worker.output.count(", settings changing_settings") == 1, "the banner stands once"
    assert stopped(worker) == [1, 0, 0]
    if arguments:
        records(worker)


def test_each_line_of_a_life_is_json(launch, client, own_gearmand, project, tmp_path):
    worker = launch("gearman_worker", *JSON, "--settings", "changing_settings", "-v", "2")
    workers_ready(own_gearmand, 1)
    client.submit_job(FAIL, 1, poll_timeout=30)
    client.submit_job(CRASH, poll_timeout=60)
    workers_ready(own_gearmand, 1)
    code = project.read_text()

    project.write_text("raise ValueError('no')\n")
    worker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "Reload failed" in worker.output, "the failure")
    (tmp_path / "noisy.py").write_text("print('hello\\nagain')\n")
    project.write_text(code + "INSTALLED_APPS += ['noisy']\n")
    worker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "Reloaded: " in worker.output, "the new code runs")
    own_gearmand.kill()
    wait_until(lambda: "trying again until it is back" in worker.output, "the outage")
    assert worker.stop() == 0

    levels = {str(record["level"]) for record in records(worker)}
    assert {"INFO", "WARNING", "ERROR"} <= levels
    for text in ("Job server: ", "ready: ", "exited with", "Stopped: ", "hello"):
        assert text in messages(worker)


def test_tracebacks_of_all_processes_are_json(launch, client, own_gearmand, trail):
    worker = launch("gearman_worker", *JSON, "-w", "2", "-v", "0")
    workers_ready(own_gearmand, 2)
    client.submit_job(f"{JOBS}.hold", 3, background=True)
    wait_until(lambda: trail()[:1] == ["begun"], "it runs")

    worker.process.send_signal(signal.SIGQUIT)
    wait_until(lambda: worker.output.count("traceback of") == 3, "all are shown")
    assert worker.stop() == 0

    shown = {
        str(record["message"]).partition("traceback")[0].strip(): str(record["traceback"])
        for record in records(worker)
        if "traceback of" in str(record["message"])
    }
    assert list(shown) == ["", "worker 1:", "worker 2:"], worker.output
    assert "arbiter.py" in shown[""]
    assert sum("in hold" in text for text in shown.values()) == 1


def test_a_start_without_a_server_is_json(launch, own_gearmand):
    own_gearmand.kill()
    worker = launch("gearman_worker", *JSON)
    wait_until(lambda: "trying again" in worker.output, "it has looked for the server")

    assert worker.stop() == 0
    assert f"{own_gearmand.address}  DOWN: [Errno 111] Connection refused" in messages(worker)


def test_nothing_is_written_with_v_0(launch, own_gearmand, project):
    worker = launch("gearman_worker", "-v", "0", "--settings", "changing_settings")
    workers_ready(own_gearmand, 1)

    worker.process.send_signal(signal.SIGHUP)
    pids = worker.children()
    wait_until(lambda: worker.children() and not set(pids) & set(worker.children()), "new ones")
    workers_ready(own_gearmand, 1)

    assert worker.stop() == 0
    assert worker.output == ""


@pytest.mark.parametrize("columns", [40, 80])
def test_a_worker_on_a_terminal_shows_each_job_in_a_line(client, own_gearmand, columns):
    environment = {"GEARMAN_BACKEND": "gearman", "GEARMAN_SERVERS": own_gearmand.address}
    queues = "-q", "default", "-q", "slow:2"
    with Terminal("gearman_worker", *queues, columns=columns, environment=environment) as terminal:
        terminal.wait_for(lambda text: "ready: " in text, "it is ready")
        client.submit_job(FAIL, 1, poll_timeout=30)
        terminal.wait_for(lambda text: "FAILED" in text, "the job has failed")
        terminal.send("\x03")
        assert terminal.wait() == 0

    text = terminal.text
    banner = text[: text.index("Quit with CONTROL-C")].splitlines()
    assert max(map(len, banner)) <= columns
    assert "2 processes serve queue slow only" in " ".join(text.split())
    started = next(line for line in text.splitlines() if line.endswith("[#1]"))
    assert re.match(r"\d\d:\d\d:\d\d \S+ +started", started)
    assert "  | Traceback" in text
    assert "0 jobs done, 1 failed" in " ".join(text.split())
    assert "\x1b[31;1m" in terminal.raw


def test_a_worker_on_a_terminal_respects_no_color(own_gearmand):
    environment = {
        "GEARMAN_BACKEND": "gearman",
        "GEARMAN_SERVERS": f"127.0.0.1:{free_port()}",
        "NO_COLOR": "1",
    }
    with Terminal("gearman_worker", environment=environment) as terminal:
        terminal.wait_for(lambda text: "trying again" in text, "it has looked for the server")
        terminal.send("\x03")
        terminal.wait()

    assert "DOWN" in terminal.text
    assert "\x1b" not in terminal.raw


def test_json_stays_json_on_a_terminal(own_gearmand):
    environment = {"GEARMAN_BACKEND": "gearman", "GEARMAN_SERVERS": own_gearmand.address}
    with Terminal("gearman_worker", *JSON, environment=environment) as terminal:
        terminal.wait_for(lambda text: "ready: " in text, "it is ready")
        os.kill(terminal.process.pid, signal.SIGTERM)
        terminal.wait()

    for line in terminal.text.splitlines():
        json.loads(line)
