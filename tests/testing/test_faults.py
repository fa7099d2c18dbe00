"""Failures that a test brings about."""

from __future__ import annotations

import pytest

from django_gearman import JOB_UNKNOWN, RetryJob, current_job, gearman_job
from django_gearman.exceptions import (
    ConnectionLost,
    JobNotRegistered,
    ServerUnavailable,
    SubmitUncertain,
    WorkerDied,
)
from tests.app import gearman_jobs as jobs
from tests.support.transports import on_each_transport, on_queueing_transports


@on_each_transport
def test_a_server_that_is_down_takes_nothing(transport, gearman_client, gearman_worker, ran):
    with gearman_client.server_down():
        for submit in (lambda: jobs.note.do(1), lambda: jobs.note.do_background(1)):
            with pytest.raises(ServerUnavailable, match="server_down"):
                submit()
    gearman_client.assert_nothing_submitted()

    jobs.note.do_background(2)
    gearman_worker.run()

    assert ran == [2]


@on_queueing_transports
def test_workers_get_nothing_from_a_server_that_is_down(transport, gearman_client, gearman_worker):
    jobs.note.do_background(1)

    with gearman_client.server_down():
        assert gearman_worker.run() == 0
    assert gearman_worker.run() == 1


@on_each_transport
def test_a_lost_acknowledgement_leaves_the_submitter_in_doubt(
    transport, gearman_client, gearman_worker, ran
):
    with (
        gearman_client.lose_connection(after="submit"),
        pytest.raises(SubmitUncertain, match="lose_connection"),
    ):
        jobs.note.do_background(1)
    gearman_worker.run()

    assert ran == [1]
    assert gearman_client.assert_submitted(jobs.note, 1).finished


def test_a_caller_may_submit_again(gearman_client, ran):
    with (
        gearman_client.lose_connection(after="submit"),
        pytest.raises(SubmitUncertain),
    ):
        jobs.note.using(resubmit=1).do_background(1)

    assert ran == [1, 1]
    assert gearman_client.assert_submitted(jobs.note, 1, times=1).runs == 2


@on_each_transport
def test_a_lost_connection_loses_the_result(transport, gearman_client, gearman_worker, ran):
    with gearman_client.lose_connection(after="created"):
        request = gearman_client.submit_job("tests.app.note", 1, wait_until_complete=False)
        with pytest.raises(ConnectionLost, match="lose_connection"):
            request.wait()
    gearman_worker.run()

    assert (request.state, ran) == (JOB_UNKNOWN, [1])


@on_each_transport
def test_a_job_whose_worker_crashes_runs_again(transport, gearman_client, gearman_worker, ran):
    with gearman_client.crash_worker_during("tests.app.note"):
        jobs.note.do_background(1)
        jobs.send.do_background("ada")
        gearman_worker.run()

    assert sorted(map(str, ran)) == ["1", "1", "ada"]
    assert [job.runs for job in gearman_client.submitted] == [2, 1]
    assert all(job.finished for job in gearman_client.submitted)


def test_the_client_that_waits_notices_nothing_of_a_crash(gearman_client):
    with gearman_client.crash_worker_during(jobs.add, times=2):
        assert jobs.add.do(1, 2) == 3

    assert gearman_client.submitted[0].runs == 3


@on_each_transport
def test_a_job_that_costs_three_workers_has_failed(transport, gearman_client, gearman_worker, ran):
    with (
        gearman_client.crash_worker_during(jobs.note, times=3),
        pytest.raises(WorkerDied, match="it has killed 3 processes"),
    ):
        jobs.note.do_background(1)
        gearman_worker.run()

    assert ran == [1, 1, 1]
    assert gearman_client.submitted[0].failed


def test_a_client_that_waits_hears_of_the_third_crash(gearman_client):
    with gearman_client.crash_worker_during(jobs.note, times=3), pytest.raises(WorkerDied):
        jobs.note.do(1)


def test_a_crash_costs_a_job_with_retries_an_attempt(gearman_client, gearman_worker, ran):
    attempts = []

    @gearman_job(name="poison", retries=2, backoff=60)
    def poison():
        attempts.append(current_job().attempt)

    with gearman_client.crash_worker_during(poison, times=2):
        poison.do_background()
        assert attempts == [1]
        gearman_worker.advance(seconds=61)
        gearman_worker.advance(seconds=61)
    assert attempts == [1, 2, 3]
    assert gearman_client.submitted[0].finished

    with gearman_client.crash_worker_during(poison, times=3):
        poison.do_background()
        gearman_worker.advance(seconds=61)
        with pytest.raises(WorkerDied):
            gearman_worker.advance(seconds=61)


