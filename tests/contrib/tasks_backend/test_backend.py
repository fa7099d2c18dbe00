"""Enqueuing tasks, and their results in tests."""

from __future__ import annotations

import datetime
import sys

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.utils import timezone

from django_gearman.contrib.tasks_backend import GearmanTask, GearmanTaskBackend, task
from django_gearman.contrib.tasks_backend.compat import (
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    task_backends,
    task_enqueued,
    task_finished,
    task_started,
)
from django_gearman.exceptions import SerializationError, ServerUnavailable
from django_gearman.testing import override_gearman
from tests.contrib.tasks_backend import work

READY, FAILED, SUCCESSFUL = (
    TaskResultStatus.READY,
    TaskResultStatus.FAILED,
    TaskResultStatus.SUCCESSFUL,
)


def test_a_task_is_queued_and_run_by_the_worker(tasks, ran, gearman_worker):
    before = timezone.now()

    result = work.add.enqueue(1, b=2)

    assert (result.status, result.args, result.kwargs) == (READY, [1], {"b": 2})
    assert before <= result.enqueued_at <= timezone.now()
    assert (len(result.id), result.attempts, ran) == (32, 0, [])
    assert result == tasks.get_result(result.id)

    assert gearman_worker.run() == 1

    result.refresh()
    assert (result.status, result.return_value, result.attempts) == (SUCCESSFUL, 3, 1)
    assert result.enqueued_at <= result.started_at == result.last_attempted_at
    assert result.started_at <= result.finished_at
    assert ran == [("add", 1, 2)]


def test_a_coroutine_function_is_a_task_too(tasks, ran):
    result = async_to_sync(work.aadd.aenqueue)(1, b=2)

    tasks.run_all()

    async_to_sync(result.arefresh)()
    assert result.return_value == 3


def test_on_eager_the_result_is_final_at_once(eager, ran):
    assert work.add.enqueue(1, 2).return_value == 3
    assert work.aadd.enqueue(1, 2).return_value == 3

    failed = work.fail.enqueue("why")

    assert (failed.status, failed.attempts) == (FAILED, 1)
    assert failed.errors[0].exception_class is ValueError
    assert failed.errors[0].traceback.endswith("ValueError: why\n")
    with pytest.raises(ValueError, match="Task failed"):
        failed.return_value  # noqa: B018


def test_the_fixture_of_clients_raises_what_a_task_raises(gearman_client, ran):
    with pytest.raises(ValueError, match="why"):
        work.fail.enqueue("why")

    work.add.enqueue(1)

    names = [each.name for each in gearman_client.submitted]
    assert names == ["django.tasks:default:default"] * 2
    assert gearman_client.submitted[1].args == [1]


def test_the_backend_says_what_it_supports():
    backend = task_backends["default"]

    assert isinstance(backend, GearmanTaskBackend)
    assert issubclass(backend.task_class, GearmanTask)
    assert backend.supports_async_task
    assert backend.supports_priority
    assert backend.supports_defer


# Order and time


def test_priorities_are_three_bands_over_all_tasks_of_a_queue(tasks, ran):
    work.echo.using(priority=-1).enqueue("low")
    work.echo.enqueue("normal")
    work.add.using(priority=1).enqueue("high ", "1")
    work.echo.using(priority=100).enqueue("high 2")

    tasks.run_all()

    assert ran == [("add", "high ", "1"), "high 2", "normal", "low"]


def test_a_deferred_task_runs_when_its_time_has_come(tasks, ran, gearman_worker):
    when = timezone.now() + datetime.timedelta(minutes=5)
    result = work.echo.using(run_after=when, priority=7).enqueue("late")

    assert (tasks.run_all(), ran) == (0, [])
    gearman_worker.advance(minutes=6)
    assert tasks.run_all() == 1

    result.refresh()
    assert result.status == SUCCESSFUL
    assert (result.task.run_after, result.task.priority) == (when, 7)


def test_a_time_that_is_over_defers_nothing(tasks, ran):
    work.echo.enqueue("normal")
    past = timezone.now() - datetime.timedelta(days=1)
    work.echo.using(run_after=past, priority=5).enqueue("high")

    tasks.run_all()

    assert ran == ["high", "normal"]


