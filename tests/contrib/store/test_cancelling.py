"""Cancelling jobs that wait, run or have ended, with workers in this process."""

from __future__ import annotations

import datetime
import logging

import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError, transaction

from django_gearman import CancelAnswer, GearmanClient
from django_gearman.contrib.store import cancelling
from django_gearman.contrib.store.actions import retry
from django_gearman.contrib.store.models import JobRecord, OutboxJob
from django_gearman.exceptions import JobFailed, NotSetUp
from django_gearman.jobs import keeping
from django_gearman.signals import job_failed, job_finished
from tests.contrib import gearman_jobs as jobs

pytestmark = [pytest.mark.django_db, pytest.mark.gearman("memory", raise_failures=False)]


def record(job_id: str) -> JobRecord:
    return JobRecord.objects.get(pk=job_id)


def test_a_queued_job_is_not_run(gearman_worker, has_run):
    request = jobs.double.do_background(1)
    other = jobs.double.do_background(2)

    assert request.cancel() is CancelAnswer.QUEUED
    assert (request.cancel(), GearmanClient().cancel(request.id)) == ("finished", "finished")

    gearman_worker.run()
    assert has_run == [2]
    assert (record(request.id).status, record(other.id).status) == ("CANCELLED", "SUCCESSFUL")
    assert record(request.id).cancelled_at is not None
    assert record(request.id).expires_at is not None
    with pytest.raises(JobFailed, match="was cancelled"):
        print(request.result)


def test_a_last_try_that_succeeds_is_enough(gearman_worker, monkeypatch):
    monkeypatch.setattr(cancelling, "_TRIES", 1)
    request = jobs.double.do_background(1)

    assert request.cancel() is CancelAnswer.QUEUED


def test_a_job_is_cancelled_from_an_event_loop(gearman_worker, has_run):
    async def cancel() -> CancelAnswer:
        request = await jobs.double.ado_background(1)
        return await GearmanClient().acancel(request.id)

    assert async_to_sync(cancel)() is CancelAnswer.QUEUED

    gearman_worker.run()
    assert has_run == []


def test_a_delayed_job_is_not_run(gearman_worker, has_run):
    request = jobs.double.using(run_after=datetime.timedelta(minutes=1)).do_background(1)

    assert GearmanClient().cancel(request.id) == "delayed"

    gearman_worker.advance(seconds=61)
    gearman_worker.run()
    assert has_run == []
    assert record(request.id).status == "CANCELLED"


def test_a_job_that_waits_for_its_next_attempt_is_not_run(gearman_worker, has_run):
    request = jobs.fails_later.do_background(1)
    gearman_worker.run_one()
    assert (has_run, record(request.id).status) == ([1], "READY")

    assert request.cancel() is CancelAnswer.DELAYED

    gearman_worker.advance(hours=1)
    gearman_worker.run()
    assert has_run == [1]
    assert record(request.id).status == "CANCELLED"


def test_an_ended_job_is_left_alone(gearman_worker, has_run):
    done, broken = jobs.double.do_background(1), jobs.fails_at_first.do_background(9)
    gearman_worker.run()

    assert [done.cancel(), broken.cancel()] == ["finished", "finished"]

    assert (record(done.id).status, record(broken.id).status) == ("SUCCESSFUL", "FAILED")
    assert done.result == 2


@pytest.mark.parametrize("job_id", ["0" * 32, "x", "é", "x" * 1000, "' OR 1=1 --", "\0", "\ud800"])
def test_an_unknown_job_is_unknown(job_id):
    assert GearmanClient().cancel(job_id) is CancelAnswer.UNKNOWN


def test_a_job_without_a_record_is_unknown_and_runs(gearman_worker, has_run):
    request = jobs.plain.do_background(1)

    assert request.cancel() is CancelAnswer.UNKNOWN

    gearman_worker.run()
    assert has_run == [1]


@pytest.mark.parametrize("job_id", ["", None, 7, b"x", ["x"]])
def test_an_id_is_a_text(job_id):
    with pytest.raises(TypeError, match=r"a job's id is a string, JobRequest\.id"):
        GearmanClient().cancel(job_id)


