"""Execution, the worker around it, and the eager transport."""

from __future__ import annotations

import datetime
import logging
import os
import sys
import threading

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from django_gearman import GearmanClient, GearmanWorker, RetryJob, gearman_job
from django_gearman.backends import get_backend
from django_gearman.backends.base import JobSpec, WorkComplete, WorkFail, WorkWarning
from django_gearman.backends.memory import MemoryBackend
from django_gearman.client.job import Job
from django_gearman.exceptions import JobAlreadyRegistered
from django_gearman.jobs.functions import functions_of
from django_gearman.jobs.registry import registry
from django_gearman.serializers import JSONSerializer
from django_gearman.serializers.failures import parse_error
from django_gearman.signals import job_failed, job_finished, job_started
from django_gearman.worker.execution import execute
from django_gearman.worker.inline import run_queued
from tests.app import gearman_jobs as jobs
from tests.support.gearmand import wait_until
from tests.support.workers import work_off


@pytest.fixture
def backend(settings, request) -> MemoryBackend:
    settings.GEARMAN_BACKEND = "memory"
    settings.GEARMAN_OPTIONS = {"name": request.node.nodeid}
    backend = get_backend()
    assert isinstance(backend, MemoryBackend)
    return backend


def run(backend, function: str, workload: bytes, background: bool = False):
    """Run one job of these bytes; return what its submitter receives, or saw run."""
    job = registry.get(function)
    [submission] = backend.submit([JobSpec(function, workload, background=background)])
    session = backend.register([function])
    assigned = session.grab_job(0)
    outcome = execute(job, assigned, session, backend.submit)
    session.close()
    if background:
        return [outcome]
    return list(submission.updates(0))


@pytest.fixture
def outcomes_of(backend):
    """Return a function that runs a background job and its next attempts, and returns their outcomes."""

    def run_all(job: Job) -> list[object]:
        backend.submit([JobSpec(job.name, b"", background=True)])
        session = backend.register([job.name])
        outcomes: list[object] = []
        while (assigned := session.grab_job(0)) is not None and len(outcomes) < 10:
            outcomes.append(execute(job, assigned, session, backend.submit))
        return outcomes

    return run_all


def test_a_job_is_run_with_what_its_workload_says(backend):
    workload = b'{"args": [1], "kwargs": {"right": 2}}'

    assert run(backend, "tests.app.add", workload) == [WorkComplete(b"3")]


@pytest.mark.parametrize(
    ("function", "workload", "message"),
    [
        ("tests.app.echo", b"\xff\x00noise", "SerializationError"),
        ("tests.app.echo", b'{"args": [1, 2], "kwargs": {}}', "too many positional"),
        ("tests.app.echo", b"{", "not JSON"),
        ("tests.app.fail", b'"boom"', "ValueError"),
        ("tests.app.leave", b"", "SystemExit"),
        ("tests.app.return_lambda", b"", "result of job tests.app.return_lambda"),
        ("tests.app.try_again", b"5", "RetryJob"),
    ],
)
def test_any_error_fails_the_job_and_says_why(backend, caplog, function, workload, message):
    warning, outcome = run(backend, function, workload)

    assert outcome == WorkFail()
    error = parse_error(warning.data)
    assert error is not None
    assert message in f"{error['exception_type']}: {error['message']}"
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert function in record.getMessage()
    assert record.exc_info, "the traceback is not logged"


def test_an_interrupt_continues_and_leaves_the_current_job(backend):
    def interrupt():
        raise KeyboardInterrupt

    job = Job(interrupt, name="interrupt")
    backend.submit([JobSpec("interrupt", b"", background=True)])
    session = backend.register(["interrupt"])

    with pytest.raises(KeyboardInterrupt):
        execute(job, session.grab_job(0), session, backend.submit)

    assert [row.running for row in backend.functions()] == [1]


def test_signals_surround_a_job(backend):
    messages = []

    def started(sender, context, **kwargs):
        messages.append(("started", sender.name, context.handle != ""))

    def finished(sender, context, outcome, exception, seconds, **kwargs):
        messages.append(("finished", type(outcome), type(exception), seconds >= 0))

    job_started.connect(started)
    job_finished.connect(finished)
    try:
        run(backend, "tests.app.fail", b'"boom"')
    finally:
        job_started.disconnect(started)
        job_finished.disconnect(finished)

    assert messages == [
        ("started", "tests.app.fail", True),
        ("finished", WorkFail, ValueError, True),
    ]


