"""A job as its submitter sees it: state, result, updates, waiting."""

from __future__ import annotations

import asyncio
import copy
import json
import math
import pickle
import threading

import pytest
from django.db import transaction

from django_gearman import JOB_COMPLETE, JOB_CREATED, JOB_FAILED
from django_gearman.backends.base import WorkComplete
from django_gearman.exceptions import JobRaised, JobTimeout, ResultUnavailable
from django_gearman.serializers.failures import parse_error
from tests.support.workers import work_off

# Outcomes


def test_a_finished_request_has_its_outcome_and_updates(client):
    request = client.submit_job("tests.app.report", 2)

    assert (request.state, request.complete, request.timed_out) == (JOB_COMPLETE, True, False)
    assert request.result == "tests.app.report"
    assert request.exception is None
    assert list(request.data_updates) == [{"part": 1}]
    assert list(request.warning_updates) == ["beware"]
    assert (request.status["numerator"], request.status["denominator"]) == (2, 2)
    assert list(request.status_updates) == [(1, 2), (2, 2)]
    assert request.job is request.gearman_job
    assert request.job.to_dict() == {
        "task": "tests.app.report",
        "job_handle": request.handle,
        "unique": request.unique,
        "data": {"args": [2], "kwargs": {}},
    }


def test_a_failed_job_raises_when_its_result_is_read(client):
    request = client.submit_job("tests.app.fail", "boom")

    assert (request.state, request.complete) == (JOB_FAILED, True)
    assert list(request.warning_updates) == []
    with pytest.raises(JobRaised, match="ValueError: boom") as caught:
        _ = request.result
    assert caught.value is request.exception
    assert (caught.value.exception_type, caught.value.message) == ("ValueError", "boom")
    assert "raise ValueError(message)" in caught.value.traceback
    assert any("raise ValueError(message)" in note for note in caught.value.__notes__)


def test_a_job_that_exits_has_failed(client):
    with pytest.raises(JobRaised, match="SystemExit: 3"):
        _ = client.submit_job("tests.app.leave").result


def test_a_result_that_cannot_be_serialized_fails_the_job(client):
    with pytest.raises(JobRaised, match=r"SerializationError.*result of job"):
        _ = client.submit_job("tests.app.return_lambda").result


def test_a_background_request_has_no_result(client, ran):
    request = client.submit_job("tests.app.note", 5, background=True)

    assert (request.state, request.complete, request.background) == (JOB_CREATED, True, True)
    assert ran == [5]
    with pytest.raises(ResultUnavailable, match="background"):
        _ = request.result


def test_waiting_ends_in_time(memory, client):
    request = client.submit_job("tests.app.echo", 1, poll_timeout=0.01)

    assert (request.state, request.complete, request.timed_out) == (JOB_CREATED, False, True)
    with pytest.raises(JobTimeout):
        _ = request.result
    with pytest.raises(TimeoutError):
        _ = request.wait(0).result


def test_a_request_can_be_waited_for_later(memory, client):
    request = client.submit_job("tests.app.echo", 1, wait_until_complete=False)
    assert (request.state, request.complete, request.timed_out) == (JOB_CREATED, False, False)
    with pytest.raises(ResultUnavailable, match="wait"):
        _ = request.result

    work_off()

    assert request.wait(20).result == 1


def test_updates_come_as_the_job_sends_them(memory, client):
    request = client.submit_job("tests.app.report", 2, wait_until_complete=False)

    work_off()

    reported = [type(update).__name__ for update in request.updates(20)]
    assert reported == ["WorkStatus", "WorkStatus", "WorkData", "WorkWarning", "WorkComplete"]


def test_the_parts_of_a_status_are_attributes_too(client):
    request = client.submit_job("tests.app.report", 2)

    status = request.status
    assert (status.numerator, status.denominator) == (2, 2)
    assert {name: getattr(status, name) for name in status} == status
    assert request.server_status is status


def test_a_status_without_news_is_empty(client):
    status = client.submit_job("tests.app.echo", 1).status

    assert status == {}
    assert not status
    assert (status.numerator, status.denominator, status.running) == (0, 0, False)
    assert (status.known, status.time_received, status.handle) == (None, None, "")


def test_a_status_can_be_written_as_json_and_copied(memory, client):
    request = client.get_job_status(client.submit_job("tests.app.echo", 1, background=True))

    assert json.loads(json.dumps(request.status)) == request.status
    for copied in (copy.copy(request.status), pickle.loads(pickle.dumps(request.status))):
        assert copied == request.status
        assert copied.known is True


def test_status_is_asked_by_request_or_handle(memory, client):
    request = client.submit_job("tests.app.echo", 1, background=True)

    assert client.get_job_status(request) is request
    assert request.status.keys() == {
        "handle",
        "known",
        "running",
        "numerator",
        "denominator",
        "time_received",
    }
    assert (request.status["known"], request.status["running"]) == (True, False)
    assert client.get_job_status(request.handle).status["known"] is True
    with pytest.raises(ValueError, match="not the handle"):
        client.get_job_status("nonsense")
    with pytest.raises(TypeError, match="a JobRequest or a handle"):
        client.get_job_status(None)
    with pytest.raises(TypeError, match="JobRequests are waited for"):
        client.wait_until_jobs_completed([request.handle])


