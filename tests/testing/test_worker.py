"""The worker of a test: it runs on request, and has a clock to move."""

from __future__ import annotations

import datetime
import threading

import pytest

from django_gearman import GearmanWorker, gearman_job
from django_gearman.backends import get_backend
from django_gearman.exceptions import JobNotRegistered
from django_gearman.testing import override_gearman
from tests.app import gearman_jobs as jobs
from tests.support.gearmand import wait_until
from tests.support.transports import on_queueing_transports

HOUR = datetime.timedelta(hours=1)


@on_queueing_transports
def test_jobs_run_when_the_worker_is_reported_to(transport, gearman_client, gearman_worker, ran):
    jobs.note.do_background(1)
    jobs.send.do_background("ada")
    assert ran == []
    assert gearman_client.submitted[0].runs == 0

    assert gearman_worker.run(queue="mail") == 1
    assert ran == ["ada"]
    assert gearman_worker.run() == 1
    assert ran == ["ada", 1]
    assert gearman_worker.run() == 0


@on_queueing_transports
def test_the_worker_runs_what_jobs_submit(transport, gearman_worker, ran):
    @gearman_job(name="chain")
    def chain(left):
        jobs.note.do_background(left)
        if left:
            chain.do_background(left - 1)

    chain.do_background(2)

    assert gearman_worker.run() == 6
    assert ran == [2, 1, 0]


@on_queueing_transports
def test_a_run_can_be_limited(transport, gearman_worker, ran):
    for number in range(5):
        jobs.note.do_background(number)

    assert gearman_worker.run(limit=0) == 0
    assert gearman_worker.run_one() is True
    assert gearman_worker.run(limit=2) == 2
    assert ran == [0, 1, 2]
    jobs.send.do_background("ada")  # only now: functions take turns on some servers
    assert gearman_worker.run(only=jobs.send.using(priority="HIGH")) == 1
    assert gearman_worker.run(only=[jobs.note, "send-mail"], limit=10) == 2
    assert gearman_worker.run_one() is False


def test_jobs_that_have_run_already_do_not_run_again(gearman_client, gearman_worker, ran):
    jobs.note.do_background(1)

    assert gearman_worker.run() == 0
    assert ran == [1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"queue": "smss"}, ValueError, "the queues are counting, default"),
        ({"only": "tests.app.ecko"}, JobNotRegistered, "did you mean"),
        ({"queue": 5}, TypeError, "queue= is a name"),
        ({"queue": "mail", "only": "tests.app.note"}, ValueError, "none of the jobs"),
        ({"only": []}, ValueError, "only= is empty"),
        ({"only": len}, TypeError, "only= is a name"),
        ({"only": [jobs.note, None]}, TypeError, "only= is a name"),
        ({"limit": -1}, ValueError, "0 or more"),
        ({"limit": True}, ValueError, "0 or more"),
        ({"limit": "all"}, ValueError, "0 or more"),
    ],
)
def test_wrong_arguments_of_run_are_errors(gearman_worker, arguments, error, message):
    with pytest.raises(error, match=message):
        gearman_worker.run(**arguments)


@on_queueing_transports
def test_workers_of_other_threads_are_seen_too(transport, gearman_client, ran):
    worker = GearmanWorker(clean_connections=False)
    thread = threading.Thread(target=worker.work)
    thread.start()
    wait_until(lambda: get_backend().workers(), "the worker has registered")
    try:
        assert jobs.add.do(1, 2) == 3
        request = gearman_client.submit_job("tests.app.fail", "boom")
        assert request.state == "FAILED"
        jobs.note.do_background("later")
        wait_until(lambda: gearman_client.submitted[2].finished, "the background job")
    finally:
        worker.stop()
        thread.join()

    assert [job.runs for job in gearman_client.submitted] == [1, 1, 1]
    assert isinstance(gearman_client.submitted[1].exception, ValueError)


# A clock to move