def test_a_retry_keeps_the_arguments_and_counts(backend, ran):
    assert run(backend, "tests.app.try_again", b'{"args": [2], "kwargs": {}}', True) == [
        WorkComplete(b"")
    ]

    session = backend.register(["tests.app.try_again"])
    again = session.grab_job(0)
    assert again.workload == b'{"args":[2],"kwargs":{},"attempt":2}'
    assert again.background


def test_a_retry_is_reported_apart_from_a_success(backend, ran):
    messages = []

    def finished(exception, **kwargs):
        messages.append(type(exception))

    job_finished.connect(finished)
    try:
        jobs.try_again.do_background(2)
        work_off()
    finally:
        job_finished.disconnect(finished)

    assert messages == [RetryJob, type(None)]


def test_a_serializer_that_is_wrong_is_reported_before_any_job_runs(backend):
    job = Job(lambda: None, name="wrong-serializer", serializer="bogus")

    with pytest.raises(ImproperlyConfigured, match="serializer of job wrong-serializer"):
        functions_of([job])


def test_two_jobs_cannot_share_a_function(settings):
    settings.GEARMAN_JOB_NAME = lambda name: "same"
    with pytest.raises(JobAlreadyRegistered, match="GEARMAN_JOB_NAME"):
        functions_of([jobs.echo, jobs.add])


# The worker


def test_a_worker_serves_its_queues_only(backend, ran):
    client = GearmanClient()
    client.submit_job("tests.app.note", "default", background=True)
    client.submit_job("send-mail", "ada", background=True)

    assert GearmanWorker(["mail"], clean_connections=False).work(burst=True) == 1
    assert ran == ["ada"]
    assert work_off() == 1
    assert ran == ["ada", "default"]


def test_a_worker_continues_after_a_failure(backend, ran):
    client = GearmanClient()
    for name in ("tests.app.leave", "tests.app.return_lambda"):
        client.submit_job(name, background=True)
    client.submit_job("tests.app.note", "after", background=True)

    assert work_off() == 3
    assert ran == ["after"]


def test_a_worker_waits_for_jobs_until_it_is_stopped(backend, ran):
    worker = GearmanWorker()
    thread = threading.Thread(target=worker.work)
    thread.start()
    wait_until(backend.workers, "the worker is there")

    GearmanClient().submit_job("tests.app.note", 1, background=True)
    wait_until(lambda: ran == [1], "the job has run")
    worker.stop()
    thread.join(20)

    assert not thread.is_alive()
    assert backend.workers() == []


def test_a_stopped_worker_gives_nothing_up(backend, ran):
    worker = GearmanWorker()
    worker.stop()
    GearmanClient().submit_job("tests.app.note", 1, background=True)

    assert worker.work() == 0
    assert [row.total for row in backend.functions() if row.function == "tests.app.note"] == [1]


def test_an_unknown_queue_is_refused():
    with pytest.raises(ValueError, match="no job is in queue 'nope'"):
        GearmanWorker(["nope"])


def test_a_worker_is_listed_by_host_process_and_queues():
    name = GearmanWorker(["mail"]).client_id

    assert name.endswith(f"/{os.getpid()}/mail")
    assert ":" not in GearmanWorker(name="a:b").client_id
    assert len(name) < 128
    assert " " not in name


def test_a_job_whose_connection_is_lost_does_not_stop_the_worker(backend, caplog):
    """Closing the session while the job runs gives the job back, as a lost connection does."""
    GearmanClient().submit_job("tests.app.echo", 1, background=True)
    worker = GearmanWorker(clean_connections=False)
    handles = []

    def lose_twice(sender, context, **kwargs):
        handles.append(context.handle)
        if len(handles) <= 2:
            context._session.close()

    job_started.connect(lose_twice)
    try:
        assert worker.work(burst=True) == 3
    finally:
        job_started.disconnect(lose_twice)

    assert len(set(handles)) == 1, "the same job, each time"
    assert caplog.text.count("this worker no longer has job") == 2


