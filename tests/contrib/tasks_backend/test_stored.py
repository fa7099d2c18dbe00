"""Results of tasks in the tables of the store."""

from __future__ import annotations

import datetime
import json

import pytest
from django.core.exceptions import SuspiciousOperation
from django.db import transaction
from django.utils import timezone

from django_gearman import GearmanClient
from django_gearman.contrib.store.models import JobRecord, OutboxJob
from django_gearman.contrib.tasks_backend.compat import (
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_backends,
)
from django_gearman.contrib.tasks_backend.stored import stored_result
from django_gearman.exceptions import ServerUnavailable
from django_gearman.testing import override_gearman
from tests.contrib.tasks_backend import work
from tests.contrib.tasks_backend.test_refusals import PAYLOAD, submit

pytestmark = pytest.mark.django_db
MODULE = work.__name__


def stored(result):
    return stored_result(result.backend, result.id)


def test_a_task_has_a_record_before_it_is_queued(tasks, ran):
    when = timezone.now() + datetime.timedelta(minutes=5)
    result = work.add.using(priority=42, run_after=when).enqueue(1, b="x")

    record = JobRecord.objects.get()

    assert (record.id, record.name, record.backend) == (result.id, f"{MODULE}.add", "default")
    assert (record.queue, record.function) == ("default", "django.tasks:default:default")
    assert (record.priority, record.run_after) == (42, when)
    assert record.enqueued_at == result.enqueued_at
    assert json.loads(record.call) == {"args": [1], "kwargs": {"b": "x"}}
    assert stored(result) == result


def test_the_record_of_a_finished_task_is_its_result(tasks, ran):
    result = work.echo.enqueue({"a": [1, None]})

    tasks.run_all()

    result.refresh()
    assert result.status == TaskResultStatus.SUCCESSFUL
    found = stored(result)
    assert found.return_value == {"a": [1, None]}
    assert (found.task, found.args, found.worker_ids) == (
        result.task,
        result.args,
        result.worker_ids,
    )
    assert found.started_at <= found.finished_at


def test_the_record_has_each_attempt(tasks, ran):
    result = work.fail_twice.enqueue()

    tasks.run_all()

    found = stored(result)
    assert (found.status, found.attempts) == (TaskResultStatus.SUCCESSFUL, 3)
    assert [error.exception_class for error in found.errors] == [OSError, OSError]
    assert "OSError: attempt 2" in found.errors[1].traceback
    assert ran == [1, 2, 3]


def test_a_failed_task_has_failed_in_its_record(tasks, ran):
    result = work.fail.enqueue("why")

    tasks.run_all()

    found = stored(result)
    assert (found.status, found.is_finished) == (TaskResultStatus.FAILED, True)
    assert found.errors[0].exception_class is ValueError
    assert found.errors[0].traceback.endswith("ValueError: why\n")
    assert JobRecord.objects.get().name == f"{MODULE}.fail"


def test_a_task_sees_its_earlier_attempts(tasks, ran):
    result = work.show_errors.enqueue()

    tasks.run_all()

    assert ran == [(1, []), (2, ["LookupError"])]
    assert stored(result).return_value == 2


def test_secrets_are_not_shown(tasks, ran):
    work.log_in.enqueue("ann", "hunter22")

    assert "hunter22" not in JobRecord.objects.get().call
    tasks.run_all()
    assert ran == ["hunter22"]


def test_without_a_server_there_is_no_record(ran):
    with (
        override_gearman("gearman", servers=["127.0.0.1:1"]),
        pytest.raises(ServerUnavailable),
    ):
        work.echo.enqueue(1)

    assert not JobRecord.objects.exists()


def test_results_of_other_backends_and_of_jobs_do_not_exist(tasks):
    result = work.echo.enqueue(1)
    JobRecord.objects.create(id="job", name="a.job", function="a.job")

    for alias, key in (("open", result.id), ("default", "job"), ("default", "x" * 100)):
        with pytest.raises(TaskResultDoesNotExist):
            task_backends[alias].get_result(key)


