"""Workers whose receivers hang, and whose output goes nowhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from django_gearman.exceptions import JobRaised
from tests.integration.conftest import ROOT, workers_ready
from tests.support.gearmand import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

APP = "tests.integration.opened"


def test_a_receiver_that_hangs_is_killed_at_the_jobs_hard_limit(
    launch, client, own_gearmand, trail, monkeypatch
):
    monkeypatch.setenv("OPEN", "hang_finished")
    worker = launch("gearman_worker", "-w", "2")
    workers_ready(own_gearmand, 2)

    results = [client.submit_job(f"{APP}.quick", n, poll_timeout=30).result for n in range(2)]

    assert results == [0, 1], "the outcome does not wait for receivers"
    wait_until(
        lambda: worker.output.count("killed: it exceeded its time limit") == 2, "both are killed"
    )
    workers_ready(own_gearmand, 2)
    assert trail() == ["hangs"] * 2, "the jobs have not run again"
    assert worker.stop() == 0


def test_processes_that_all_hang_in_receivers_are_not_healthy(
    launch, client, own_gearmand, trail, tmp_path, monkeypatch
):
    monkeypatch.setenv("OPEN", "hang_finished")
    file = tmp_path / "health"
    options = ("--health-file", str(file), "--grace-period", "1")
    worker = launch("gearman_worker", "-w", "2", *options)
    workers_ready(own_gearmand, 2)
    wait_until(file.exists, "the file")
    for number in range(6):  # each process may hold some
        client.dispatch_background_task("tests.integration.mark", number)
    wait_until(lambda: trail().count("hangs") == 2, "both hang")

    wait_until(lambda: time.time() - file.stat().st_mtime > 4, "the file grows old", 40)

    assert worker.stop() == 0


@pytest.mark.parametrize("second", [False, True])
def test_a_receiver_that_hangs_in_a_report_does_not_keep_the_supervisor(
    launch, client, own_gearmand, trail, monkeypatch, second
):
    monkeypatch.setenv("OPEN", "hang_failed")
    grace = "300" if second else "1"
    worker = launch("gearman_worker", "--grace-period", grace)
    request = client.submit_job("tests.integration.poison", "kill", wait_until_complete=False)
    wait_until(lambda: "hangs" in trail(), "the report hangs", 60)
    wait_until(lambda: len(worker.children()) == 2, "the worker is there again")
    children = worker.children()

    worker.process.send_signal(signal.SIGTERM)
    if second:
        wait_until(lambda: len(worker.children()) == 1, "only the report is left")
        worker.process.send_signal(signal.SIGTERM)

    assert worker.process.wait(30) == 0
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in children), "all end")
    with pytest.raises(JobRaised, match="WorkerDied"):
        print(request.wait(30).result)


def test_a_process_that_hangs_while_it_stops_is_killed_and_replaced(
    launch, client, own_gearmand, trail, monkeypatch
):
    monkeypatch.setenv("OPEN", "hang_stopping")
    worker = launch("gearman_worker", "--max-jobs", "1", "--grace-period", "1")
    for number in range(2):
        client.dispatch_background_task("tests.integration.mark", number)

    wait_until(lambda: "was killed: it did not exit in time" in worker.output, "it is killed", 60)
    wait_until(lambda: {"0", "1"} <= set(trail()), "the next job has run")

    assert worker.stop() == 0


def test_the_output_is_not_needed(client, own_gearmand, trail, tmp_path):
    command = f'exec "{sys.executable}" manage.py gearman_worker -w 2 <&- >&- 2>&-'
    worker = start(["sh", "-c", command], own_gearmand, tmp_path)
    try:
        workers_ready(own_gearmand, 2)
        assert client.submit_job("tests.integration.mark", 1, poll_timeout=30).result == 1
        worker.send_signal(signal.SIGHUP)
        time.sleep(2)
        workers_ready(own_gearmand, 2)
        assert client.submit_job("tests.integration.hold", 0, poll_timeout=30).result == "held"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        end(worker)


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("reader", ["sleeps", "gone"])
def test_output_without_a_reader_holds_nothing_up(
    client, own_gearmand, trail, tmp_path, form, reader
):
    reading, writing = os.pipe()
    options = ["-w", "2", "-v", "2", "--log-format", form]
    command = [sys.executable, "manage.py", "gearman_worker", *options]
    worker = start(command, own_gearmand, tmp_path, stdout=writing, stderr=writing)
    os.close(writing)
    try:
        workers_ready(own_gearmand, 2)
        if reader == "gone":
            os.close(reading)
        entries = [{"task": "tests.integration.mark", "data": number} for number in range(3000)]
        client.submit_multiple_jobs(entries, background=True)
        wait_until(lambda: len(trail()) == 3000, "all have run", 60)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        end(worker)
        if reader != "gone":
            os.close(reading)


def test_nohup_keeps_a_worker_from_its_terminals_end(client, own_gearmand, tmp_path):
    command = ["nohup", sys.executable, "manage.py", "gearman_worker"]
    worker = start(command, own_gearmand, tmp_path)
    try:
        workers_ready(own_gearmand, 1)
        worker.send_signal(signal.SIGHUP)
        time.sleep(1)
        assert client.submit_job("tests.integration.mark", 1, poll_timeout=30).result == 1
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        end(worker)


def start(command, server, directory, **streams) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.integration.settings",
        "GEARMAN_BACKEND": "gearman",
        "GEARMAN_SERVERS": server.address,
        "TRAIL": str(directory / "trail"),
    }
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **streams}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, **streams)


def end(worker: subprocess.Popen[bytes]) -> None:
    if worker.poll() is None:
        worker.kill()
        worker.wait()


FILES = {
    "it has 8 bytes": lambda path: path.write_text("precious"),
    "it is a symbolic link": lambda path: path.symlink_to(path.with_name("target")),
    "it is a directory": lambda path: path.mkdir(),
    "it is a named pipe": lambda path: os.mkfifo(path),
}


@pytest.mark.parametrize("message", FILES)
@pytest.mark.parametrize("check", [[], ["--check"]])
def test_a_health_file_that_is_something_else_is_refused(launch, tmp_path, message, check):
    path = tmp_path / "health"
    FILES[message](path)

    worker = launch("gearman_worker", "--health-file", str(path), *check)

    assert worker.process.wait(30) == 1
    assert f"CommandError: --health-file {path}: {message}" in worker.output
    assert os.path.lexists(path)
    if path.is_file():
        assert path.read_text() == "precious"
