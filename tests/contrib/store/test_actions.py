"""Failed jobs: running them again, and discarding them."""

from __future__ import annotations

import datetime
import itertools

import pytest
from django.db import transaction
from django.utils import timezone

from django_gearman.contrib.store import actions
from django_gearman.contrib.store.actions import discard, failures, retry
from django_gearman.contrib.store.models import JobRecord, OutboxJob
from tests.contrib import gearman_jobs as jobs
from tests.contrib.store.recorded import failed, recorded

pytestmark = [pytest.mark.django_db, pytest.mark.gearman("memory", raise_failures=False)]


@pytest.fixture
def fail(gearman_worker, has_run):
    """Return a function that lets a job fail, and returns its request."""

    def submit(job, *args, **kwargs):
        request = job.do_background(*args, **kwargs)
        gearman_worker.run()
        has_run.clear()
        return request

    return submit


def test_a_retry_runs_under_the_same_id_and_counts_on(fail, gearman_worker, has_run):
    request = fail(jobs.flaky, 3)
    outcome = retry([request.id])
    waiting = JobRecord.objects.get()
    gearman_worker.run()
    record = JobRecord.objects.get()

    assert (outcome.count, outcome.waiting, outcome.refused) == (1, 0, {})
    assert (waiting.id, waiting.status, waiting.finished_at) == (request.id, "READY", None)
    assert has_run == [4]
    assert (record.status, record.attempts, len(record.errors)) == ("SUCCESSFUL", 4, 3)
    assert not OutboxJob.objects.exists()


def test_a_retry_that_fails_is_a_failure_again(fail, gearman_worker, has_run):
    request = fail(jobs.fail, "once")
    for attempt in (2, 3):
        retry([request.id])
        gearman_worker.run()
        record = JobRecord.objects.get()
        assert (record.status, record.attempts, len(record.errors)) == ("FAILED", attempt, attempt)
    assert has_run == ["once", "once"]


@pytest.mark.parametrize(
    ("job", "value"),
    [(jobs.pickled, ValueError("a"))],
)
def test_a_pickled_job_runs_again(job, value, fail, gearman_worker, has_run):
    request = fail(job, value)
    retry([request.id])
    gearman_worker.run()

    assert [repr(each) for each in has_run] == [repr(value)]
    assert JobRecord.objects.get().attempts == 2


def test_plain_bytes_run_again_as_they_were(fail, gearman_worker, has_run):
    request = fail(jobs.raw, b"!\0\xff")
    kept = JobRecord.objects.get()
    retry([request.id])
    gearman_worker.run()
    record = JobRecord.objects.get()

    assert kept.call == '{"args": ["<3 bytes>"], "kwargs": {}}'
    assert has_run == [b"!\0\xff"]
    assert (record.attempts, [each["attempt"] for each in record.errors]) == (2, [1, 2])


def test_the_context_and_the_unique_stay(fail, gearman_worker, has_run, settings):
    settings.GEARMAN_CONTEXT_PROVIDER = lambda: {"tenant": "acme", "api_key": "sesame"}
    fail(jobs.fail.using(unique="only-one", priority="HIGH"), "x")
    before = JobRecord.objects.get()
    retry(failures())
    gearman_worker.run()
    record = JobRecord.objects.get()

    assert before.context == {"tenant": "acme", "api_key": "*" * 20}
    assert (record.context, record.unique, record.priority) == (before.context, "only-one", 1)
    assert (record.attempts, record.run) == (2, 3)


def test_only_one_of_two_retries_runs(fail, gearman_worker, has_run):
    request = fail(jobs.fail)

    assert [retry([request.id]).count, retry([request.id]).count] == [1, 0]
    gearman_worker.run()

    assert len(has_run) == 1


def test_a_retry_in_a_transaction_waits_for_its_commit(
    fail, gearman_worker, has_run, django_capture_on_commit_callbacks
):
    request = fail(jobs.fail)
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        retry([request.id])
    gearman_worker.run()

    assert has_run == ["no"]


def test_a_retry_waits_in_the_outbox_while_no_server_takes_it(
    fail, gearman_client, gearman_worker, has_run
):
    request = fail(jobs.fail)
    with gearman_client.server_down():
        outcome = retry([request.id])

    assert (outcome.count, outcome.waiting) == (1, 1)
    assert JobRecord.objects.get().status == "READY"
    assert OutboxJob.objects.get().job_id == request.id