@pytest.mark.parametrize("zone", [datetime.timezone(datetime.timedelta(hours=9)), datetime.UTC])
def test_times_have_any_zone(tasks, ran, gearman_worker, zone):
    work.echo.using(run_after=datetime.datetime.now(zone) + datetime.timedelta(seconds=90)).enqueue(
        1
    )

    gearman_worker.advance(seconds=80)
    assert tasks.run_all() == 0
    gearman_worker.advance(seconds=11)
    assert tasks.run_all() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"priority": 101}, "priority must be a whole number between -100 and 100."),
        ({"priority": -101}, "priority must be a whole number between -100 and 100."),
        ({"priority": 3.1}, "priority must be a whole number between -100 and 100."),
        ({"priority": "high"}, "priority must be a whole number between -100 and 100."),
        ({"priority": float("nan")}, "priority must be a whole number between -100 and 100."),
        ({"queue_name": "post"}, "Queue 'post' is not valid for backend."),
        ({"queue_name": ["mail"]}, r"Queue \['mail'\] is not valid for backend."),
        (
            {"queue_name": "a b", "backend": "open"},
            "Queue 'a b' is not valid for backend: .*spaces",
        ),
        ({"queue_name": "a:2", "backend": "open"}, "'a:2' is not a queue name"),
        ({"queue_name": "x" * 300, "backend": "open"}, "longer than"),
        ({"run_after": datetime.datetime(2030, 1, 1)}, "run_after must be an aware datetime."),
        ({"run_after": datetime.timedelta(minutes=1)}, r"run_after must be .* timezone.now\(\) \+"),
        ({"run_after": 60}, "run_after must be an aware datetime"),
    ],
)
def test_wrong_options_are_refused_at_once(options, message):
    with pytest.raises(InvalidTask, match=message):
        work.echo.using(**options)


# Arguments


def test_arguments_are_those_that_come_back_from_json(tasks, ran):
    result = work.echo.enqueue({1: (b"bytes", None), "nested": [{"a": 1.5}]})

    tasks.run_all()

    assert ran == [{"1": ["bytes", None], "nested": [{"a": 1.5}]}]
    assert result.args == ran
    assert tasks.get_result(result.id).return_value == ran[0]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (object(), TypeError),
        ({1, 2}, TypeError),
        (datetime.datetime(2030, 1, 1), TypeError),
        (b"\xff", ValueError),
        (float("nan"), SerializationError),
        ([float("inf")], ValueError),
    ],
)
def test_arguments_that_are_not_json_are_refused_at_once(tasks, value, error):
    with pytest.raises(error):
        work.echo.enqueue(value)

    assert tasks.results == []


def test_text_of_any_kind_arrives(tasks, ran):
    odd = ["\x00", "\ud800", "é" * 3, "__gearman__", '{"args": [], "kwargs": {}}', 10**30]

    work.echo.enqueue(odd)
    tasks.run_all()

    assert ran == [odd]


# Tasks that no worker would find


def test_a_task_that_no_worker_would_find_is_refused(tasks):
    not_found = [
        task(work.plain_function),
        task(work.Holder.of_class),
    ]
    for each in not_found:
        with pytest.raises(InvalidTask, match=r"a worker finds no task at .*: decorate"):
            each.enqueue()


def test_a_task_of_the_program_itself_is_refused_if_another_one_would_run_it(monkeypatch):
    def in_main() -> None:
        """Do nothing."""

    in_main.__module__, in_main.__qualname__ = "__main__", "in_main"
    declared = task(in_main)
    monkeypatch.setattr(sys.modules["__main__"], "in_main", declared, raising=False)

    with (
        override_gearman("gearman", servers=["127.0.0.1:1"]),
        pytest.raises(
            InvalidTask, match=r"no task at __main__\.in_main: .* Move the task to a module"
        ),
    ):
        declared.enqueue()
    with override_gearman("memory"):
        assert declared.enqueue().id


# Results


def test_results_are_newest_last_and_copies(tasks, ran):
    work.echo.enqueue(1)
    work.echo.enqueue(2)

    results = tasks.results
    results[0].worker_ids.append("x")

    assert [each.args for each in tasks.results] == [[1], [2]]
    assert tasks.results[0].worker_ids == []


def test_cleared_tasks_do_not_run(tasks, ran):
    work.echo.enqueue(1)

    tasks.clear()
    work.echo.enqueue(2)
    tasks.run_all()

    assert (ran, len(tasks.results)) == ([2], 1)


def test_run_all_can_raise_what_failed(tasks, ran):
    work.fail.enqueue("first")
    work.fail.enqueue("second")
    work.echo.enqueue("also run")

    with pytest.raises(ValueError, match="first") as raised:
        tasks.run_all(raise_failures=True)

    assert ran[-1] == "also run"
    assert "second" in raised.value.__notes__[0]
    assert tasks.run_all() == 0