@pytest.mark.django_db(transaction=True)
def test_broken_database_connections_are_dropped_around_a_job(backend, settings):
    connection = connections["default"]
    connection.ensure_connection()
    connection.errors_occurred = True
    closed = []
    original = connection.close_if_unusable_or_obsolete
    connection.close_if_unusable_or_obsolete = lambda: (closed.append(1), original())
    GearmanClient().submit_job("tests.app.note", 1, background=True)
    try:
        GearmanWorker().work(burst=True)
    finally:
        del connection.close_if_unusable_or_obsolete

    assert len(closed) == 2, "not once before and once after the job"


# Eager


def test_eager_runs_jobs_in_the_thread_that_submits():
    @gearman_job(name="which-thread")
    def which_thread():
        return threading.get_ident()

    assert which_thread.do() == threading.get_ident()


def test_eager_holds_delayed_jobs_back(ran):
    jobs.note.using(run_after=datetime.timedelta(hours=1)).do_background("later")
    assert ran == []

    backend = get_backend()
    backend.server.offset = 3601
    try:
        jobs.note.do_background("now")
    finally:
        backend.server.offset = 0

    assert sorted(ran) == ["later", "now"]


def test_eager_ends_a_job_that_is_interrupted():
    @gearman_job(name="interrupted")
    def interrupted():
        raise KeyboardInterrupt

    for _ in range(2):  # the second one would join the first, had that not ended
        with pytest.raises(KeyboardInterrupt):
            interrupted.using(unique="once", wait=20).do()


def test_eager_runs_a_job_again_as_often_as_it_asks(ran):
    jobs.try_again.do_background(500)

    assert ran == list(range(1, 501))


def test_eager_fails_a_function_that_no_job_has():
    [submission] = get_backend().submit([JobSpec("nobody.knows", b"")])
    run_queued(get_backend())

    warning, outcome = submission.updates(0)

    assert isinstance(warning, WorkWarning)
    assert b"nobody.knows" in warning.data
    assert outcome == WorkFail()


def test_eager_never_touches_database_connections(monkeypatch):
    monkeypatch.setattr("django.db.close_old_connections", lambda: pytest.fail("touched"))

    assert jobs.add.do(1) == 11


# Logs and signals of a job change nothing


class Unspeakable(BaseException):
    """Everything that can be asked of it raises `kind`."""

    kind: type[BaseException] = SystemExit

    def __str__(self):
        raise self.kind("unspeakable")

    __repr__ = __str__

    @property
    def __class__(self):
        raise self.kind("unspeakable")

    @property
    def __cause__(self):
        raise self.kind("unspeakable")

    __context__ = __cause__


def unspeakable(kind):
    return type(f"Unspeakable{kind.__name__}", (Unspeakable,), {"kind": kind})


KINDS = [SystemExit, KeyboardInterrupt, GeneratorExit, RecursionError, MemoryError, Exception]


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_that_cannot_be_asked_fails_its_job(backend, outcomes_of, caplog, kind):
    def fail():
        raise unspeakable(kind)

    [outcome] = outcomes_of(Job(fail, name="unspeakable"))

    assert outcome == WorkFail()
    [record] = caplog.records
    assert f"Unspeakable{kind.__name__}" in record.getMessage()
    assert kind.__name__ in record.getMessage()


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_that_raises_it_is_retried_where_it_says_so(backend, outcomes_of, kind):
    def fail():
        raise unspeakable(kind)

    job = Job(fail, name="unspeakable", retries=2, backoff=0, retry_on=Unspeakable)

    assert outcomes_of(job) == [WorkComplete(b""), WorkComplete(b""), WorkFail()]


class Strange(type):
    def __subclasscheck__(cls, other):
        raise SystemExit("who knows")

    __instancecheck__ = __subclasscheck__


class StrangeError(Exception, metaclass=Strange):
    pass


@pytest.mark.parametrize(
    "options",
    [
        {"backoff": lambda attempt: sys.exit("no")},
        {"backoff": lambda attempt: exec("raise GeneratorExit")},
        {"retry_on": StrangeError},
    ],
)
def test_functions_of_a_declaration_may_raise_anything(backend, outcomes_of, options):
    def fail():
        raise ValueError

    job = Job(fail, name="strange", **{"retries": 2, "backoff": 0, **options})

    assert outcomes_of(job) == [WorkFail()]