def test_an_exception_of_a_job_is_lost_with_its_worker(gearman_client, gearman_worker):
    @gearman_job(name="raises", retries=1, backoff=60)
    def raises():
        raise ValueError("nobody hears of it")

    with gearman_client.crash_worker_during(raises):
        raises.do_background()
        with pytest.raises(ValueError, match="nobody hears"):
            gearman_worker.advance(seconds=61)
    assert gearman_client.submitted[0].runs == 2


def test_a_crash_in_a_job_of_a_job_leaves_the_outer_one_alone(gearman_client):
    with gearman_client.crash_worker_during("tests.app.echo"):
        assert jobs.submit_another.do(1) == 1

    assert [job.runs for job in gearman_client.submitted] == [1, 2]


@pytest.mark.gearman("memory")
def test_a_crash_gives_the_job_to_another_worker(gearman_client, gearman_worker, ran):
    gearman_client.crash_worker_during("tests.app.note")
    jobs.note.do_background("crashes")
    jobs.note.do_background("crashes, too")

    runs = [gearman_worker.run_one() for _ in range(4)]

    assert runs == [True] * 4
    assert ran == ["crashes", "crashes, too"] * 2
    assert gearman_worker.run_one() is False


def test_a_job_that_does_harm_the_second_time_is_caught(gearman_client):
    charged = set()

    @gearman_job(name="charge")
    def charge(order):
        if order in charged:
            raise ValueError("charged twice")
        charged.add(order)

    with (
        gearman_client.deliver_twice(charge),
        pytest.raises(ValueError, match="charged twice"),
    ):
        charge.do_background(1)


def test_a_failure_that_is_lost_with_its_worker_is_none(gearman_client):
    runs = []

    @gearman_job(name="flaky")
    def flaky():
        runs.append(1)
        if len(runs) == 1:
            raise ValueError("of the first run")
        return "done"

    with gearman_client.crash_worker_during(flaky):
        assert flaky.do() == "done"
    assert gearman_client.submitted[0].exception is None


def test_a_fault_holds_until_the_test_ends(gearman_client):
    gearman_client.server_down()

    with pytest.raises(ServerUnavailable):
        jobs.note.do(1)


def test_the_fault_of_another_test_does_not_hold(gearman_client):
    assert jobs.add.do(1) == 11


def test_a_fault_can_be_stopped(gearman_client):
    fault = gearman_client.server_down()
    fault.stop()
    fault.stop()

    assert jobs.add.do(1) == 11


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda client: client.lose_connection(after="dinner"), ValueError, "'submit'"),
        (lambda client: client.crash_worker_during("nope"), JobNotRegistered, "nope"),
        (lambda client: client.crash_worker_during(len), TypeError, "a task is"),
        (lambda client: client.crash_worker_during(jobs.add, times=0), ValueError, "1 or more"),
        (lambda client: client.deliver_twice("tests.app.ecko"), JobNotRegistered, "did you mean"),
    ],
)
def test_a_fault_that_cannot_be_is_an_error(gearman_client, make, error, message):
    with pytest.raises(error, match=message):
        make(gearman_client)
    assert jobs.add.do(1) == 11


def test_a_fault_can_be_put_in_force_again(gearman_client):
    fault = gearman_client.server_down()
    for _ in range(2):
        with fault, pytest.raises(ServerUnavailable):
            jobs.note.do(1)
        assert jobs.add.do(1) == 11


def test_a_server_that_is_down_answers_nothing(gearman_client):
    request = jobs.note.do_background(1)

    with gearman_client.server_down(), pytest.raises(ServerUnavailable):
        gearman_client.get_job_status(request)


def test_a_job_whose_retry_no_server_takes_is_left_to_another_worker(gearman_client, ran):
    faults = []

    @gearman_job(name="goes-down")
    def goes_down():
        if not faults:
            faults.append(gearman_client.server_down())
            raise RetryJob(60)

    goes_down.do_background()
    [submitted] = gearman_client.submitted
    assert (submitted.runs, submitted.finished) == (1, False)

    faults[0].stop()
    jobs.note.do_background(1)

    assert (submitted.runs, submitted.finished, ran) == (2, True, [1])


def test_code_that_submits_again_recovers(gearman_client, ran):
    gearman_client.lose_connection(times=1)

    jobs.note.using(resubmit=1).do_background(1)

    assert ran == [1, 1]


@pytest.mark.gearmand
@pytest.mark.gearman("real")
def test_a_real_server_gives_the_job_of_a_crashed_worker_out_again(
    gearman_client, gearman_worker, ran
):
    gearman_client.crash_worker_during(jobs.note)

    for number in range(50):
        jobs.note.do_background(number)
        assert gearman_worker.run() == 2

    assert len(ran) == 100
