"""Middleware around running jobs."""

from __future__ import annotations

import logging
import threading

import pytest

from django_gearman import GearmanWorker, RetryJob, gearman_job
from django_gearman.backends import get_backend
from django_gearman.backends.base import JobSpec
from django_gearman.exceptions import JobRaised, JobTimeLimitExceeded
from django_gearman.middleware import Middleware
from django_gearman.signals import job_finished, job_started
from django_gearman.worker.inline import run_queued
from django_gearman.worker.observer import WorkerObserver
from django_gearman.worker.runs import RunLost
from tests.app import gearman_jobs as jobs
from tests.support.transports import on_each_transport


class Note(Middleware):
    def __init__(self, name: str, notes: list[object]) -> None:
        self.name, self.notes = name, notes

    def around_run(self, run, proceed):
        self.notes.append((self.name, run.name, [*run.args], dict(run.kwargs), run.attempt))
        ending = proceed()
        self.notes.append((self.name, ending.state, ending.result, type(ending.exception)))
        return ending


@gearman_job
def gives(value: object) -> object:
    return value


@gearman_job
async def gives_later(value: object) -> object:
    return value


@pytest.fixture
def notes(settings) -> list[object]:
    notes: list[object] = []
    settings.GEARMAN_MIDDLEWARE = [lambda: Note("a", notes)]
    return notes


@pytest.mark.parametrize("job", [gives, gives_later])
def test_it_sees_the_run_and_its_ending(job, notes, gearman_client):
    assert job.do(1) == 1

    assert notes == [("a", job.name, [1], {}, 1), ("a", "succeeded", 1, type(None))]


@on_each_transport
def test_the_first_is_the_outermost(transport, settings, gearman_client, gearman_worker):
    notes = []
    settings.GEARMAN_MIDDLEWARE = [lambda: Note("a", notes), lambda: Note("b", notes)]

    jobs.echo.do_background(1)
    gearman_worker.run()

    assert [note[0] for note in notes] == ["a", "b", "b", "a"]


def test_a_failure_that_is_tried_again_is_retried(notes, gearman_client, gearman_worker):
    gearman_client.raise_failures = False

    jobs.flaky.do_background(9)
    gearman_worker.advance(seconds=999)

    assert [note[1] for note in notes[1::2]] == ["retried", "retried", "failed"]
    assert [note[4] for note in notes[::2]] == [1, 2, 3]


def test_a_job_that_asks_to_run_again_is_retried(notes, gearman_client):
    jobs.try_again.do_background(2, 60)

    assert notes[1] == ("a", "retried", None, RetryJob)


def test_a_job_that_a_client_waits_for_fails_at_once(notes, gearman_client):
    gearman_client.raise_failures = False

    with pytest.raises(JobRaised, match="attempt 1"):
        jobs.flaky.do(9)

    assert notes[1] == ("a", "failed", None, OSError)


@pytest.mark.parametrize("workload", [b"no JSON", b'{"args": [1, 2], "kwargs": {}}'])
def test_arguments_that_do_not_fit_are_a_failure(workload, notes, gearman_client):
    get_backend().submit([JobSpec(gives.name, workload, background=True)])
    run_queued(get_backend())

    assert [note[:3] for note in notes[:1]] == [("a", gives.name, [])]
    assert notes[1][1] == "failed"


def test_it_may_answer_in_the_place_of_the_job(settings, gearman_client):
    class Answers(Middleware):
        def around_run(self, run, proceed):
            return run.succeed("mine")

    settings.GEARMAN_MIDDLEWARE = [Answers]

    assert jobs.flaky.do(9) == "mine"


def test_an_answer_that_cannot_travel_fails_the_job(settings, gearman_client):
    class Answers(Middleware):
        def around_run(self, run, proceed):
            return run.succeed(object())

    gearman_client.raise_failures = False
    settings.GEARMAN_MIDDLEWARE = [Answers]

    with pytest.raises(JobRaised, match="the result of job"):
        jobs.flaky.do(9)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_exception_of_middleware_fails_the_job(
    error, when, settings, gearman_client, gearman_worker
):
    class Raises(Middleware):
        def around_run(self, run, proceed):
            if when == "after":
                proceed()
            raise error("of the middleware")

    gearman_client.raise_failures = False
    settings.GEARMAN_MIDDLEWARE = [Raises]
    # pytest has a handler of its own for SIGINT, or the interrupt would be the keyboard's.
    with pytest.raises(JobRaised if error is not KeyboardInterrupt else BaseException) as raised:
        gives.do(1)

    assert "of the middleware" in str(raised.value)


