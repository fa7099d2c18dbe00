"""Retries, backoff and time limits of tasks."""

from __future__ import annotations

import datetime
import re

import pytest

from django_gearman.contrib.tasks_backend import GearmanTask, GearmanTaskBackend, task
from django_gearman.contrib.tasks_backend.compat import (
    InvalidTask,
    TaskResultStatus,
    task_backends,
    task_finished,
)
from django_gearman.exceptions import WorkerDied
from django_gearman.testing import override_gearman
from tests.contrib.tasks_backend import work

READY, FAILED, SUCCESSFUL = (
    TaskResultStatus.READY,
    TaskResultStatus.FAILED,
    TaskResultStatus.SUCCESSFUL,
)


def outcome(result):
    """Return a result's status, the number of its attempts and the classes of its errors."""
    result.refresh()
    errors = [error.exception_class.__name__ for error in result.errors]
    return result.status, result.attempts, errors


def test_a_task_is_tried_again_until_it_succeeds(tasks, ran):
    result = work.fail_twice.enqueue()

    assert tasks.run_all(raise_failures=True) == 3

    assert ran == [1, 2, 3]
    assert outcome(result) == (SUCCESSFUL, 3, ["OSError", "OSError"])
    assert [error.traceback.splitlines()[-1] for error in result.errors] == [
        "OSError: attempt 1",
        "OSError: attempt 2",
    ]
    assert result.return_value == 3
    assert len(result.worker_ids) == 3


def test_a_task_fails_with_its_last_attempt(tasks, ran):
    result = work.fail_always.enqueue()

    tasks.run_all()

    assert outcome(result) == (FAILED, 2, ["OSError", "OSError"])
    assert result.finished_at >= result.last_attempted_at >= result.started_at


def test_between_attempts_a_task_is_ready(tasks, ran, gearman_worker):
    finished = []
    task_finished.connect(note := lambda task_result, **_: finished.append(task_result))
    result = work.fail_until_backoff_gives_up.enqueue()

    tasks.run_all()
    assert outcome(result) == (READY, 1, ["OSError"])
    assert (tasks.run_all(), finished) == (0, [])

    gearman_worker.advance(seconds=61)
    tasks.run_all()
    task_finished.disconnect(note)
    assert outcome(result) == (FAILED, 2, ["OSError", "OSError"])
    assert ran == [("slow down", 1, 1), ("slow down", 2, 2)]
    assert len(finished) == 1


def test_a_wrong_backoff_fails_the_task_and_tells_both_errors(tasks, ran):
    result = work.fail_with_wrong_backoff.enqueue()

    tasks.run_all()

    assert outcome(result) == (FAILED, 1, ["TypeError"])
    assert "OSError: first" in result.errors[0].traceback
    assert "what backoff returns is a number of seconds" in result.errors[0].traceback


def test_a_coroutine_is_tried_again_with_the_default_backoff(tasks, ran, gearman_worker):
    result = work.afail.enqueue()

    tasks.run_all()
    assert outcome(result) == (READY, 1, ["OSError"])
    gearman_worker.advance(seconds=1)
    tasks.run_all()

    assert outcome(result) == (FAILED, 2, ["OSError", "OSError"])


def test_options_are_the_defaults_of_tasks_without_a_policy(ran, gearman_worker):
    with override_gearman("memory", raise_failures=False):
        result = work.fail_patiently.enqueue()
        task_backends["patient"].run_all()
        assert outcome(result) == (READY, 1, ["OSError"])

        gearman_worker.advance(minutes=5)
        task_backends["patient"].run_all()

        assert outcome(result) == (FAILED, 2, ["OSError", "OSError"])


def test_without_a_policy_an_exception_is_final(tasks, ran):
    result = work.fail.enqueue()

    tasks.run_all()

    assert outcome(result) == (FAILED, 1, ["ValueError"])


def test_exits_are_failures(tasks, ran):
    result = work.leave.enqueue()

    tasks.run_all()

    assert outcome(result) == (FAILED, 1, ["SystemExit"])


def test_return_values_that_are_not_json_fail_the_task(tasks, ran):
    result = work.give_what_is_not_json.enqueue()

    tasks.run_all()

    assert outcome(result) == (FAILED, 1, ["TypeError"])
    assert "Unsupported type" in result.errors[0].traceback


def test_a_task_without_policy_that_kills_its_workers_fails_after_three(
    tasks, ran, gearman_client, gearman_worker
):
    with override_gearman("memory", raise_failures=False):
        result = work.echo.enqueue(1)
        with gearman_client.crash_worker_during("django.tasks:default:default", times=3):
            gearman_worker.run()

        assert outcome(result) == (FAILED, 3, ["WorkerDied"])
        assert issubclass(result.errors[0].exception_class, WorkerDied)


# Declarations


def test_the_policy_survives_using():
    changed = work.fail_twice.using(priority=3, backend="open", queue_name="q")

    assert isinstance(changed, GearmanTask)
    assert (changed.max_attempts, changed.backoff) == (3, work.no_backoff)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"max_attempts": 0}, "max_attempts is a whole number of attempts above 0, not 0"),
        ({"max_attempts": -1}, "above 0"),
        ({"max_attempts": True}, "above 0, not True"),
        ({"max_attempts": 1.5}, "above 0"),
        ({"max_attempts": "3"}, "above 0"),
        ({"max_attempts": 2**40}, "above 0"),
        ({"backoff": 5, "max_attempts": 2}, "backoff is a function of the exception"),
        ({"backoff": work.no_backoff}, "backoff has no effect without max_attempts"),
        ({"timeout": 0}, "timeout is a number of seconds above 0"),
        ({"timeout": "1"}, "timeout is a number of seconds above 0"),
        ({"timeout": float("inf")}, "timeout is a number of seconds above 0"),
    ],
)
def test_wrong_policies_are_refused_where_they_are_declared(policy, message):
    with pytest.raises(InvalidTask, match=message):
        task(**policy)(work.plain_function)


def test_unknown_arguments_of_a_task_are_refused():
    with pytest.raises(TypeError, match="max_tries"):
        task(max_tries=3)(work.plain_function)
    with pytest.raises(TypeError, match=r"Use \.using\(run_after=...\)"):
        task(run_after=datetime.datetime.now(datetime.UTC))(work.plain_function)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"MAX_ATTEMPTS": 0}, "MAX_ATTEMPTS is a whole number"),
        ({"BACKOFF": "no.such.module", "MAX_ATTEMPTS": 2}, "no.such.module|No module named 'no'"),
        ({"BACKOFF": work.no_backoff}, "BACKOFF has no effect without MAX_ATTEMPTS"),
        ({"TIMEOUT": -1}, "TIMEOUT is a number of seconds above 0"),
        ({"MAX_ATTEMPT": 2}, "Did you mean 'MAX_ATTEMPTS'"),
        ({"RETRIES": 2}, "has 'RETRIES', which has no effect"),
        (["OUTBOX"], "which is not a dict"),
    ],
)
def test_checks_find_wrong_options(options, message):
    backend = GearmanTaskBackend("default", {"OPTIONS": options})

    [found] = backend.check()

    assert re.search(message, f"{found.msg} {found.hint}")
    assert "TASKS['default']" in found.msg


def test_a_function_in_options_may_be_a_dotted_path():
    path = "tests.contrib.tasks_backend.work.no_backoff"
    backend = GearmanTaskBackend("x", {"OPTIONS": {"MAX_ATTEMPTS": 2, "BACKOFF": path}})

    assert backend.check() == []
    assert backend.default_policy.backoff is work.no_backoff
