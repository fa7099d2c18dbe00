"""Middleware around the submission of jobs."""

from __future__ import annotations

import pytest
from django.db import transaction

from django_gearman import GearmanClient, current_job, gearman_job
from django_gearman.backends import get_backend
from django_gearman.backends.memory import MemoryBackend
from django_gearman.exceptions import ResultUnavailable, SerializationError, ServerUnavailable
from django_gearman.middleware import Middleware
from django_gearman.signals import job_submitted
from tests.app import gearman_jobs as jobs
from tests.support.transports import on_each_transport


@gearman_job
def tenant_of_a_job_inside() -> object:
    return jobs.tell_context.do()


class Tenant(Middleware):
    def __init__(self, name: str = "acme") -> None:
        self.name = name

    def around_submit(self, requests, submit):
        for request in requests:
            request.context.setdefault("tenant", self.name)
        submit(requests)


class Keep(Middleware):
    """Keeps what is submitted."""

    def __init__(self) -> None:
        self.kept = []

    def around_submit(self, requests, submit):
        self.kept.append((requests, submit))


class Note(Middleware):
    def __init__(self, name: str, notes: list[object]) -> None:
        self.name, self.notes = name, notes

    def around_submit(self, requests, submit):
        self.notes.append((self.name, len(requests), [r.handle for r in requests]))
        try:
            submit(requests)
        except Exception as error:
            self.notes.append((self.name, type(error)))
            raise
        self.notes.append((self.name, all(r.handle for r in requests)))


@on_each_transport
def test_additions_to_the_context_travel(transport, settings, gearman_client):
    settings.GEARMAN_MIDDLEWARE = [Tenant]

    request = gearman_client.submit_job(
        jobs.tell_context, background=transport == "memory", wait_until_complete=True
    )

    if transport == "memory":
        assert gearman_client.submitted[0].call.context == {"tenant": "acme"}
    else:
        assert request.result == {"tenant": "acme"}


def test_a_job_passes_it_on_to_those_that_it_submits(settings, gearman_client):
    settings.GEARMAN_MIDDLEWARE = [lambda: Tenant((current_job() and "inner") or "outer")]

    assert tenant_of_a_job_inside.do() == {"tenant": "outer"}


def test_it_stands_beside_that_of_the_context_provider(settings, gearman_client):
    settings.GEARMAN_CONTEXT_PROVIDER = lambda: {"request": 7}
    settings.GEARMAN_MIDDLEWARE = [Tenant]

    assert jobs.tell_context.do() == {"request": 7, "tenant": "acme"}


def test_a_retry_keeps_it(settings, gearman_client, gearman_worker, runs):
    settings.GEARMAN_MIDDLEWARE = [Tenant]

    jobs.flaky.do_background(1)
    gearman_worker.advance(seconds=61)

    assert [run.attempt for run in runs] == [1, 2]
    assert [run.context for run in runs] == [{"tenant": "acme"}] * 2


def test_a_context_that_cannot_travel_is_refused_before_anything_is_sent(settings, gearman_client):
    settings.GEARMAN_MIDDLEWARE = [lambda: Tenant(object())]

    with pytest.raises(SerializationError, match=r"the context of job tests\.app\.echo"):
        jobs.echo.do_background(1)

    gearman_client.assert_nothing_submitted()


def test_the_first_is_the_outermost(settings, gearman_client):
    notes = []
    settings.GEARMAN_MIDDLEWARE = [lambda: Note("a", notes), lambda: Note("b", notes)]

    jobs.echo.do_background(1)

    assert notes == [("a", 1, [""]), ("b", 1, [""]), ("b", True), ("a", True)]


def test_a_batch_passes_as_one(settings, gearman_client):
    notes = []
    settings.GEARMAN_MIDDLEWARE = [lambda: Note("a", notes)]

    assert jobs.echo.map([1, 2, 3]) == [1, 2, 3]

    assert notes == [("a", 3, ["", "", ""]), ("a", True)]


def test_it_sees_the_error_of_the_server(settings, gearman_client):
    notes = []
    settings.GEARMAN_MIDDLEWARE = [lambda: Note("a", notes)]

    with gearman_client.server_down(), pytest.raises(ServerUnavailable):
        jobs.echo.do_background(1)

    assert notes[1] == ("a", ServerUnavailable)


@pytest.mark.parametrize("error", [ValueError, SystemExit])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_exception_of_middleware_reaches_the_caller(error, when, settings, gearman_client):
    class Raises(Middleware):
        def around_submit(self, requests, submit):
            if when == "after":
                submit(requests)
            raise error("no")

    settings.GEARMAN_MIDDLEWARE = [Raises]

    with pytest.raises(error, match="no"):
        jobs.echo.do_background(1)

    assert len(gearman_client.submitted) == (when == "after")


def test_kept_requests_can_be_sent_later(settings, gearman_client):
    keep = Keep()
    settings.GEARMAN_MIDDLEWARE = [lambda: keep]

    request = jobs.echo.do_background(1)

    gearman_client.assert_nothing_submitted()
    assert (request.state, request.handle) == ("UNKNOWN", "")
    [(requests, submit)] = keep.kept
    assert requests == [request]
    submit(requests)
    assert gearman_client.assert_submitted(jobs.echo, 1).result == 1
    assert request.state == "CREATED"


def test_waiting_for_a_kept_request_is_an_error(settings, gearman_client):
    settings.GEARMAN_MIDDLEWARE = [Keep]

    with pytest.raises(ResultUnavailable, match="has not been submitted"):
        jobs.echo.do(1)


def test_some_may_be_submitted(settings, gearman_client):
    class First(Middleware):
        def around_submit(self, requests, submit):
            submit(requests[:1])
            submit([])

    settings.GEARMAN_MIDDLEWARE = [First]
    entries = [{"task": "tests.app.echo", "data": n} for n in range(3)]

    requests = GearmanClient().submit_multiple_jobs(entries, background=True)

    assert [bool(request.handle) for request in requests] == [True, False, False]
    assert len(gearman_client.submitted) == 1


@pytest.mark.django_db(transaction=True)
def test_it_stands_around_the_call_and_not_the_commit(settings, gearman_client):
    notes = []
    settings.GEARMAN_MIDDLEWARE = [Tenant, lambda: Note("a", notes)]

    with transaction.atomic():
        jobs.tell_context.using(on_commit=True).do_background()
        assert notes == [("a", 1, [""]), ("a", False)]
        gearman_client.assert_nothing_submitted()

    assert gearman_client.assert_submitted(jobs.tell_context).result == {"tenant": "acme"}
    assert len(notes) == 2


def test_signals_report_sent_jobs(settings, memory):
    handles = []

    def note(request, **kwargs):
        handles.append((request.handle != "", request.context))

    settings.GEARMAN_MIDDLEWARE = [Tenant]
    job_submitted.connect(note)
    try:
        jobs.echo.do_background(1)
    finally:
        job_submitted.disconnect(note)

    assert handles == [(True, {"tenant": "acme"})]
    backend = get_backend()
    assert isinstance(backend, MemoryBackend)
    [row] = backend.functions()
    assert row.total == 1
