"""Callers that wait for a job without a worker."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor as ThreadPool
from contextlib import contextmanager

import pytest

from django_gearman import GearmanClient, GearmanWorker
from django_gearman.backends import get_backend
from django_gearman.client import lookout
from django_gearman.environment import Environment, replaced
from django_gearman.exceptions import JobRaised, JobTimeout
from tests.app import gearman_jobs as jobs
from tests.support.gearmand import wait_until


@pytest.fixture(
    params=["memory", pytest.param("gearman", marks=pytest.mark.gearmand)],
)
def backend(request, settings, monkeypatch):
    """A transport as in production, without workers."""
    settings.GEARMAN_BACKEND = request.param
    settings.GEARMAN_OPTIONS = {}
    if request.param == "memory":
        settings.GEARMAN_OPTIONS = {"name": request.node.nodeid}
    else:
        settings.GEARMAN_SERVERS = [request.getfixturevalue("own_gearmand").address]
    monkeypatch.setattr(lookout, "_told", {})
    with replaced(Environment()):
        yield request.param


@contextmanager
def working(number=1, queues=None, jobs_at_a_time=1):
    """Run workers in threads, each with a different name."""
    options = {"clean_connections": False, "threads": jobs_at_a_time}
    workers = [GearmanWorker(queues, name=f"worker{n}", **options) for n in range(number)]
    threads = [threading.Thread(target=worker.work) for worker in workers]
    for thread in threads:
        thread.start()
    names = {worker.client_id for worker in workers}
    wait_until(lambda: {each.client_id for each in get_backend().workers()} >= names, "the workers")
    try:
        yield
    finally:
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join(30)


@pytest.mark.parametrize("how", ["do", "map", "multiple", "wait"])
def test_a_job_that_would_wait_for_its_own_worker_fails_and_says_why(backend, how, ran):
    with working():
        started = time.monotonic()
        with pytest.raises(JobRaised) as caught:
            jobs.wait_for_another.using(wait=120).do(how)

    assert time.monotonic() - started < 60
    assert caught.value.exception_type == "django_gearman.exceptions.WaitsForItself"
    for said in ("tests.app.wait_for_another", "tests.app.note", "-w 2", "do_background"):
        assert said in caught.value.message
    if how != "wait":
        assert ran == [], "what was not sent does not run"


def test_a_job_that_would_await_its_own_worker_fails_and_says_why(backend, ran):
    with working(), pytest.raises(JobRaised, match="the only worker that serves it"):
        jobs.await_another.using(wait=60).do()

    assert ran == []


def test_with_a_second_worker_it_waits(backend):
    with working(2):
        assert jobs.submit_another.using(wait=60).do("x") == "x"


@pytest.mark.parametrize("how", ["do", "map", "multiple", "wait"])
def test_a_worker_with_several_jobs_at_a_time_runs_the_other_one(backend, how, ran):
    with working(jobs_at_a_time=2):
        jobs.wait_for_another.using(wait=60).do(how)

    assert ran == [1]


def test_a_coroutine_awaits_a_job_of_its_own_worker(backend, ran):
    with working(jobs_at_a_time=2):
        jobs.await_another.using(wait=60).do()

    assert ran == [1]


def test_a_second_worker_may_be_just_coming(backend, monkeypatch):
    monkeypatch.setattr(lookout, "COMING", 60.0)
    with working(), ThreadPool() as threads:
        result = threads.submit(jobs.submit_another.using(wait=60).do, "x")
        time.sleep(0.5)
        with working(2):
            assert result.result(60) == "x"


def test_a_job_of_another_queue_is_waited_for(backend):
    with working(queues=["default"]), working(1, ["mail"]):
        assert jobs.send_and_wait.using(wait=60).do("ada") == "Hello, ada"


def test_a_caller_of_a_job_without_a_worker_is_warned_once(backend, caplog, monkeypatch):
    monkeypatch.setattr(lookout, "PATIENCE", 0.1)
    caplog.set_level(logging.WARNING)

    with ThreadPool() as threads:
        waiting = [threads.submit(jobs.send.do, name) for name in ("ada", "bob")]
        wait_until(lambda: caplog.records, "the warning")
        time.sleep(0.5)
        [record] = caplog.records
        with working():
            assert [each.result(60) for each in waiting] == ["Hello, ada", "Hello, bob"]

    assert "send-mail" in record.getMessage()
    assert "python manage.py gearman_worker -q mail" in record.getMessage()
    assert record.gearman_job == "send-mail"
    assert record.gearman_queue == "mail"


def test_a_served_job_may_take_its_time(backend, caplog, monkeypatch):
    monkeypatch.setattr(lookout, "PATIENCE", 0.05)
    with working():
        assert jobs.slow.do(0.5) is None

    assert caplog.records == []


def test_a_limit_is_kept(backend, caplog, monkeypatch):
    monkeypatch.setattr(lookout, "PATIENCE", 0.1)

    with pytest.raises(JobTimeout):
        jobs.send.using(wait=3).do("ada")

    assert len(caplog.records) == 1


def test_another_function_name_at_the_workers_is_pointed_out(
    backend, caplog, monkeypatch, settings
):
    monkeypatch.setattr(lookout, "PATIENCE", 0.1)
    with working():
        settings.GEARMAN_JOB_NAME = "site1.{name}"
        with pytest.raises(JobTimeout):
            jobs.send.using(wait=3).do("ada")

    assert "GEARMAN_JOB_NAME" in caplog.text
    assert "send-mail is served" in caplog.text


@pytest.mark.gearmand
def test_the_program_that_serves_an_external_job_is_asked_for(
    own_gearmand, caplog, monkeypatch, settings
):
    settings.GEARMAN_BACKEND = "gearman"
    monkeypatch.setattr(lookout, "PATIENCE", 0.1)
    monkeypatch.setattr(lookout, "_told", {})
    with replaced(Environment()):
        client = GearmanClient([own_gearmand.address])
        assert client.submit_job("php.pdf", 1, poll_timeout=3).timed_out

    assert "start the program that serves it" in caplog.text
