"""A job that no server accepts after its transaction has committed: it is logged, or raised."""

from __future__ import annotations

import logging

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from django_gearman import JOB_FAILED, GearmanClient
from django_gearman.exceptions import ServerError, ServerUnavailable, SubmitUncertain
from django_gearman.signals import submit_failed
from django_gearman.testing.gearmand import free_port
from tests.app import gearman_jobs as jobs

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def reported():
    """Return the calls of a receiver of submit_failed; another receiver fails."""
    found: list[tuple[object, object, object]] = []

    def receive(sender, request, exception, **_):
        found.append((sender, request, exception))

    def fail(**_):
        raise RuntimeError("a receiver")

    submit_failed.connect(fail)
    submit_failed.connect(receive)
    yield found
    submit_failed.disconnect(fail)
    submit_failed.disconnect(receive)


@pytest.fixture
def down(settings, production):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [f"127.0.0.1:{free_port()}"]


def errors(caplog) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "django_gearman.jobs" and record.levelno == logging.ERROR
    ]


def test_a_down_server_at_commit_is_logged_and_signalled_and_the_rest_continues(
    down, reported, caplog
):
    later: list[int] = []
    with transaction.atomic():
        request = jobs.note.using(on_commit=True).do_background("secret")
        transaction.on_commit(lambda: later.append(1))

    assert later == [1]
    assert (request.state, request.handle) == (JOB_FAILED, "")
    assert isinstance(request.exception, ServerUnavailable)
    assert reported == [(jobs.note, request, request.exception)]
    [message] = errors(caplog)
    assert message.startswith(
        "job tests.app.note (no handle) was not submitted when its transaction had committed, "
        "with arguments of digest "
    )
    assert "Connection refused" in message
    assert "secret" not in message
    [record] = [r for r in caplog.records if r.levelno == logging.ERROR and r.name.endswith("jobs")]
    assert record.gearman_job == "tests.app.note"


@pytest.mark.parametrize("by", ["option", "setting", "option over setting"])
def test_it_is_raised_for_callers_that_ask_for_it(settings, down, reported, caplog, by):
    settings.GEARMAN_ON_COMMIT_FAILURE = "raise" if by == "setting" else "log"
    options = {} if by == "setting" else {"on_commit_failure": "raise"}

    with pytest.raises(ServerUnavailable), transaction.atomic():
        request = jobs.note.using(on_commit=True, **options).do_background(1)

    assert isinstance(request.exception, ServerUnavailable)
    assert [each[1] for each in reported] == [request]
    assert len(errors(caplog)) == 1


def test_a_submission_outside_of_a_transaction_raises_as_ever(down, reported, caplog):
    with pytest.raises(ServerUnavailable):
        jobs.note.using(on_commit=True).do_background(1)

    assert (reported, errors(caplog)) == ([], [])


def test_each_of_many_jobs_is_reported(down, reported):
    with transaction.atomic():
        requests = (
            GearmanClient()
            .using(on_commit=True)
            .submit_multiple_jobs(
                [{"task": "tests.app.note", "data": n} for n in range(3)], background=True
            )
        )

    assert [each[1] for each in reported] == requests


def test_refused_jobs_are_reported_and_the_others_go_out(settings, reported, request, caplog):
    settings.GEARMAN_BACKEND = "memory"
    settings.GEARMAN_OPTIONS = {"name": request.node.nodeid, "max_queued": 1}

    with transaction.atomic():
        first, second = (
            GearmanClient()
            .using(on_commit=True)
            .submit_multiple_jobs(
                [{"task": "tests.app.note", "data": n} for n in range(2)], background=True
            )
        )

    assert first.handle
    assert isinstance(second.exception, ServerError)
    assert [each[1] for each in reported] == [second]
    assert len(errors(caplog)) == 1


@pytest.mark.gearman("eager")
def test_a_job_that_runs_at_once_and_fails_is_not_a_failure_to_submit(gearman_client, reported):
    with pytest.raises(ValueError, match="boom"), transaction.atomic():
        jobs.fail.using(on_commit=True).do_background("boom")

    assert reported == []


def test_a_server_that_is_down_in_a_test_is_one(gearman_client, reported, ran):
    with gearman_client.server_down(), transaction.atomic():
        request = jobs.note.using(on_commit=True).do_background(1)
        transaction.on_commit(lambda: ran.append("later"))

    assert ran == ["later"]
    assert isinstance(request.exception, ServerUnavailable)
    assert [each[1] for each in reported] == [request]


def test_a_connection_that_breaks_in_a_test_leaves_it_open(gearman_client, reported, caplog):
    with gearman_client.lose_connection(after="submit"), transaction.atomic():
        request = jobs.note.using(on_commit=True).do_background(1)

    assert isinstance(request.exception, SubmitUncertain)
    assert "may not have been submitted" in errors(caplog)[-1]
    assert [each[1] for each in reported] == [request]


def test_a_test_that_must_not_reach_a_server_fails(settings):
    settings.GEARMAN_BACKEND = "gearman"

    with pytest.raises(AssertionError), transaction.atomic():
        jobs.note.using(on_commit=True).do_background(1)


@pytest.mark.parametrize("value", ["Raise", None, True, ""])
def test_a_wrong_setting_is_reported_before_the_commit(settings, value):
    settings.GEARMAN_ON_COMMIT_FAILURE = value

    with transaction.atomic(), pytest.raises(ImproperlyConfigured, match="is 'log' or 'raise'"):
        jobs.note.using(on_commit=True).do_background(1)
    with pytest.raises(ValueError, match="is 'log' or 'raise', not 'no'"):
        jobs.note.using(on_commit_failure="no")
    with pytest.raises(ValueError, match="on_commit_failure is for background jobs"):
        jobs.note.using(on_commit_failure="log").do(1)
