"""The README's scenario, and worse, with real processes and a real gearmand."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from django_gearman.backends.base import WorkStatus
from django_gearman.exceptions import JobRaised
from gearman_example.gearman_jobs import background_counting, divide, paint, reverse
from tests.integration.conftest import Process, workers_ready
from tests.integration.gearman_jobs import hold
from tests.support.gearmand import Gearmand, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]


def test_a_worker_that_is_not_declared_says_so(launch, own_gearmand, monkeypatch):
    monkeypatch.setenv("GEARMAN_WORKERS", "-w 5 -q default")

    outside = launch("gearman_worker", "-q", "counting")
    inside = launch("gearman_worker", "-q", "default")
    workers_ready(own_gearmand, 1, "gearman_example.background_counting")
    workers_ready(own_gearmand, 1)

    assert [outside.stop(), inside.stop()] == [0, 0]
    assert "No worker in GEARMAN_WORKERS serves queue counting" in outside.output
    assert "GEARMAN_WORKERS" not in inside.output


@pytest.mark.parametrize("backend", ["gearman", "python-gearman"])
def test_the_example_runs_on_both_transports(launch, client, settings, own_gearmand, backend):
    settings.GEARMAN_BACKEND = backend
    worker = launch("gearman_worker", "-w", "4", backend=backend)
    workers_ready(own_gearmand, 4, "gearman_example.reverse")

    for number in range(1, 5):
        background_counting.do_background(number)
    assert reverse.using(wait=30).do("quick") == "kciuq"
    painting = client.submit_job(paint, 4, wait_until_complete=False)
    shown = [update.numerator for update in painting.updates(30) if isinstance(update, WorkStatus)]
    with pytest.raises(JobRaised, match="ZeroDivisionError: division by zero"):
        divide.using(wait=30).do(1, 0)

    assert shown == [1, 2, 3, 4]
    assert painting.result == "4 fences painted"
    wait_until(lambda: worker.output.count("counts 3") == 4, "four jobs have counted")
    assert f"Job server   {own_gearmand.address}  up, gearmand " in worker.output
    assert "4 processes serve all queues" in worker.output
    wait_until(lambda: "Traceback" in worker.output, "the failure is logged")
    assert worker.stop() == 0


def test_background_jobs_wait_for_a_worker(launch, client, own_gearmand, trail):
    requests = [client.dispatch_background_task("tests.integration.mark", n) for n in range(5)]
    assert all(request.complete for request in requests)

    launch("gearman_worker")

    wait_until(lambda: sorted(trail()) == ["0", "1", "2", "3", "4"], "five marks")


def test_a_worker_of_one_queue_leaves_the_others_alone(launch, client, own_gearmand):
    launch("gearman_worker", "-w", "5", "-q", "slow")
    workers_ready(own_gearmand, 5, "tests.integration.hold")

    request = client.submit_job("tests.integration.mark", 1, poll_timeout=0.5)

    assert request.timed_out
    assert own_gearmand.totals()["tests.integration.mark"][2] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_worker_finishes_the_current_job(launch, client, own_gearmand, trail, number):
    worker = launch("gearman_worker")
    client.dispatch_background_task("tests.integration.hold", 1.0)
    wait_until(lambda: trail() == ["begun"], "the job has begun")
    client.dispatch_background_task("tests.integration.mark", "next")

    assert worker.stop(number) == 0

    assert trail() == ["begun", "done"]
    assert own_gearmand.totals()["tests.integration.mark"][0] == 1, "the next job stays queued"


def test_a_killed_worker_loses_nothing(launch, client, own_gearmand, trail):
    worker = launch("gearman_worker", "-w", "2")
    workers_ready(own_gearmand, 2)
    request = client.submit_job("tests.integration.hold", 2.0, wait_until_complete=False)
    wait_until(lambda: trail() == ["begun"], "the job has begun")
    busy = wait_until(lambda: [int(p) for p in trail_pids(worker)], "the process is known")[0]

    os.kill(busy, signal.SIGKILL)

    assert request.wait(60).result == "held"
    assert trail() == ["begun", "begun", "done"]
    assert f"{busy} was killed by SIGKILL" in worker.output
    workers_ready(own_gearmand, 2)
    assert worker.stop() == 0


def trail_pids(worker: Process) -> list[str]:
    return [line.split()[1] for line in worker.output.splitlines() if line.startswith("holding ")]


def test_workers_survive_a_restart_of_the_server(launch, client, own_gearmand, trail):
    worker = launch("gearman_worker", "-w", "2")
    workers_ready(own_gearmand, 2)

    own_gearmand.kill()
    wait_until(lambda: "trying again" in worker.output, "the loss is told")
    own_gearmand.start()
    workers_ready(own_gearmand, 2)

    assert client.submit_job("tests.integration.mark", "back", poll_timeout=30).result == "back"
    assert worker.output.count(f"{own_gearmand.address} is back") == 2, worker.output
    assert worker.stop() == 0


def test_a_module_of_jobs_that_cannot_be_imported_is_an_error(launch, monkeypatch):
    monkeypatch.setenv("BROKEN_APP", "1")

    worker = launch("gearman_worker")

    assert worker.process.wait(30) != 0
    assert "no_such_module" in worker.output


def test_poisonous_workloads_do_not_stop_a_worker(launch, client, own_gearmand):
    worker = launch("gearman_worker")
    workers_ready(own_gearmand, 1)
    for noise in (b"\xff\x00\xfe", b"{", b'{"args": [1, 2, 3], "kwargs": {}}', b""):
        run = gearman(own_gearmand, "-f", "tests.integration.mark", input=noise)
        assert run.returncode == 1, "the job should have failed"

    assert client.submit_job("tests.integration.mark", "fine", poll_timeout=30).result == "fine"
    assert worker.output.count("Traceback") >= 4
    assert worker.stop() == 0


# The C client, as a foreign client and as a foreign worker


def gearman(server: Gearmand, *arguments: str, input: bytes = b"") -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(shutil.which("gearman")), "-h", "127.0.0.1", "-p", str(server.port), *arguments],
        input=input,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_a_c_client_runs_our_jobs(launch, own_gearmand):
    launch("gearman_worker")
    workers_ready(own_gearmand, 1)

    run = gearman(own_gearmand, "-f", "gearman_example.reverse", input=b'"hello"')

    assert (run.returncode, run.stdout) == (0, b'"olleh"')


def test_a_c_client_learns_why_our_job_failed(launch, own_gearmand):
    launch("gearman_worker")
    workers_ready(own_gearmand, 1)

    run = gearman(own_gearmand, "-f", "gearman_example.divide", input=b'{"args":[1,0],"kwargs":{}}')

    assert run.returncode == 1
    assert b"ZeroDivisionError" in run.stderr


@contextmanager
def c_worker(server: Gearmand, function: str, *command: str) -> Iterator[None]:
    worker = subprocess.Popen(
        [
            str(shutil.which("gearman")),
            *("-h", "127.0.0.1", "-p", str(server.port), "-w", "-f", function, "--", *command),
        ]
    )
    try:
        yield
    finally:
        worker.kill()
        worker.wait()


def test_a_c_worker_runs_our_submissions(client, own_gearmand):
    with c_worker(own_gearmand, "c.count", "wc", "-c"):
        raw = client.using(serializer="raw", wait=30)
        assert raw.submit_job("c.count", b"12345").result.strip() == b"5"
        assert client.submit_job("c.count", "x", poll_timeout=30).result == 3  # quotes, too


def test_a_c_worker_that_fails_is_a_failed_job(client, own_gearmand):
    with c_worker(own_gearmand, "c.false", "false"):
        request = client.submit_job("c.false", 1, poll_timeout=30)
        assert (request.state, request.timed_out) == ("FAILED", False)


def test_one_of_two_servers_is_enough(launch, settings, client, own_gearmand):
    with Gearmand() as other:
        settings.GEARMAN_SERVERS = [other.address, own_gearmand.address]
        launch("gearman_worker")
        workers_ready(own_gearmand, 1)
        other.kill()

        results = [
            client.submit_job("tests.integration.mark", n, poll_timeout=30).result for n in range(8)
        ]

        assert results == list(range(8))


def test_a_burst_of_jobs_all_run_once(launch, client, own_gearmand, trail):
    launch("gearman_worker", "-w", "4")
    entries = [{"task": "tests.integration.mark", "data": number} for number in range(2000)]

    started = time.monotonic()
    client.submit_multiple_jobs(entries, background=True)

    wait_until(lambda: len(trail()) == 2000, "2,000 marks", 60)
    assert sorted(map(int, trail())) == list(range(2000))
    assert time.monotonic() - started < 60


def test_a_call_that_is_no_longer_awaited_keeps_no_thread(client):
    async def call() -> None:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(hold.ado(0), 0.2)  # which nobody runs

    loop = threading.Thread(target=asyncio.run, args=[call()], daemon=True)
    loop.start()
    loop.join(20)

    assert not loop.is_alive(), "the loop waits for a thread that waits for the job"
