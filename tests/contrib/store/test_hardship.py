"""Records of jobs that run twice, die, are unknown or unreadable, or lose their database."""

from __future__ import annotations

import io
import logging

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from django_gearman import GearmanClient
from django_gearman.backends import get_backend
from django_gearman.contrib.store import columns
from django_gearman.contrib.store.actions import retry
from django_gearman.contrib.store.counters import gearman_store_errors_total
from django_gearman.contrib.store.models import JobRecord
from django_gearman.exceptions import JobRaised, ResultUnavailable, ServerUnavailable
from django_gearman.protocol.messages import JobSpec, WorkFail
from django_gearman.serializers.failures import parse_error
from django_gearman.worker.inline import run_queued
from tests.contrib import gearman_jobs as jobs

pytestmark = [pytest.mark.django_db, pytest.mark.gearman("memory", raise_failures=False)]
ID = "01a228ba550b7fbc8a227626120cd47f"


@pytest.fixture
def errors(caplog):
    """Return a function that returns the errors which the store has logged."""
    caplog.set_level(logging.INFO)
    return lambda: [
        each.getMessage()
        for each in caplog.records
        if each.name == "django_gearman.store" and each.levelno == logging.ERROR
    ]


def record() -> JobRecord:
    return JobRecord.objects.get()


# Runs


def test_a_recorded_job_that_has_ended_does_not_run_again(
    gearman_client, gearman_worker, has_run, caplog
):
    with gearman_client.deliver_twice(jobs.double):
        request = jobs.double.do_background(2)
        gearman_worker.run()

    assert has_run == [2]
    assert request.result == 4
    assert (record().run, len(record().worker_ids)) == (1, 1)
    assert "had ended before, and is not run again: its record says succeeded" in caplog.text


def test_the_client_of_a_job_that_had_ended_gets_the_recorded_result(gearman_worker, has_run):
    first = jobs.double.do_background(2)
    gearman_worker.run()
    [again] = get_backend().submit([first.spec._replace(background=False)])
    gearman_worker.run()

    assert has_run == [2]
    assert [update.data for update in again.updates()] == [b"4"]


def test_the_client_of_a_job_that_had_failed_gets_the_recorded_error(gearman_worker, has_run):
    first = jobs.fails_at_first.do_background(9)
    gearman_worker.run()
    [again] = get_backend().submit([first.spec._replace(background=False)])
    gearman_worker.run()
    warning, end = again.updates()

    assert has_run == [1, 2, 3]
    assert parse_error(warning.data)["message"] == "attempt 3"
    assert end == WorkFail()


@pytest.mark.parametrize("fails", [False, True])
def test_a_late_finisher_changes_nothing(fails, gearman_worker, caplog):
    jobs.overtaken.do_background(fails)
    gearman_worker.run()

    assert (record().status, record().errors, record().worker_ids) == ("RUNNING", [], ["another"])
    assert "end is not recorded" in caplog.text


def test_a_transaction_that_a_job_leaves_open_does_not_touch_its_record(gearman_worker):
    request = jobs.leaves_a_transaction_open.do_background(3)
    gearman_worker.run()

    assert request.result == 3
    assert record().queue == "default"


def test_a_job_whose_process_dies_has_that_error(gearman_client, gearman_worker, has_run):
    with gearman_client.crash_worker_during(jobs.fails_at_first, times=9):
        jobs.fails_at_first.do_background(0)
        gearman_worker.run()

    assert record().status == "FAILED"
    assert record().exception == "django_gearman.exceptions.WorkerDied"
    assert [each["attempt"] for each in record().errors] == [1, 2, 3]


@pytest.mark.gearman("eager", raise_failures=False)
def test_an_unknown_job_is_kept(gearman_client):
    backend = get_backend()
    backend.submit([JobSpec("gone.job", b'{"args":[1],"kwargs":{}}', ID, background=True)])
    run_queued(backend)

    assert (record().id, record().name, record().status) == (ID, "gone.job", "FAILED")
    assert record().exception == "django_gearman.exceptions.JobNotRegistered"
    assert bytes(record().workload) == b'{"args":[1],"kwargs":{}}'


