"""Jobs that are tried again, on the transports that need no server."""

from __future__ import annotations

import datetime
import logging

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from django_gearman import RetryJob, exponential, gearman_job
from django_gearman.backends import get_backend
from django_gearman.backends.base import BaseBackend, JobSpec, WorkComplete, WorkFail
from django_gearman.client.job import Job
from django_gearman.exceptions import JobRaised, SerializationError, ServerError
from django_gearman.jobs.functions import functions_of
from django_gearman.jobs.registry import registry
from django_gearman.serializers import JSONSerializer, RawSerializer
from django_gearman.signals import job_failed, job_finished, job_retried
from django_gearman.testing import override_gearman
from django_gearman.worker.execution import execute
from tests.app import gearman_jobs as jobs
from tests.support.workers import work_off


@pytest.fixture
def reported():
    """Collect (signal, attempt, exception) of the workers' signals."""
    log = []
    signals = {"retried": job_retried, "failed": job_failed, "finished": job_finished}

    def receiver(name):
        return lambda context, exception, **_: log.append((name, context.attempt, repr(exception)))

    receivers = {name: receiver(name) for name in signals}
    for name, signal in signals.items():
        signal.connect(receivers[name])
    yield log
    for name, signal in signals.items():
        signal.disconnect(receivers[name])


def test_a_failed_job_is_tried_again_after_its_backoff(work, ran, reported):
    jobs.flaky.do_background(2)

    work()
    assert ran == [1]
    work(59)
    assert ran == [1]
    work(2)
    assert ran == [1, 2]
    work(61)
    assert ran == [1, 2, 3]
    assert reported == [
        ("retried", 1, "OSError('attempt 1')"),
        ("finished", 1, "OSError('attempt 1')"),
        ("retried", 2, "OSError('attempt 2')"),
        ("finished", 2, "OSError('attempt 2')"),
        ("finished", 3, "None"),
    ]


def test_a_job_without_attempts_left_has_failed_for_good(work, ran, reported, caplog):
    jobs.flaky.do_background(9)

    work()
    work(61)
    with pytest.raises(OSError, match="attempt 3"):
        work(61)
    work(3600)

    assert ran == [1, 2, 3]
    assert ("failed", 3, "OSError('attempt 3')") in reported
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "tests.app.flaky" in record.getMessage()
    assert "in attempt 3" in record.getMessage()
    assert record.exc_info
    assert record.gearman_attempt == 3


def test_the_log_tells_equal_arguments_without_giving_them_away(work, caplog):
    digests = []
    for secret in ("password", "password", "other"):
        with pytest.raises(ValueError, match=secret):
            jobs.fail.do_background(secret)
            work()
        message = caplog.records[-1].getMessage()
        digests.append(message.partition("arguments of digest ")[2].partition(":")[0])

    assert digests[0] == digests[1] != digests[2]
    assert all(len(digest) == 16 for digest in digests)


def test_a_retry_gets_the_arguments_as_they_came(work, ran):
    @gearman_job(name="changes-its-arguments", retries=2, backoff=0)
    def change(payload):
        ran.append(dict(payload))
        payload.clear()
        raise OSError("again")

    with pytest.raises(OSError, match="again"):
        change.do_background({"id": 7})
        work()

    assert ran == [{"id": 7}] * 3


def test_a_job_that_spoils_its_arguments_fails_and_no_more(work, reported):
    @gearman_job(name="spoils-its-arguments")
    def spoil(payload):
        payload["thing"] = object()
        raise OSError("spoiled")

    with pytest.raises(OSError, match="spoiled"):
        spoil.do_background({})
        work()

    assert [name for name, *_ in reported] == ["failed", "finished"]


def test_a_retry_needs_no_result(work, ran):
    class NeverNone(JSONSerializer):
        def dumps(self, value):
            if value is None:
                raise SerializationError("None is refused")
            return super().dumps(value)

    @gearman_job(name="refuses-none", retries=1, backoff=0, serializer=NeverNone())
    def flaky():
        ran.append("run")
        if len(ran) == 1:
            raise OSError("again")
        return "done"

    flaky.do_background()
    work()

    assert ran == ["run", "run"]


