"""The context that a submitter gives to a job, and the job reads."""

from __future__ import annotations

import logging

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_gearman import GearmanClient, current_job
from django_gearman.logs import JobFilter
from django_gearman.serializers import Call
from tests.app import gearman_jobs as jobs


def provide() -> dict[str, object]:
    return {"request_id": "r-1"}


def test_the_submitters_context_is_known_in_the_job(settings, gearman_client):
    settings.GEARMAN_CONTEXT_PROVIDER = "tests.jobs.test_context.provide"

    assert jobs.tell_context.do() == {"request_id": "r-1"}


def test_a_job_passes_its_context_on(settings, gearman_client):
    answers = iter([{"request_id": "r-1", "user": 5}, {"user": 6}])
    settings.GEARMAN_CONTEXT_PROVIDER = lambda: next(answers)

    assert jobs.submit_with_context.do() == {"request_id": "r-1", "user": 6}


def test_a_retry_keeps_the_context(settings, gearman_client, gearman_worker, runs):
    settings.GEARMAN_CONTEXT_PROVIDER = provide

    jobs.flaky.do_background(1)
    gearman_worker.advance(seconds=61)

    assert [run.attempt for run in runs] == [1, 2]
    assert [run.context for run in runs] == [{"request_id": "r-1"}] * 2


def test_the_same_job_for_another_request_is_the_same_job(settings):
    client = GearmanClient().using(unique=True)
    settings.GEARMAN_CONTEXT_PROVIDER = lambda: {"request_id": 1}
    first = client.prepare("tests.app.echo", Call([5]), True)
    settings.GEARMAN_CONTEXT_PROVIDER = lambda: {"request_id": 2}
    second = client.prepare("tests.app.echo", Call([5]), True)

    assert first.unique == second.unique
    assert first.spec.workload != second.spec.workload


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        ("no.such.module", "GEARMAN_CONTEXT_PROVIDER"),
        (5, "a function without arguments"),
        (lambda: "text", "returns a dict"),
        (lambda: {1: 2}, "names as keys"),
    ],
)
def test_a_wrong_provider_is_reported(settings, gearman_client, provider, message):
    settings.GEARMAN_CONTEXT_PROVIDER = provider
    with pytest.raises(ImproperlyConfigured, match=message):
        jobs.echo.do(1)


def test_there_is_a_current_job_while_one_runs(gearman_client):
    assert current_job() is None
    with pytest.raises(ValueError, match="boom"):
        jobs.fail.do("boom")
    assert current_job() is None


def test_records_of_the_projects_own_code_carry_the_job(gearman_client, ran):
    record = logging.LogRecord("shop", logging.INFO, "file", 1, "text", (), None)

    assert JobFilter().filter(record)

    assert (record.gearman_job, record.gearman_attempt) == ("", "")