def test_only_who_submitted_a_job_can_wait_for_it(memory, client):
    handle = client.submit_job("tests.app.echo", 1, background=True).handle

    with pytest.raises(ResultUnavailable, match=f"job {handle} was submitted elsewhere"):
        client.get_job_status(handle).wait(0)


@pytest.mark.django_db
def test_a_request_that_was_not_submitted_is_not_waited_for(client, ran):
    done = client.submit_job("tests.app.echo", 1)
    with transaction.atomic():
        held = client.using(on_commit=True).submit_job("tests.app.note", 1, background=True)
        with pytest.raises(ResultUnavailable, match="has not committed"):
            client.wait_until_jobs_completed([done, held])


def test_updates_of_a_job_are_taken_in_their_order(memory, client, monkeypatch):
    others = []

    def read_while_another_waits(data):
        others.append(thread := threading.Thread(target=lambda: request.wait(5)))
        thread.start()
        thread.join(0.2)  # it would end, if it took the failure
        return parse_error(data)

    monkeypatch.setattr("django_gearman.client.request.parse_error", read_while_another_waits)
    request = client.submit_job("tests.app.fail", "boom", wait_until_complete=False)
    work_off()

    request.wait(5)
    others[0].join()

    assert isinstance(request.exception, JobRaised)


@pytest.mark.parametrize("timeout", [1e300, float("inf")])
def test_a_time_limit_may_be_as_long_as_one_likes(client, memory, timeout):
    request = client.submit_job("tests.app.echo", 1, wait_until_complete=False)
    work_off()

    assert request.wait(timeout).result == 1


@pytest.mark.parametrize("timeout", [math.nan, "2", True])
@pytest.mark.parametrize(
    "wait",
    [
        lambda client, request, timeout: request.wait(timeout),
        lambda client, request, timeout: [*request.updates(timeout)],
        lambda client, request, timeout: client.wait_until_jobs_completed([request], timeout),
        lambda client, request, timeout: asyncio.run(
            client.await_until_jobs_completed([request], timeout)
        ),
    ],
    ids=["wait", "updates", "all", "await all"],
)
def test_a_time_limit_that_is_no_number_is_refused(client, memory, wait, timeout):
    request = client.submit_job("tests.app.add", args=[1, 2], wait_until_complete=False)

    with pytest.raises((TypeError, ValueError), match="is a number of seconds, not"):
        wait(client, request, timeout)


def test_a_time_limit_that_has_passed_waits_no_more(client, memory):
    request = client.submit_job("tests.app.add", args=[1, 2], wait_until_complete=False)

    assert request.wait(-1.0).timed_out
    assert [*request.updates(-1.0)] == []


def test_two_threads_may_wait_for_one_job(memory, client):
    class RacedTurn:
        """Another thread takes the outcome as soon as this one has seen that there is none."""

        def acquire(self, *, blocking=True, timeout=-1):
            request.take(WorkComplete(b"1"))
            return True

        def release(self):
            pass

    request = client.submit_job("tests.app.echo", 1, wait_until_complete=False)
    request._turn = RacedTurn()

    assert request.wait(0).result == 1


# Finished


def test_finished_tells_whether_a_job_has_ended(memory, client, ran):
    waiting = client.submit_job("tests.app.note", 1, wait_until_complete=False)
    failing = client.submit_job("tests.app.fail", "no", wait_until_complete=False)
    queued = client.submit_job("tests.app.note", 2, background=True)
    requests = [waiting, failing, queued]

    assert [request.complete for request in requests] == [False, False, True]
    assert [request.finished for request in requests] == [False, False, False]
    assert not client.get_job_status(queued).finished
    work_off()
    assert not queued.finished  # no request yet
    assert client.get_job_status(queued).finished
    for request in (waiting, failing):
        assert client.get_job_status(request).finished
        assert request.wait().finished
    assert client.submit_job("tests.app.note", 3, wait_until_complete=False).finished is False


def test_a_job_that_was_never_queued_has_not_finished(settings, client):
    settings.GEARMAN_BACKEND = "memory"
    settings.GEARMAN_OPTIONS = {"name": "full", "max_queued": 1}
    [first, second] = client.submit_multiple_jobs(
        [{"task": "tests.app.note", "data": n} for n in (1, 2)], background=True
    )

    assert (second.state, second.finished) == ("FAILED", False)
    work_off()
    assert client.get_job_status(first).finished


@pytest.mark.parametrize("background", [True, False])
def test_on_eager_a_job_has_finished_when_it_is_submitted(client, background):
    request = client.submit_job("tests.app.echo", 1, background=background)

    assert client.get_job_status(request).finished