def test_a_serializer_may_make_any_kind_of_bytes(work, ran):
    class Mutable(JSONSerializer):
        def dumps_call(self, call):
            return bytearray(super().dumps_call(call))

    @gearman_job(name="mutable-bytes", retries=1, backoff=0, serializer=Mutable())
    def flaky(value):
        ran.append(value)
        if len(ran) == 1:
            raise OSError("again")

    flaky.do_background(7)
    work()

    assert ran == [7, 7]


@pytest.mark.parametrize("serializer", [RawSerializer(), RawSerializer])
def test_retries_that_no_workload_can_count_are_refused(serializer):
    job = Job(len, name="raw-retries", retries=1, serializer=serializer)

    with pytest.raises(ImproperlyConfigured, match="raw-retries declares retries"):
        functions_of([job])


def test_a_job_that_waits_is_not_tried_again(gearman_client, ran):
    with pytest.raises(OSError, match="attempt 1"):
        gearman_client.submit_job(jobs.flaky, 1)

    assert ran == [1]


@pytest.mark.parametrize(
    ("failure", "runs", "error"),
    [("os", 6, OSError), ("value", 1, ValueError), ("exit", 1, SystemExit), ("retry", 6, RetryJob)],
)
def test_only_what_retry_on_names_is_tried_again(gearman_client, ran, failure, runs, error):
    with pytest.raises(error):
        jobs.picky.do_background(failure)

    assert ran == [failure] * runs


def test_arguments_that_cannot_be_right_are_not_tried_again(production, settings, request, ran):
    settings.GEARMAN_BACKEND = "memory"
    settings.GEARMAN_OPTIONS = {"name": request.node.nodeid}
    workload = b'{"args": ["too", "many"], "kwargs": {}}'
    get_backend().submit([JobSpec("tests.app.picky", workload, background=True)])

    assert work_off() == 1
    assert ran == []


def test_retry_job_without_a_limit_continues_as_long_as_it_is_raised(gearman_client, ran):
    jobs.try_again.do_background(20)

    assert ran == list(range(1, 21))


def test_a_delay_of_the_jobs_own_wins(gearman_client, gearman_worker, ran):
    def ask(seconds: object = None) -> None:
        ran.append("run")
        raise RetryJob() if seconds is None else RetryJob(delay=seconds)  # type: ignore[arg-type]

    job = Job(ask, name="tests.retries.ask", retries=1, backoff=100)
    registry.add(job)
    try:
        job.do_background(10)
        with pytest.raises(RetryJob):
            gearman_worker.advance(seconds=11)
        job.do_background()
        gearman_worker.advance(seconds=99)
        assert len(ran) == 3
        with pytest.raises(RetryJob):
            gearman_worker.advance(seconds=2)
        assert len(ran) == 4
    finally:
        del registry._jobs[job.name]


def test_a_backoff_that_fails_fails_the_job(gearman_client, gearman_worker):
    def fail() -> None:
        raise OSError

    job = Job(fail, name="tests.retries.fail", retries=1, backoff=lambda attempt: "soon")
    registry.add(job)
    try:
        with pytest.raises(TypeError, match="what backoff returns is a number of seconds"):
            job.do_background()
    finally:
        del registry._jobs[job.name]


# The arguments of the decorator


@given(
    attempt=st.integers(1, 10_000),
    base=st.floats(0, 1e6),
    factor=st.floats(1, 100),
    longest=st.floats(0, 1e6),
)
def test_exponential_grows_up_to_a_limit(attempt, base, factor, longest):
    exactly = exponential(base, factor, longest, jitter=False)
    by_chance = exponential(base, factor, longest)

    assert exactly(1) == min(base, longest)
    assert exactly(attempt) <= exactly(attempt + 1) <= longest
    assert exactly(attempt) / 2 <= by_chance(attempt) <= exactly(attempt)


def test_exponential_as_people_know_it():
    backoff = exponential(base=1, factor=2, max=10, jitter=False)

    assert [backoff(attempt) for attempt in range(1, 7)] == [1, 2, 4, 8, 10, 10]