@pytest.mark.parametrize("function", ["tests.contrib.plain", "tests.contrib.pickled"])
def test_an_unreadable_job_is_kept_with_its_bytes(function, gearman_worker):
    get_backend().submit([JobSpec(function, b"{\xff", ID, background=True)])
    gearman_worker.run()

    assert (record().id, record().status, record().call) == (ID, "FAILED", "")
    assert record().exception == "django_gearman.exceptions.SerializationError"
    assert bytes(record().workload) == b"{\xff"


def test_a_job_of_another_program_runs_each_time(gearman_worker, has_run, settings):
    settings.GEARMAN_STORE_ALL = True
    for _ in range(2):
        get_backend().submit([JobSpec("tests.contrib.plain", b'"x"', "daily", background=True)])
        gearman_worker.run()

    assert has_run == ["x", "x"]
    assert (record().status, record().run) == ("SUCCESSFUL", 2)


def test_jobs_with_one_unique_that_wait_are_one(gearman_worker, has_run):
    job = jobs.double.using(unique="once")
    first, second = job.do_background(1), job.do_background(1)
    gearman_worker.run()

    assert first.id == second.id
    assert (first.result, second.result, has_run) == (2, 2, [1])
    assert job.do_background(1).id != first.id


# Submitting


def test_a_job_that_no_server_takes_leaves_no_record(gearman_client):
    with gearman_client.server_down(), pytest.raises(ServerUnavailable):
        jobs.double.do_background(1)

    assert not JobRecord.objects.exists()


def test_a_job_that_is_lost_after_its_commit_can_be_retried(
    gearman_client, gearman_worker, has_run, django_capture_on_commit_callbacks
):
    captured = django_capture_on_commit_callbacks(execute=True)
    with gearman_client.server_down(), captured, transaction.atomic():
        jobs.plain.using(on_commit=True).do_background("kept")
    lost = record()
    retry([lost.id])
    gearman_worker.run()

    assert (lost.status, lost.attempts) == ("FAILED", 0)
    assert lost.exception == "django_gearman.exceptions.ServerUnavailable"
    assert has_run == ["kept"]


def test_a_rolled_back_submission_leaves_no_record(gearman_client, has_run):
    with pytest.raises(KeyError), transaction.atomic():
        jobs.double.using(on_commit=True).do_background(1)
        assert JobRecord.objects.exists()
        raise KeyError

    assert not JobRecord.objects.exists()


def test_a_job_that_is_sent_before_the_commit_is_recorded_by_its_worker(gearman_worker, has_run):
    with transaction.atomic():
        request = jobs.double.do_background(1)
        assert not JobRecord.objects.exists()
        gearman_worker.run()

    assert (record().id, record().status) == (request.id, "SUCCESSFUL")
    assert record().call == '{"args": [1], "kwargs": {}}'


def test_a_job_that_waits_in_the_outbox_can_be_waited_for(
    gearman_client, gearman_worker, has_run, settings
):
    settings.GEARMAN_OUTBOX = True
    with gearman_client.server_down():
        request = jobs.double.do_background(4)
    state = request.state
    call_command("gearman_outbox", "--once", stdout=io.StringIO())
    gearman_worker.run()

    assert (state, request.result, request.state) == ("PENDING", 8, "COMPLETE")


def test_a_result_is_not_waited_for_in_the_transaction_that_holds_the_job_back(gearman_client):
    with transaction.atomic():
        request = jobs.double.using(on_commit=True).do_background(1)
        assert request.state == "PENDING"
        with pytest.raises(ResultUnavailable, match="its transaction has not committed"):
            request.result  # noqa: B018


# The store


