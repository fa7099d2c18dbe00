"""Records of jobs, through all their attempts."""

from __future__ import annotations

import datetime
import pickle
import threading

import pytest
from django.utils import timezone

from django_gearman import GearmanClient
from django_gearman.contrib.store import columns
from django_gearman.contrib.store.actions import failures, retry
from django_gearman.contrib.store.models import JobRecord
from django_gearman.contrib.store.pruning import make_service
from django_gearman.exceptions import JobFailed, JobRaised, JobTimeout, ResultUnavailable
from django_gearman.testing import override_gearman
from django_gearman.testing.waiting import NotServed
from tests.contrib import gearman_jobs as jobs

pytestmark = [pytest.mark.django_db, pytest.mark.gearman("memory", raise_failures=False)]


def record() -> JobRecord:
    return JobRecord.objects.get()


def test_a_stored_job_waits_runs_and_has_its_result(gearman_worker, has_run):
    request = jobs.double.do_background(21)
    waiting = record()
    gearman_worker.run()
    done = record()

    assert (waiting.id, waiting.status, waiting.run) == (request.id, "READY", 0)
    assert waiting.expires_at - waiting.enqueued_at > datetime.timedelta(days=29)
    assert (done.status, done.run, done.attempts, done.errors) == ("SUCCESSFUL", 1, 1, [])
    assert waiting.enqueued_at <= done.started_at <= done.finished_at
    assert done.expires_at - done.finished_at == pytest.approx(
        datetime.timedelta(days=1), abs=datetime.timedelta(seconds=5)
    )
    assert len(done.worker_ids) == 1
    assert request.result == 42
    assert request.state == "COMPLETE"
    assert GearmanClient().get_result(request.id) == 42


@pytest.mark.gearman("eager")
def test_a_foreground_job_is_recorded_too(gearman_client):
    assert jobs.double.do(4) == 8
    assert record().status == "SUCCESSFUL"


def test_nothing_is_kept_of_a_job_that_is_not_stored_and_succeeds(gearman_worker, has_run):
    request = jobs.plain.do_background(1)
    gearman_worker.run()

    assert has_run == [1]
    assert not JobRecord.objects.exists()
    with pytest.raises(ResultUnavailable, match=r"@gearman_job\(store_result=True\)"):
        request.result  # noqa: B018


def test_every_failure_is_kept(gearman_worker, has_run):
    request = jobs.fail.do_background("broken")
    gearman_worker.run()
    kept = record()

    assert (kept.id, kept.name, kept.queue) == (request.id, "tests.contrib.fail", "default")
    assert (kept.status, kept.exception, kept.attempts) == ("FAILED", "ValueError", 1)
    assert kept.call == '{"args": ["broken"], "kwargs": {}}'
    [error] = kept.errors
    assert error["message"] == "broken"
    assert error["attempt"] == 1
    assert "in fail" in error["traceback"]
    assert "/" in error["worker"]
    assert datetime.datetime.fromisoformat(error["at"]) <= timezone.now()
    assert len(kept.fingerprint) == 16


def test_the_errors_of_all_attempts_are_kept(gearman_worker, has_run):
    jobs.flaky.do_background(9)
    gearman_worker.run()
    kept = record()

    assert has_run == [1, 2, 3]
    assert (kept.status, kept.attempts, kept.run) == ("FAILED", 3, 3)
    assert [(e["attempt"], e["message"]) for e in kept.errors] == [
        (1, "attempt 1"),
        (2, "attempt 2"),
        (3, "attempt 3"),
    ]


@pytest.mark.parametrize("job", [jobs.flaky, jobs.fails_at_first])
def test_a_job_that_succeeds_at_last_keeps_its_errors(job, gearman_worker, has_run):
    job.do_background(1)
    gearman_worker.run(limit=1)
    between = record()
    gearman_worker.run()
    kept = record()

    assert (between.status, len(between.errors), between.finished_at) == ("READY", 1, None)
    assert (kept.status, len(kept.errors), kept.attempts) == ("SUCCESSFUL", 1, 2)


def test_a_request_for_another_run_is_not_an_error(gearman_worker):
    request = jobs.asks_for_another_run.do_background()
    gearman_worker.run()

    assert record().errors == []
    assert request.result == 3


def test_the_error_of_a_stored_job_reaches_who_asks(gearman_worker, has_run):
    request = jobs.fails_at_first.do_background(5)
    gearman_worker.run()

    with pytest.raises(JobRaised, match="attempt 3") as caught:
        request.result  # noqa: B018
    assert caught.value.exception_type == "OSError"
    with pytest.raises(JobFailed, match="attempt 3"):
        GearmanClient().get_result(request.id)