@pytest.mark.parametrize("key", ["", "\0", "\ud800", None, 5, b"x"])
def test_results_with_an_odd_id_do_not_exist(tasks, key):
    with pytest.raises(TaskResultDoesNotExist):
        task_backends["default"].get_result(key)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"name": "os.system"}, SuspiciousOperation, "os.system is not a task"),
        ({"name": f"{MODULE}.removed"}, ImportError, "removed cannot be imported"),
        ({"name": "../x"}, SuspiciousOperation, "is not the path of a task"),
        ({"queue": "post"}, Exception, "Queue 'post' is not valid"),
    ],
)
def test_tampered_records_are_refused(tasks, changes, error, message):
    result = work.echo.enqueue(1)
    JobRecord.objects.update(**changes)

    with pytest.raises(error, match=message):
        stored(result)


def test_refused_workloads_are_recorded(tasks, ran):
    submit({**PAYLOAD, "task": "os.system"})

    tasks.run_all()

    record = JobRecord.objects.get()
    assert record.status == "FAILED"
    assert "SuspiciousOperation" in record.exception
    assert "os.system is not a task" in record.errors[0]["message"]


def test_a_removed_task_fails_in_its_record(tasks, ran, monkeypatch):
    result = work.echo.enqueue(1)
    monkeypatch.delattr(work, "echo")

    tasks.run_all()

    record = JobRecord.objects.get()
    assert (record.id, record.name) == (result.id, f"{MODULE}.echo")
    assert (record.status, record.exception) == ("FAILED", "ImportError")


def test_results_can_be_read(tasks):
    assert task_backends["default"].supports_get_result


# The outbox


@pytest.fixture
def outbox(settings):
    """Send tasks through the outbox."""
    params = settings.TASKS["default"]
    settings.TASKS = {**settings.TASKS, "default": {**params, "OPTIONS": {"OUTBOX": True}}}


@pytest.mark.django_db(transaction=True)
def test_a_task_is_enqueued_with_its_transaction(outbox, tasks, ran):
    with transaction.atomic():
        result = work.echo.enqueue(1)
        rows = OutboxJob.objects.values_list("job_id", flat=True)
        assert [*rows] == [result.id]
        assert tasks.run_all() == 0

    assert tasks.run_all() == 1
    assert (ran, OutboxJob.objects.count()) == ([1], 0)
    assert stored(result).status == TaskResultStatus.SUCCESSFUL


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_is_rolled_back_leaves_no_task(outbox, tasks, ran):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        work.echo.enqueue(1)
        1 / 0  # noqa: B018

    assert (JobRecord.objects.count(), OutboxJob.objects.count()) == (0, 0)
    assert (tasks.run_all(), ran) == (0, [])


@pytest.mark.django_db(transaction=True)
def test_a_task_waits_for_the_server_in_the_outbox(outbox, ran):
    with override_gearman("gearman", servers=["127.0.0.1:1"]):
        result = work.echo.enqueue(1)

        assert result.status == TaskResultStatus.READY
        assert stored(result) == result
    assert OutboxJob.objects.get().job_id == result.id


@pytest.mark.django_db(transaction=True)
def test_the_outbox_of_all_jobs_is_that_of_tasks_too(settings, tasks, ran):
    settings.GEARMAN_OUTBOX = True

    with transaction.atomic():
        work.echo.enqueue(1)
        assert OutboxJob.objects.count() == 1

    assert tasks.run_all() == 1


def test_a_task_is_cancelled_by_the_id_of_its_result(tasks, ran, gearman_worker):
    result = work.add.enqueue(1)

    assert GearmanClient().cancel(result.id) == "queued"

    gearman_worker.run()
    ended = stored(result)
    assert (ran, ended.status, ended.is_finished) == ([], TaskResultStatus.FAILED, True)
    with pytest.raises(ValueError, match="failed"):
        print(ended.return_value)