def test_the_answers_are_five_words():
    assert [*CancelAnswer] == ["delayed", "queued", "running", "finished", "unknown"]


def test_a_new_job_that_merges_with_a_cancelled_one_runs(gearman_worker, has_run):
    first = jobs.double.using(unique="mine").do_background(1)
    first.cancel()

    second = jobs.double.using(unique="mine").do_background(2)

    gearman_worker.run()
    assert has_run == [1], "with the arguments of the one on the job server"
    assert (second.id, record(first.id).status, second.result) == (first.id, "SUCCESSFUL", 2)


def test_a_new_job_is_another_one_when_the_cancelled_one_has_left_the_server(
    gearman_worker, has_run
):
    first = jobs.double.using(unique="mine").do_background(1)
    first.cancel()
    gearman_worker.run()

    second = jobs.double.using(unique="mine").do_background(2)

    gearman_worker.run()
    assert has_run == [2]
    assert (record(first.id).status, record(second.id).status) == ("CANCELLED", "SUCCESSFUL")


# Jobs that run


def test_a_running_job_may_ask_and_end(gearman_worker):
    request = jobs.cancels_itself.do_background("asks")
    gearman_worker.run()

    row = record(request.id)
    assert row.status == "SUCCESSFUL", "a job that ends well has not been cut short"
    assert request.result == ["running", False, True]


@pytest.mark.parametrize("how", ["fails", "raises", "runs again"])
def test_a_cancelled_job_that_fails_is_cancelled_and_has_no_other_attempt(
    gearman_worker, has_run, how, caplog
):
    seen = []
    states = []

    def on_failed(**named):
        seen.append("failed")

    def on_finished(state, **named):
        states.append(state)

    job_failed.connect(on_failed)
    job_finished.connect(on_finished)
    request = jobs.cancels_itself.do_background(how)
    gearman_worker.run()
    gearman_worker.advance(hours=1)
    gearman_worker.run()

    assert has_run == [how]
    assert (record(request.id).status, record(request.id).errors) == ("CANCELLED", [])
    assert (seen, states) == ([], ["cancelled"])
    [told] = [r for r in caplog.records if getattr(r, "gearman_state", "") == "cancelled"]
    assert (told.levelno, told.gearman_id) == (logging.WARNING, request.id)
    assert request.cancel() == "finished"
    assert retry([request.id]).count == 0


def test_a_job_may_cancel_itself_by_the_exception(gearman_worker, has_run):
    request = jobs.gives_up.do_background()
    plain = jobs.gives_up_unrecorded.do_background()
    gearman_worker.run()

    assert has_run == ["gives up"], "once, although it declares retries"
    assert record(request.id).status == "CANCELLED"
    assert not JobRecord.objects.filter(pk=plain.id).exists()


@pytest.mark.gearman("eager", raise_failures=False)
def test_a_foreground_client_gets_a_clear_error(gearman_client):
    with pytest.raises(JobFailed, match="JobCancelled: not today") as raised:
        jobs.gives_up.do()
    assert raised.value.exception_type == "django_gearman.exceptions.JobCancelled"


def test_a_redelivered_job_that_was_cancelled_meanwhile_is_not_run(gearman_worker, has_run):
    request = jobs.double.do_background(1)
    JobRecord.objects.filter(pk=request.id).update(status="RUNNING", run=1)  # of a worker that died

    assert request.cancel() is CancelAnswer.RUNNING

    gearman_worker.run()
    assert has_run == []
    assert record(request.id).status == "CANCELLED"


# The outbox, and transactions


def test_a_job_in_the_outbox_is_removed_from_it(settings, gearman_worker, has_run):
    settings.GEARMAN_OUTBOX = True
    request = jobs.double.do_background(1)
    OutboxJob.objects.create(job_id=request.id, unique=request.id, function="f", workload=b"")

    assert request.cancel() is CancelAnswer.QUEUED

    assert not OutboxJob.objects.filter(job_id=request.id).exists()
    gearman_worker.run()
    assert has_run == []


