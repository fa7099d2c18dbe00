"""Clients that wait in the foreground for a job without a worker."""

from __future__ import annotations

import threading
import time

import pytest
from asgiref.sync import async_to_sync
from django.contrib.contenttypes.models import ContentType

from django_gearman import GearmanWorker, gearman_job
from django_gearman.exceptions import GearmanError, JobRaised, JobTimeout
from django_gearman.testing import NotServed
from tests.app import gearman_jobs as jobs
from tests.support.gearmand import wait_until

PATIENCE = 60.0  # seconds for what takes a moment


@pytest.mark.gearman("memory")
@pytest.mark.parametrize("options", [{}, {"poll_timeout": 3600}])
def test_waiting_for_a_job_without_a_worker_fails_at_once(gearman_client, options):
    started = time.monotonic()

    with pytest.raises(NotServed, match=r"tests.app.add, but no worker .* gearman_worker.run"):
        gearman_client.submit_job("tests.app.add", 1, **options)

    assert time.monotonic() - started < PATIENCE
    assert issubclass(NotServed, AssertionError)
    assert not issubclass(NotServed, GearmanError), "or the code under test would catch it"


@pytest.mark.gearman("memory")
def test_so_does_waiting_for_many(gearman_client):
    with pytest.raises(NotServed):
        jobs.add.map([1, 2])


@pytest.mark.gearman("memory")
def test_a_job_that_waits_for_its_own_worker_fails_at_once(gearman_client, gearman_worker):
    jobs.submit_another.do_background(1)

    with pytest.raises(NotServed, match=r"tests\.app\.echo"):
        gearman_worker.run()


@pytest.mark.gearman("memory")
def test_a_result_from_before_the_wait_is_there(gearman_client, gearman_worker):
    request = gearman_client.submit_job("tests.app.add", 1, wait_until_complete=False)
    assert request.wait(0).timed_out

    assert gearman_worker.run() == 1

    assert request.wait().result == 11


@pytest.mark.gearman("memory")
def test_a_worker_that_starts_at_the_same_time_is_awaited(gearman_client):
    worker = GearmanWorker(clean_connections=False)
    timer = threading.Timer(0.2, worker.work)
    timer.start()
    try:
        assert jobs.add.do(1) == 11
    finally:
        worker.stop()
        timer.join()


@pytest.mark.gearman("memory")
def test_a_worker_of_other_queues_does_not_serve(gearman_client):
    worker = GearmanWorker("mail", clean_connections=False)
    thread = threading.Thread(target=worker.work)
    thread.start()
    try:
        with pytest.raises(NotServed):
            jobs.add.do(1)
        assert jobs.send.do("ada") == "Hello, ada"
    finally:
        worker.stop()
        thread.join()


@pytest.mark.gearmand
@pytest.mark.gearman("real")
def test_on_a_real_server_who_waits_is_served_meanwhile(gearman_client, gearman_worker, ran):
    jobs.note.do_background("before")

    assert jobs.add.do(1) == 11
    assert jobs.submit_another.do(5) == 5
    assert jobs.add.map([1, 2, 3]) == [11, 12, 13]
    assert ran == []
    with pytest.raises(ValueError, match="boom"):
        jobs.fail.do("boom")
    assert gearman_worker.run() == 1


@pytest.mark.gearmand
@pytest.mark.gearman("real")
def test_on_a_real_server_a_job_that_has_no_worker_fails_soon(gearman_client):
    with pytest.raises(NotServed, match=r"php\.pdf"):
        gearman_client.submit_job("php.pdf", 1)


@pytest.mark.gearman("memory")
@pytest.mark.parametrize("how", [{"burst": True}, {"limit": 1}])
def test_a_worker_that_comes_and_goes_meanwhile_has_served(gearman_client, how):
    worker = GearmanWorker(clean_connections=False)
    timer = threading.Timer(0.1, worker.work, kwargs=how)
    timer.start()

    assert jobs.add.do(1) == 11
    timer.join()


@pytest.mark.gearman("memory")
def test_a_client_in_a_thread_is_served_by_the_tests_worker(gearman_client, gearman_worker):
    results = []
    thread = threading.Thread(target=lambda: results.append(jobs.add.do(1)))
    thread.start()
    wait_until(lambda: gearman_client.submitted, "the submission")

    assert gearman_worker.run() == 1

    thread.join()
    assert results == [11]


@pytest.mark.gearman("memory")
def test_a_short_wait_ends_with_a_timeout(gearman_client):
    with pytest.raises(JobTimeout):
        jobs.add.using(wait=0.05).do(1)


@pytest.mark.gearmand
@pytest.mark.gearman("real")
def test_on_a_real_server_errors_belong_to_those_who_wait_for_their_jobs(gearman_client):
    failing = gearman_client.submit_job("tests.app.fail", "boom", wait_until_complete=False)
    gearman_client.raise_failures = False
    request = gearman_client.submit_job("tests.app.fail", "bang")

    with pytest.raises(JobRaised, match="bang"):
        print(request.result)
    with pytest.raises(JobRaised, match="boom"):
        print(failing.wait().result)


@pytest.mark.gearmand
@pytest.mark.gearman("real")
def test_on_a_real_server_async_code_has_the_tests_connections(db, gearman_client):
    @gearman_job(name="count-types")
    def count_types():
        return ContentType.objects.count()

    async def ask():
        return await count_types.ado()

    assert async_to_sync(ask)() == ContentType.objects.count()