@pytest.mark.parametrize("transport", ["eager", "memory"])
def test_delayed_jobs_run_when_their_time_has_come(transport, gearman_client, gearman_worker, ran):
    with override_gearman(transport):
        jobs.note.using(run_after=HOUR).do_background("in an hour")
        jobs.note.using(run_after=2 * HOUR).do_background("in two hours")

        assert gearman_worker.advance(minutes=59) == 0
        assert gearman_worker.run() == 0
        advanced = gearman_worker.advance(minutes=2)
        assert (advanced, gearman_worker.run()) == ((1, 0) if transport == "eager" else (0, 1))
        assert ran == ["in an hour"]

        jobs.note.using(run_after=HOUR).do_background("an hour from then")
        gearman_worker.advance(datetime.timedelta(minutes=59), seconds=30)
        gearman_worker.run()
        assert ran == ["in an hour", "in two hours"]
        gearman_worker.advance(minutes=1)
        gearman_worker.run()

    assert ran == ["in an hour", "in two hours", "an hour from then"]


@pytest.mark.parametrize("transport", ["eager", "memory"])
def test_a_retry_waits_for_its_time(transport, gearman_client, gearman_worker, ran):
    with override_gearman(transport):
        jobs.try_again.do_background(3, delay=60)
        gearman_worker.run()
        [job] = gearman_client.submitted
        assert (ran, job.finished, job.runs) == ([1], False, 1)

        for attempt in (2, 3):
            gearman_worker.advance(minutes=1)
            gearman_worker.run()
            assert ran[-1] == attempt

    assert (job.finished, job.result, job.runs, ran) == (True, None, 3, [1, 2, 3])
    assert gearman_client.submitted == [job]


def test_delayed_jobs_of_other_threads_run_too(gearman_client, gearman_worker, ran):
    thread = threading.Thread(
        target=lambda: jobs.note.using(run_after=HOUR).do_background("from a thread")
    )
    thread.start()
    thread.join()

    assert gearman_worker.advance(hours=2) == 1
    assert ran == ["from a thread"]


def test_time_passes_from_one_job_to_the_next(gearman_worker, ran):
    @gearman_job(name="nightly")
    def nightly(number):
        ran.append(number)
        nightly.using(run_after=24 * HOUR).do_background(number + 1)

    nightly.do_background(0)

    assert gearman_worker.advance(days=3, hours=1) == 3
    assert ran == [0, 1, 2, 3]
    jobs.try_again.do_background(4, delay=300)
    gearman_worker.advance(hours=1)
    assert ran == [0, 1, 2, 3, 1, 2, 3, 4]


@pytest.mark.parametrize("units", [{}, {"minutes": 0}, {"minutes": -1}])
def test_time_goes_forward(gearman_worker, units):
    with pytest.raises(ValueError, match="forward"):
        gearman_worker.advance(**units)


@pytest.mark.parametrize(
    ("arguments", "units", "message"),
    [
        ([60], {}, "by a timedelta"),
        (["1h"], {}, "by a timedelta"),
        ([True], {}, "by a timedelta"),
        ([], {"minute": 1}, "takes weeks, days, hours, minutes and seconds"),
    ],
)
def test_time_is_reported_as_to_a_timedelta(gearman_worker, arguments, units, message):
    with pytest.raises(TypeError, match=message):
        gearman_worker.advance(*arguments, **units)


@pytest.mark.gearmand
@pytest.mark.gearman("real")
def test_a_real_servers_clock_is_its_own(gearman_worker):
    with pytest.raises(RuntimeError, match=r"gearman\('memory'\)"):
        gearman_worker.advance(minutes=1)


@on_queueing_transports
def test_a_worker_with_threads_is_recorded_like_others(transport, gearman_client, ran):
    requests = [jobs.note.do_background(number) for number in range(20)]

    worker = GearmanWorker(threads=4)

    assert worker.work(burst=True) == 20
    assert sorted(ran) == [*range(20)]
    assert [each.runs for each in gearman_client.submitted] == [1] * len(requests)