class Leaving(JSONSerializer):
    def __init__(self, method, kind):
        def leave(self, value):
            raise kind("leaving")

        self.__dict__[method] = leave.__get__(self)


@pytest.mark.parametrize("method", ["dumps", "loads_call", "dumps_call"])
@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, RecursionError, MemoryError])
def test_a_serializer_may_raise_anything(backend, outcomes_of, method, kind):
    def fail():
        if method == "dumps_call":
            raise ValueError

    serializer = Leaving(method, kind)
    job = Job(fail, name="strange", retries=1, backoff=0, retry_on=OSError, serializer=serializer)
    if method == "dumps_call":
        job = Job(fail, name="strange", retries=1, backoff=0, serializer=serializer)

    assert outcomes_of(job) == [WorkFail()]


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, RecursionError, ValueError])
@pytest.mark.parametrize("fails", [False, True])
def test_receivers_may_raise_anything(backend, outcomes_of, caplog, kind, fails):
    def run():
        if fails:
            raise OSError("it failed")

    def leave(**named):
        raise kind("leaving")

    messages = [job_started, job_failed, job_finished]
    for each in messages:
        each.connect(leave)
    try:
        outcomes = outcomes_of(Job(run, name="message"))
    finally:
        for each in messages:
            each.disconnect(leave)

    assert outcomes == [WorkFail() if fails else WorkComplete(b"null")]
    assert fails is any("it failed" in each.getMessage() for each in caplog.records)
    if not issubclass(kind, Exception):
        assert f"a receiver of job_finished has raised {kind.__name__}('leaving')" in caplog.text


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, RecursionError, ValueError])
@pytest.mark.parametrize("part", [logging.Handler, logging.Filter])
def test_log_handlers_and_filters_may_raise_anything(backend, outcomes_of, caplog, kind, part):
    def fail():
        raise OSError("it failed")

    def leave(record):
        if not record.getMessage().startswith("a log handler"):
            raise kind("leaving")

    jobs_logger = logging.getLogger("django_gearman.jobs")
    added = part()
    if isinstance(added, logging.Handler):
        added.emit = leave
        jobs_logger.addHandler(added)
    else:
        added.filter = leave
        jobs_logger.addFilter(added)
    try:
        outcomes = outcomes_of(Job(fail, name="message"))
    finally:
        jobs_logger.removeHandler(added)
        jobs_logger.removeFilter(added)

    assert outcomes == [WorkFail()]
    [record] = caplog.records
    assert "it failed" in record.getMessage()
    assert f"a log handler or filter raised {kind.__name__}" in record.getMessage()


def test_the_outcome_is_sent_before_receivers_are_called(backend, caplog):
    def fail():
        raise OSError("it failed")

    seen = []

    def look(context, **named):
        seen.append(backend.job_status(context.handle).known)

    for each in (job_failed, job_finished):
        each.connect(look)
    try:
        backend.submit([JobSpec("message", b"", background=True)])
        session = backend.register(["message"])
        execute(Job(fail, name="message"), session.grab_job(0), session, backend.submit)
    finally:
        for each in (job_failed, job_finished):
            each.disconnect(look)

    assert seen == [False, False]


def test_a_result_that_cannot_travel_is_a_failure(backend):
    class Narrow(type(backend.register([]))):
        def send(self, job, update):
            if isinstance(update, WorkComplete):
                raise ValueError("it is too much for a Gearman packet")
            super().send(job, update)

    [submission] = backend.submit([JobSpec("message", b"")])
    session = Narrow(backend.server, ["message"], "")

    outcome = execute(Job(lambda: 1, name="message"), session.grab_job(0), session, backend.submit)

    assert outcome == WorkFail()
    assert b"too much" in next(submission.updates(0)).data


def test_an_interrupt_that_no_keyboard_sent_fails_its_job(outcomes_of):
    def interrupt():
        raise KeyboardInterrupt

    seen = []
    thread = threading.Thread(target=lambda: seen.extend(outcomes_of(Job(interrupt, name="it"))))
    thread.start()
    thread.join(20)

    assert seen == [WorkFail()]
