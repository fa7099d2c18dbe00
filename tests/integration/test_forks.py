"""A process that a job forks is a plain process: it ends when it should, and is no second worker."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.integration.conftest import workers_ready
from tests.support.gearmand import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

JOBS = "tests.integration.forking_jobs"


def result(client, name: str, *args: object):
    return client.using(wait=60).submit_job(f"{JOBS}.{name}", args=list(args)).result


@pytest.fixture
def worker(launch, own_gearmand):
    worker = launch("gearman_worker")
    workers_ready(own_gearmand, 1)
    return worker


def test_each_of_300_pools_ends_at_once(worker, client):
    started = time.monotonic()
    for _ in range(10):
        assert result(client, "pools", "fork", 30) == [2, 4]
    assert time.monotonic() - started < 120
    assert "Traceback" not in worker.output


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_pools_of_the_other_methods_end(worker, client, method):
    assert result(client, "pools", method, 1) == [2, 4]


def test_an_executor_of_processes_ends(worker, client):
    assert result(client, "executor") == [2, 4]


@pytest.mark.parametrize("how", ["terminate", "SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGALRM"])
def test_a_signal_ends_a_child(worker, client, how):
    number = getattr(signal, "SIGTERM" if how == "terminate" else how)
    assert [result(client, "terminated", how) for _ in range(3)] == [-number] * 3


@pytest.mark.parametrize(
    ("how", "code", "text"),
    [
        ("returns", 0, ""),
        ("raises", 1, "ValueError: in the child"),
        ("exits", 7, ""),
        ("says", 1, "farewell"),
    ],
)
@pytest.mark.parametrize("job", ["escaping", "escaping_async"])
def test_a_child_that_comes_back_is_not_a_worker(
    worker, client, own_gearmand, trail, job, how, code, text
):
    child, ended_with = result(client, job, how)

    assert ended_with == code
    assert trail() == [f"child{child}"]
    assert text in worker.output
    assert own_gearmand.totals()["tests.integration.mark"][2] == 1
    assert client.submit_job("tests.integration.mark", 1, poll_timeout=30).result == 1


def test_a_child_of_a_thread_is_not_a_worker(worker, client, own_gearmand):
    _, code = result(client, "escaping_from_a_thread")
    assert code == 0
    assert own_gearmand.totals()["tests.integration.mark"][2] == 1


def test_a_child_has_no_connection_of_the_worker(worker, client):
    assert result(client, "connections_of_a_child") == 0


@pytest.mark.parametrize("how", ["fork", "fork of C", "popen", "spawn"])
def test_a_job_is_given_to_another_worker_although_what_it_started_keeps_running(
    launch, client, own_gearmand, trail, how
):
    worker = launch("gearman_worker")
    workers_ready(own_gearmand, 1)
    client.submit_job(f"{JOBS}.dies_with_a_grandchild", how, background=True)
    try:
        wait_until(lambda: "WorkerDied" in worker.output, "three processes have died of it")
        wait_until(
            lambda: own_gearmand.totals()[f"{JOBS}.dies_with_a_grandchild"][0] == 0, "it is gone"
        )
        workers_ready(own_gearmand, 1)
        assert trail().count("run") == 3
    finally:
        for mark in trail():
            if mark.startswith("grandchild"):
                number = int(mark.removeprefix("grandchild"))
                assert Path(f"/proc/{number}").exists(), "it should have lived on"
                os.kill(number, signal.SIGKILL)