@pytest.mark.parametrize("fails", [False, True])
def test_a_failure_of_the_store_is_logged_and_counted_once(fails, gearman_worker, errors):
    before = gearman_store_errors_total.value
    request = jobs.loses_its_table.do_background(fails)
    gearman_worker.run()
    finished = gearman_worker.run()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE gearman_away RENAME TO gearman_jobrecord")

    assert finished == 0
    assert gearman_store_errors_total.value == before + 1
    [message] = errors()
    assert (
        f"could not record the end of job tests.contrib.loses_its_table ({request.handle})"
        in message
    )
    assert "lacks a table of django_gearman.contrib.store" in message
    assert "Run: manage.py migrate gearman_store" in message


def test_too_large_a_result_is_a_clear_error(gearman_worker, monkeypatch, has_run):
    monkeypatch.setattr(columns, "MAX_RESULT", 10)
    request = jobs.double.do_background("x" * 10)
    gearman_worker.run()

    with pytest.raises(JobRaised, match="has 22 bytes, and the store keeps up to 10: save it else"):
        request.result  # noqa: B018
    assert record().status == "FAILED"


def test_too_large_a_result_that_nobody_asked_for_is_left_out(
    gearman_worker, monkeypatch, has_run, settings
):
    settings.GEARMAN_STORE_ALL = True
    monkeypatch.setattr(columns, "MAX_RESULT", 10)
    request = jobs.plain.do_background("x" * 20)
    gearman_worker.run()

    assert record().status == "SUCCESSFUL"
    with pytest.raises(ResultUnavailable, match="its result is not stored"):
        request.result  # noqa: B018


@pytest.mark.parametrize("text", ["a\0b", "\ud83d", "☃" * 20_000, "\x1b[31m", "a\nb"])
def test_any_text_can_be_kept(text, gearman_worker, errors, settings, has_run):
    settings.GEARMAN_CONTEXT_PROVIDER = lambda: {"odd": text, "number": float("inf")}
    jobs.fail.do_background(text)
    gearman_worker.run()

    assert record().status == "FAILED"
    assert len(record().errors[0]["message"]) <= 10_100
    assert len(record().call) <= 10_100
    assert errors() == []


def nested() -> object:
    """Return a list in lists, deeper than Python can follow."""
    value: list[object] = []
    value.append(value)
    return value


def test_arguments_that_cannot_be_shown_are_kept(gearman_worker, errors, has_run):
    request = jobs.fails_pickled.do_background(nested())
    gearman_worker.run()
    retry([request.id])
    gearman_worker.run()

    assert record().call == "(arguments that cannot be shown: RecursionError)"
    assert (record().status, record().attempts, errors()) == ("FAILED", 2, [])


# Secrets


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (["4111222233334444", 3], {"password": "hunter2!"}),
        ([], {"card": "4111222233334444", "amount": 3, "api_key": "hunter2!"}),
        (["4111222233334444", 3], {"nested": {"a": [{"token": "hunter2!"}]}}),
        ([{"number": ["4111222233334444"]}, 3], {"password": {"deep": ["hunter2!"]}}),
    ],
)
def test_secrets_are_in_no_readable_column(args, kwargs, gearman_worker, settings):
    settings.GEARMAN_CONTEXT_PROVIDER = lambda: {"secret": "opensesame", "user": 3}
    GearmanClient().submit_job(jobs.pay, args=args, kwargs=kwargs, background=True)
    gearman_worker.run()

    [row] = JobRecord.objects.defer("workload").values()
    shown = repr({name: value for name, value in row.items() if name != "workload"})
    assert "4111222233334444" not in shown
    assert "hunter2!" not in shown
    assert "opensesame" not in shown
    assert "refused" in shown
    assert "'user': 3" in shown


def test_a_job_that_keeps_no_arguments_shows_none_anywhere(gearman_worker):
    jobs.keeps_no_arguments.do_background("annabel")
    gearman_worker.run()

    [row] = JobRecord.objects.values()
    assert (row["workload"], row["call"]) == (None, "")
    assert "annabel" not in repr(row)


def test_an_object_is_shown_by_its_class_only(gearman_worker, has_run):
    jobs.pickled.do_background(ValueError("hidden"))
    gearman_worker.run()

    assert record().call == '{"args": ["<ValueError>"], "kwargs": {}}'