def test_a_cancellation_that_is_rolled_back_cancels_nothing(gearman_worker, has_run):
    request = jobs.double.do_background(1)

    with pytest.raises(OSError, match="no"), transaction.atomic():
        assert request.cancel() == "queued"
        raise OSError("no")

    gearman_worker.run()
    assert has_run == [1]


def test_a_running_job_is_interrupted_when_the_transaction_commits(
    monkeypatch, django_capture_on_commit_callbacks
):
    asked = []
    monkeypatch.setattr(cancelling, "_interrupt", asked.append)
    request = jobs.double.do_background(1)
    JobRecord.objects.filter(pk=request.id).update(status="RUNNING")

    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        request.cancel()
        assert asked == []

    assert [[row["id"] for row in rows] for rows in asked] == [[request.id]]


def test_several_jobs_are_cancelled_at_once():
    requests = [jobs.double.do_background(n) for n in range(3)]
    ids = [request.id for request in requests]

    assert cancelling.cancel([*ids, ids[0], "no such"]) == {
        **dict.fromkeys(ids, "queued"),
        "no such": "unknown",
    }


def test_many_jobs_take_no_more_statements_than_a_few(django_assert_num_queries):
    ids = [jobs.double.do_background(n).id for n in range(30)]

    with django_assert_num_queries(5):  # with a savepoint
        answers = cancelling.cancel(ids)

    assert answers == dict.fromkeys(ids, "queued")
    assert not JobRecord.objects.exclude(status="CANCELLED").exists()


def test_the_jobs_of_a_batch_that_workers_take_meanwhile_are_cancelled_as_they_are(monkeypatch):
    waits, begins, ends = (jobs.double.do_background(n).id for n in range(3))
    claim, seen = cancelling._claim, []

    def take(rows, alias):
        if not seen:
            JobRecord.objects.filter(pk=begins).update(status="RUNNING", run=1)
            JobRecord.objects.filter(pk=ends).update(status="SUCCESSFUL", run=1)
        seen.append(sorted(row["id"] for row in rows))
        return claim(rows, alias)

    monkeypatch.setattr(cancelling, "_claim", take)
    monkeypatch.setattr(cancelling, "_interrupt", lambda rows: None)

    answers = cancelling.cancel([waits, begins, ends])

    assert answers == {waits: "queued", begins: "running", ends: "finished"}
    assert seen == [sorted([waits, begins, ends]), [begins]]
    assert record(begins).cancelled_at is not None
    assert (record(ends).status, record(ends).cancelled_at) == ("SUCCESSFUL", None)


def test_the_rows_of_cancelled_jobs_leave_the_outbox_in_a_batch():
    ids = [jobs.double.do_background(n).id for n in range(3)]
    for job_id in ids:
        OutboxJob.objects.create(job_id=job_id, unique=job_id, function="f", workload=b"1")

    cancelling.cancel(ids[:2])

    assert [row.job_id for row in OutboxJob.objects.all()] == [ids[2]]


def test_an_error_of_the_database_reaches_the_caller(monkeypatch):
    request = jobs.double.do_background(1)

    def fail(*_):
        raise OperationalError("no route")

    monkeypatch.setattr(cancelling, "_cancel", fail)
    with pytest.raises(OperationalError, match="no route"):
        request.cancel()


# Without the store


def test_without_the_store_the_error_says_what_to_install(monkeypatch):
    request = jobs.double.do_background(1)
    monkeypatch.setattr(keeping, "keeper", None)

    with pytest.raises(
        NotSetUp, match=f"job {request.id} cannot be cancelled: add 'django_gearman"
    ):
        request.cancel()


def test_a_request_with_a_handle_only_cannot_be_cancelled(gearman_client):
    request = gearman_client.get_job_status(jobs.double.do_background(1).handle)

    with pytest.raises(ValueError, match="only its handle is known"):
        request.cancel()