def test_waiting_ends_at_its_limit(gearman_worker):
    request = jobs.double.do_background(1)

    assert request.wait(timeout=0.05).timed_out
    with pytest.raises(JobTimeout):
        jobs.double.using(wait=0.05).do_background(1).result  # noqa: B018
    with pytest.raises(JobTimeout, match=r"has not ended in 0\.05 s"):
        GearmanClient().get_result(request.id, timeout=0.05)


def test_a_test_that_waits_without_a_worker_gets_an_error(gearman_worker):
    request = jobs.double.do_background(1)

    with pytest.raises(NotServed, match=r"waits for job tests\.contrib\.double"):
        request.result  # noqa: B018


def test_a_result_that_no_record_has_is_unavailable(gearman_client):
    with pytest.raises(ResultUnavailable, match="no record of a job with the id 'abc'"):
        GearmanClient().get_result("abc")


@pytest.mark.parametrize("value", [None, "", 0, [], {"a": (1, 2)}])
def test_results_come_back_as_they_were(value, gearman_worker, has_run):
    request = jobs.pickled.do_background(value)
    gearman_worker.run()

    assert request.result == value
    assert GearmanClient().get_result(request.id) == value


def test_jobs_that_are_submitted_together_are_recorded(gearman_worker, has_run):
    entries = [{"task": jobs.double, "data": n} for n in range(3)]
    entries.append({"task": jobs.plain, "data": 9})
    requests = GearmanClient().submit_multiple_jobs(entries, background=True)
    gearman_worker.run()

    assert [request.result for request in requests[:3]] == [0, 2, 4]
    assert JobRecord.objects.filter(status="SUCCESSFUL").count() == 3


def test_a_coroutine_is_recorded(gearman_worker):
    request = jobs.doubles_later.do_background(2)
    gearman_worker.run()

    assert (request.result, record().attempts) == (4, 1)


def test_a_copy_of_a_request_in_another_process_has_the_result(gearman_worker, has_run):
    request = pickle.loads(pickle.dumps(jobs.double.do_background(3)))
    gearman_worker.run()

    assert request.result == 6


@pytest.mark.gearman("eager", raise_failures=False)
def test_a_failed_foreground_job_can_run_again(gearman_client, has_run):
    with pytest.raises(JobRaised):
        jobs.fail.do("awaited")
    retry(failures())

    assert has_run == ["awaited", "awaited"]
    assert (record().status, record().attempts) == ("FAILED", 2)


@pytest.mark.parametrize(
    ("job", "args", "exception", "message"),
    [
        (jobs.leaves, [3], "SystemExit", "3"),
        (
            jobs.raises_what_has_no_text,
            [],
            "tests.contrib.gearman_jobs.Unreadable",
            "its str() raised",
        ),
    ],
)
def test_any_exception_is_kept(job, args, exception, message, gearman_worker):
    job.do_background(*args)
    gearman_worker.run()

    assert record().exception == exception
    assert message in record().errors[0]["message"]


def test_the_end_of_time_is_kept_on_a_leap_day(monkeypatch):
    leap_day = datetime.datetime(2028, 2, 29, 12, tzinfo=datetime.UTC)
    monkeypatch.setattr(columns.timezone, "now", lambda: leap_day)

    assert columns.time_of(1e18) == datetime.datetime(9999, 2, 1, 12, tzinfo=datetime.UTC)


def test_the_time_of_a_delayed_job_is_kept(gearman_worker, has_run):
    delay = datetime.timedelta(hours=2)
    jobs.double.using(run_after=delay).do_background(1)
    waiting = record()
    gearman_worker.advance(delay)
    gearman_worker.run()

    seconds = datetime.timedelta(seconds=5)
    assert waiting.run_after - waiting.enqueued_at == pytest.approx(delay, abs=seconds)
    assert record().status == "SUCCESSFUL"


@pytest.mark.parametrize(("result", "failure"), [(1e300, 1e300), (None, None), (5, 7)])
def test_records_expire_as_the_settings_say(result, failure, settings, gearman_worker, has_run):
    settings.GEARMAN_RESULT_TTL, settings.GEARMAN_FAILURE_TTL = result, failure
    jobs.double.do_background(1)
    jobs.fail.do_background()
    gearman_worker.run()

    for row, ttl in (
        (JobRecord.objects.get(status="SUCCESSFUL"), result),
        (failures().get(), failure),
    ):
        kept = row.expires_at and (row.expires_at - row.finished_at).total_seconds()
        assert kept == (pytest.approx(ttl, abs=1) if ttl and ttl < 10 else None)


def test_the_attendant_deletes_expired_records(gearman_worker, has_run):
    jobs.double.do_background(1)
    gearman_worker.run()
    JobRecord.objects.update(expires_at=timezone.now())
    with override_gearman("gearman", servers=["127.0.0.1:1"]):
        service = make_service()

    service.turn(threading.Event())  # all of an attendant that it uses is wait()

    assert (service.name, service.every) == ("prune", 60)
    assert not JobRecord.objects.exists()
    assert make_service() is None