def test_run_all_runs_what_tasks_enqueue(tasks, ran):
    work.enqueue_another.enqueue(3)

    assert (tasks.run_all(), ran) == (4, [3, 2, 1, 0])


@pytest.mark.django_db
def test_unknown_and_foreign_results(tasks):
    result = work.echo.enqueue(1)

    with pytest.raises(TaskResultDoesNotExist):
        tasks.get_result("unknown")
    with pytest.raises(TaskResultMismatch):
        work.add.get_result(result.id)
    with pytest.raises(TaskResultDoesNotExist):
        task_backends["open"].get_result(result.id)


def test_every_thread_sees_the_results(tasks, ran):
    from concurrent.futures import ThreadPoolExecutor

    result = work.echo.enqueue(1)

    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(lambda: task_backends["default"].get_result(result.id)).result()

    assert found == result


def test_the_helpers_of_tests_say_that_they_are_for_tests(production):
    with (
        override_gearman("gearman", servers=["127.0.0.1:1"]),
        pytest.raises(RuntimeError, match="are for tests"),
    ):
        task_backends["default"].results  # noqa: B018


def test_without_a_server_nothing_is_enqueued():
    seen = []
    with override_gearman("gearman", servers=["127.0.0.1:1"]):
        task_enqueued.connect(note := lambda **named: seen.append(named))
        with pytest.raises(ServerUnavailable):
            work.echo.enqueue(1)
    task_enqueued.disconnect(note)

    assert seen == []


# Signals


def test_signals_are_sent_by_the_class_in_order(tasks, ran):
    seen = []
    receivers = []
    for signal in (task_enqueued, task_started, task_finished):

        def note(sender, task_result, signal=signal, **_):
            seen.append((signal, sender, str(task_result.status), task_result.attempts))

        signal.connect(note, sender=GearmanTaskBackend)
        receivers.append((signal, note))

    work.echo.enqueue(1)
    tasks.run_all()

    for signal, note in receivers:
        signal.disconnect(note, sender=GearmanTaskBackend)
    assert seen == [
        (task_enqueued, GearmanTaskBackend, "READY", 0),
        (task_started, GearmanTaskBackend, "RUNNING", 1),
        (task_finished, GearmanTaskBackend, "SUCCESSFUL", 1),
    ]


@pytest.mark.parametrize("signal", [task_enqueued, task_started, task_finished])
def test_a_receiver_that_raises_changes_nothing(tasks, ran, signal, caplog):
    def bad(**named):
        raise RuntimeError("receiver")

    signal.connect(bad)
    result = work.echo.enqueue(1)
    tasks.run_all()
    signal.disconnect(bad)

    result.refresh()
    assert (result.status, ran) == (SUCCESSFUL, [1])
    assert "receiver" in caplog.text


# Without the store


@pytest.fixture
def no_store(monkeypatch):
    """Behave as if the app contrib.store were not installed."""
    from django_gearman.contrib.tasks_backend import backend
    from django_gearman.jobs import keeping

    monkeypatch.setattr(backend, "is_stored", lambda: False)
    monkeypatch.setattr(keeping, "keeper", None)


@pytest.mark.django_db
def test_without_the_store_a_task_makes_no_query(no_store, tasks, ran, django_assert_num_queries):
    with django_assert_num_queries(0):
        result = work.echo.enqueue(1)
        tasks.run_all()
        result.refresh()

    assert result.return_value == 1


def test_without_the_store_results_of_other_processes_cannot_be_read(no_store):
    with override_gearman("gearman", servers=["127.0.0.1:1"]):
        backend = task_backends["default"]

        assert not backend.supports_get_result
        with pytest.raises(NotImplementedError, match="does not support retrieving"):
            backend.get_result("x")


# Transactions


@pytest.mark.django_db(transaction=True)
def test_the_projects_submission_on_commit_is_that_of_tasks_too(settings, tasks, ran):
    settings.GEARMAN_SUBMIT_ON_COMMIT = True

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        work.echo.enqueue("undone")
        1 / 0  # noqa: B018
    with transaction.atomic():
        result = work.echo.enqueue("done")
        assert tasks.run_all() == 0

    assert (tasks.run_all(), ran) == (1, ["done"])
    assert tasks.get_result(result.id).status == SUCCESSFUL