@pytest.mark.parametrize(
    ("arguments", "error", "reported"),
    [
        ({"retries": -1}, ValueError, "0 or more"),
        ({"retries": "3"}, TypeError, "how often"),
        ({"retries": True}, TypeError, "how often"),
        ({"retries": 1.5}, TypeError, "how often"),
        ({"backoff": 5}, ValueError, "write retries=N, too"),
        ({"retry_on": OSError}, ValueError, "write retries=N, too"),
        ({"retries": 1, "backoff": "soon"}, TypeError, "backoff is a number"),
        ({"retries": 1, "backoff": float("nan")}, ValueError, "backoff is a number"),
        ({"retries": 1, "retry_on": "OSError"}, TypeError, "classes of exceptions"),
        ({"retries": 1, "retry_on": [int]}, TypeError, "classes of exceptions"),
        ({"retries": 1, "serializer": "raw"}, ValueError, "no number of the attempt"),
        ({"timeout": 0}, ValueError, "above 0"),
        ({"timeout": -1}, ValueError, "above 0"),
        ({"timeout": "5"}, TypeError, "number of seconds"),
        ({"timeout": float("inf")}, ValueError, "above 0"),
    ],
)
def test_options_without_meaning_are_refused_at_the_declaration(arguments, error, reported):
    with pytest.raises(error, match=reported):
        Job(lambda: None, name="wrong", **arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"base": -1}, {"factor": 0.5}, {"max": float("nan")}, {"max": float("inf")}],
)
def test_numbers_that_make_no_delay_are_refused(arguments):
    with pytest.raises(ValueError, match="exponential: "):
        exponential(**arguments)


def test_a_backoff_may_be_a_timedelta():
    job = Job(lambda: None, name="job", retries=1, backoff=datetime.timedelta(minutes=2))

    assert job.retry_policy.delay_after(1) == 120


def test_delays_in_the_past_are_at_once():
    assert RetryJob(datetime.timedelta(seconds=-5)).delay == 0
    assert RetryJob().delay is None
    with pytest.raises(TypeError):
        RetryJob("5")  # type: ignore[arg-type]


def test_the_error_of_a_job_that_a_caller_waits_for(gearman_client):
    with override_gearman("eager", raise_failures=False), pytest.raises(JobRaised, match="OSError"):
        jobs.flaky.do(1)


# Odd servers and workloads


@pytest.fixture
def queue(settings, request):
    """Return a job server in memory with a limit of jobs for each function."""

    def make(max_queued: int | None = None) -> BaseBackend:
        settings.GEARMAN_BACKEND = "memory"
        settings.GEARMAN_OPTIONS = {"name": request.node.nodeid, "max_queued": max_queued}
        return get_backend()

    return make


def test_a_next_attempt_that_the_server_refuses_is_not_lost(queue):
    backend = queue(max_queued=1)
    job = Job(lambda: 1 / 0, name="refused", retries=2, backoff=0)
    backend.submit([JobSpec("refused", b"", background=True)])
    session = backend.register(["refused"])

    for _ in range(2):  # while this attempt is running, it has the only place
        with pytest.raises(ServerError, match="queue is full"):
            execute(job, session.grab_job(0), session, backend.submit)
        assert [(row.total, row.running) for row in backend.functions()] == [(1, 0)]

    backend.max_queued = None
    outcomes = []
    while (assigned := session.grab_job(0)) is not None:
        outcomes.append(execute(job, assigned, session, backend.submit))
    assert outcomes == [WorkComplete(b""), WorkComplete(b""), WorkFail()]


@pytest.mark.parametrize("attempt", [-(10**9), -1, 0, 2**31 + 1, 10**40])
def test_a_number_that_no_attempt_has_is_not_believed(queue, attempt):
    backend = queue()
    job = Job(lambda: 1 / 0, name="numbered", retries=2, backoff=0)
    workload = b'{"args":[],"kwargs":{},"attempt":%d}' % attempt
    backend.submit([JobSpec("numbered", workload, background=True)])
    session = backend.register(["numbered"])
    reported = []

    def failed(context, **named):
        reported.append(context.attempt)

    job_failed.connect(failed)
    try:
        while (assigned := session.grab_job(0)) is not None:
            execute(job, assigned, session, backend.submit)
    finally:
        job_failed.disconnect(failed)

    assert reported == [3]