def test_a_job_without_kept_arguments_is_refused_with_the_reason(fail):
    request = fail(jobs.keeps_no_arguments, "anna")
    outcome = retry([request.id])

    assert outcome.count == 0
    assert "keeps no arguments" in outcome.refused[request.id]
    assert JobRecord.objects.get().status == "FAILED"


def test_unreadable_arguments_are_sent_as_they_came(fail, gearman_worker, settings, has_run):
    request = fail(jobs.pickled, ValueError("a"))
    settings.SECRET_KEY = "another"
    retry([request.id])
    gearman_worker.run()
    unread = JobRecord.objects.get()
    settings.SECRET_KEY = "only for the tests"
    retry([request.id])
    gearman_worker.run()
    record = JobRecord.objects.get()

    assert "SerializationError" in unread.exception
    assert len(has_run) == 1
    assert [each["attempt"] for each in record.errors] == [1, 2, 3]


def test_jobs_that_have_not_failed_are_left_alone(fail, gearman_worker, has_run):
    waiting = jobs.double.do_background(1)
    done = fail(jobs.double, 2)

    assert retry([waiting.id, done.id, "unknown"]).count == 0
    assert retry(JobRecord.objects.all()).count == 0
    assert discard(JobRecord.objects.all()) == 0
    assert JobRecord.objects.count() == 2


def test_many_are_retried_in_batches(fail, gearman_worker, has_run, monkeypatch):
    monkeypatch.setattr(actions, "BATCH", 2)
    for number in range(5):
        jobs.fail.do_background(str(number))
    gearman_worker.run()
    has_run.clear()
    steps = []

    assert retry(failures(), steps.append).count == 5
    gearman_worker.run()

    assert steps == [2, 4, 5]
    assert sorted(has_run) == ["0", "1", "2", "3", "4"]


def test_failures_are_found_by_job_exception_and_time(fail):
    fail(jobs.fail)
    old = fail(jobs.flaky, 9)
    JobRecord.objects.filter(pk=old.id).update(
        finished_at=timezone.now() - datetime.timedelta(hours=3)
    )
    hour = datetime.timedelta(hours=1)

    def found(**filters):
        return {record.name.removeprefix("tests.contrib.") for record in failures(**filters)}

    assert found() == {"fail", "flaky"}
    assert found(job="tests.contrib.fail") == {"fail"}
    assert found(exception="OSError") == {"flaky"}
    assert found(exception="Error") == set()
    assert found(since=hour) == {"fail"}
    assert found(since=timezone.now() - 4 * hour) == {"fail", "flaky"}


def test_discarded_jobs_are_gone(fail):
    request = fail(jobs.fail)
    fail(jobs.flaky, 9)

    assert discard([request.id]) == 1
    assert JobRecord.objects.get().name == "tests.contrib.flaky"
    assert discard(failures()) == 1


def test_one_id_is_not_a_list_of_ids():
    with pytest.raises(TypeError, match=r"pass a list of ids, not one: \['abc'\]"):
        retry("abc")


def test_batches_take_each_failure_once_also_at_one_instant_and_without_a_time(monkeypatch):
    monkeypatch.setattr(actions, "BATCH", 2)
    ended = timezone.now()
    for number in range(5):
        failed(finished_at=ended)
        failed(finished_at=None)
        failed(ago=number)
    kept = [failed("shop.send"), recorded()]
    counts: list[int] = []

    assert discard(JobRecord.objects.filter(name="shop.pay"), counts.append) == 15
    assert {*JobRecord.objects.all()} == {*kept}
    assert counts[-1] == 15
    assert max(b - a for a, b in itertools.pairwise(counts)) <= 2


def test_an_action_ends_after_a_batch_if_its_watcher_says_so(monkeypatch):
    monkeypatch.setattr(actions, "BATCH", 2)
    for _ in range(5):
        failed()

    assert discard(failures(), lambda count: count < 4) == 4
    assert retry(failures(), lambda count: False).count == 1


def test_a_job_that_fails_again_meanwhile_is_retried_once(
    fail, gearman_worker, has_run, monkeypatch
):
    monkeypatch.setattr(actions, "BATCH", 1)
    for message in ("a", "b", "c"):
        fail(jobs.fail, message)

    retried = retry(failures(), lambda count: gearman_worker.run())

    assert retried.count == 3
    assert sorted(has_run) == ["a", "b", "c"]
