"""The counter of jobs, with real runs on the transport of tests."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from django_gearman import GearmanClient
from django_gearman.backends.base import WorkComplete
from django_gearman.contrib.metrics import values
from django_gearman.contrib.metrics.counting import RunCounter
from django_gearman.contrib.metrics.folding import MOST_UNKNOWN
from django_gearman.jobs import counting
from django_gearman.jobs.identity import new_ids
from django_gearman.jobs.registry import registry
from django_gearman.protocol.names import assigned_job
from django_gearman.serializers import Call
from django_gearman.serializers.json import JSONSerializer
from django_gearman.worker.execution import Run
from django_gearman.worker.runs import Ending
from tests.contrib.gearman_jobs import fail, fails_at_first, plain

pytestmark = [pytest.mark.django_db, pytest.mark.gearman("memory", raise_failures=False)]

PLAIN, FAIL = "tests.contrib.plain", "tests.contrib.fail"


def test_a_run_is_counted_by_its_job_queue_and_outcome(counted, gearman_worker):
    for _ in range(3):
        plain.do_background(1)
    fail.do_background()

    gearman_worker.run()

    assert counted.rows("gearman_jobs_total") == {
        (PLAIN, "success", "default"): 3,
        (FAIL, "failure", "default"): 1,
    }


def test_each_attempt_is_a_run(counted, gearman_worker):
    fails_at_first.do_background(2)

    gearman_worker.run()

    name = "tests.contrib.fails_at_first"
    assert counted.rows("gearman_jobs_total") == {
        (name, "retry", "default"): 2,
        (name, "success", "default"): 1,
    }
    assert counted.value("gearman_jobs_submitted_total", job=name) == 1, "not the later attempts"


def test_durations_and_waits_are_observed(counted, gearman_worker):
    plain.do_background(1)
    time.sleep(0.02)

    gearman_worker.run()

    assert counted.value("gearman_job_duration_seconds_count", job=PLAIN) == 1
    assert 0 < counted.value("gearman_job_duration_seconds_sum", job=PLAIN) < 10
    assert counted.value("gearman_job_wait_seconds_count", queue="default") == 1
    assert 0.01 < counted.value("gearman_job_wait_seconds_sum", queue="default") < 60


def test_a_job_with_a_unique_of_its_own_has_waited_too(counted, gearman_worker):
    plain.using(unique="mine").do_background(1)

    gearman_worker.run()

    assert counted.value("gearman_job_wait_seconds_count", queue="default") == 1


def test_later_attempts_have_not_waited(counted, gearman_worker):
    fails_at_first.do_background(1)

    gearman_worker.run()

    assert counted.value("gearman_job_wait_seconds_count", queue="default") == 1
    assert counted.value("gearman_job_wait_seconds_sum", queue="default") < 60


@pytest.mark.parametrize(("function", "waits"), [(PLAIN, 1), (f"{PLAIN}@delayed", 0)])
def test_a_delayed_job_has_not_waited(function, waits, counted):
    unique = f"b:dj:{next(new_ids()):032x}"
    workload = JSONSerializer().dumps_call(Call((1,)))
    assigned = assigned_job("here//", b"H:here:1", function.encode(), unique.encode(), workload)
    run = Run(registry.get(PLAIN), assigned, None, None)

    counted.counter.started(run)
    counted.counter.ended(run, Ending(WorkComplete(b""), seconds=0.1))

    assert counted.value("gearman_job_duration_seconds_sum", job=PLAIN) == 0.1
    assert counted.value("gearman_job_wait_seconds_count", queue="default") == waits


def test_submissions_are_counted_however_they_are_made(
    counted, gearman_worker, django_capture_on_commit_callbacks
):
    plain.do_background(1)
    plain.enqueue_many([1, 2])
    GearmanClient().submit_multiple_jobs([{"task": plain, "data": n} for n in range(2)], True)
    with django_capture_on_commit_callbacks(execute=True):
        plain.using(on_commit=True).do_background(1)

    assert counted.value("gearman_jobs_submitted_total", job=PLAIN) == 6


@pytest.mark.gearman("eager")
def test_jobs_of_other_programs_are_folded_if_they_are_many(counted, gearman_client):
    client = GearmanClient()
    for number in range(MOST_UNKNOWN + 30):
        gearman_client.stub(f"php.{number}", returns=None)
        client.submit_job(f"php.{number}", b"", background=True)
    plain.do_background(1)

    rows = counted.rows("gearman_jobs_submitted_total")

    assert len(rows) == MOST_UNKNOWN + 2
    assert rows["other",] == 30
    assert rows[PLAIN,] == 1, "a declared job keeps its name"


def test_a_failure_to_count_is_logged_once_and_fails_no_job(
    counted, gearman_worker, monkeypatch, caplog
):
    def full(*args: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    requests = [plain.do_background(1) for _ in range(3)]

    with caplog.at_level(logging.ERROR, "django_gearman"):
        gearman_worker.run()

    assert all(request.handle for request in requests)
    text = "a job could not be counted: OSError('No space left on device')"
    assert [record.message for record in caplog.records].count(text) == 1


def test_the_next_process_with_a_number_continues_its_counts(counted, monkeypatch):
    job = registry.get(PLAIN)
    counted.counter.ended_unseen(job, "failed")
    monkeypatch.setattr(values, "current", "slot1")
    for _ in range(2):
        counted.counter.ended_unseen(job, "failed")

    next_one = RunCounter(counted.directory)
    next_one.ended_unseen(job, "failed")
    next_one.ended_unseen(None, "failed")
    next_one.close()

    assert counted.rows("gearman_jobs_total") == {
        (PLAIN, "failure", "default"): 4,
        ("unknown", "failure", "unknown"): 1,
    }


def test_outcomes_of_one_job_share_its_histograms(counted, gearman_worker):
    plain.do_background(1)
    fails_at_first.do_background(2)

    gearman_worker.run()

    name = "tests.contrib.fails_at_first"
    assert counted.value("gearman_job_duration_seconds_count", job=name) == 3
    assert counted.value("gearman_job_duration_seconds_bucket", job=name, le="0.005") <= 3
    assert counted.value("gearman_job_duration_seconds_bucket", job=name, le="+Inf") == 3
    assert counted.value("gearman_job_wait_seconds_count", queue="default") == 2


def test_a_cancelled_job_has_an_outcome_of_its_own(counted):
    counted.counter.ended_unseen(registry.get(PLAIN), "cancelled")

    assert counted.rows("gearman_jobs_total") == {(PLAIN, "cancelled", "default"): 1}


def test_threads_count_at_the_same_time(counted):
    job = registry.get(PLAIN)

    def count() -> None:
        for _ in range(500):
            counted.counter.ended_unseen(job, "succeeded")

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counted.value("gearman_jobs_total", job=PLAIN) == 4000


def test_nothing_is_counted_without_a_counter(gearman_worker):
    assert counting.counter is None
    plain.do_background(1)

    gearman_worker.run()