def test_an_exception_of_middleware_is_retried_like_one_of_the_job(
    settings, gearman_client, gearman_worker
):
    attempts = []

    class Raises(Middleware):
        def around_run(self, run, proceed):
            attempts.append(run.attempt)
            raise ConnectionError("the limiter cannot be reached")

    settings.GEARMAN_MIDDLEWARE = [Raises]
    gearman_client.raise_failures = False

    jobs.flaky.do_background(0)
    gearman_worker.advance(seconds=999)

    assert attempts == [1, 2, 3]


@pytest.mark.parametrize("answer", [None, 5, "succeeded"])
def test_no_ending_is_a_failure(answer, settings, gearman_client):
    class Forgets(Middleware):
        def around_run(self, run, proceed):
            proceed()
            return answer

    gearman_client.raise_failures = False
    settings.GEARMAN_MIDDLEWARE = [Forgets]

    with pytest.raises(JobRaised, match=r"around_run returns what proceed\(\)"):
        gives.do(1)


def test_the_job_sees_what_is_added_to_its_context(settings, gearman_client):
    class Adds(Middleware):
        def around_run(self, run, proceed):
            run.context["shard"] = 3
            return proceed()

    settings.GEARMAN_MIDDLEWARE = [Adds]

    assert jobs.tell_context.do() == {"shard": 3}


def test_it_comes_before_the_outcome_and_that_before_those_who_are_reported(
    settings, gearman_client, caplog
):
    messages = []

    class Store(Middleware):
        def around_run(self, run, proceed):
            messages.append("middleware")
            ending = proceed()
            messages.append(("stored", gearman_client.submitted[-1].finished))
            return ending

    def started(**kwargs):
        messages.append("started")

    def finished(state, **kwargs):
        messages.append((state, gearman_client.submitted[-1].finished))

    settings.GEARMAN_MIDDLEWARE = [Store]
    job_started.connect(started)
    job_finished.connect(finished)
    try:
        with caplog.at_level(logging.INFO, "django_gearman.jobs"):
            gives.do_background(1)
    finally:
        job_started.disconnect(started)
        job_finished.disconnect(finished)

    assert messages == ["started", "middleware", ("stored", False), ("succeeded", True)]


@pytest.mark.parametrize(("failures", "state"), [(0, "succeeded"), (9, "retried")])
def test_signals_tell_the_state(failures, state, gearman_client):
    states = []

    def note(state, **kwargs):
        states.append(state)

    job_finished.connect(note)
    try:
        jobs.flaky.do_background(failures)
    finally:
        job_finished.disconnect(note)

    assert states == [state]


class Limited(WorkerObserver):
    def time_limit(self, timeout):
        return 0.05


def test_the_time_limit_stops_the_job_and_no_middleware(notes, memory, settings):
    class Slow(Middleware):
        def around_run(self, run, proceed):
            ending = proceed()
            assert threading.Event().wait(0.2) is False  # longer than the limit
            notes.append("saved")
            return ending

    settings.GEARMAN_MIDDLEWARE = [Slow, *settings.GEARMAN_MIDDLEWARE]
    jobs.slow.do_background(60)

    assert GearmanWorker(clean_connections=False).work(burst=True, observer=Limited()) == 1

    assert notes[1:] == [("a", "failed", None, JobTimeLimitExceeded), "saved"]


def test_a_lost_worker_reports_nothing(settings, gearman_client, gearman_worker):
    class Lost(Middleware):
        def around_run(self, run, proceed):
            raise RunLost("its worker has died")

    settings.GEARMAN_MIDDLEWARE = [Lost]
    jobs.echo.do_background(1)

    assert not gearman_client.submitted[0].finished
