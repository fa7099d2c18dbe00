"""Workloads that are not tasks: each fails with a clear error, and the worker survives."""

from __future__ import annotations

import json
import sys

import pytest

from django_gearman.backends import use_backend
from django_gearman.backends.base import JobSpec
from django_gearman.contrib.tasks_backend.compat import TaskResultStatus
from django_gearman.contrib.tasks_backend.queues import task_queue
from tests.contrib.tasks_backend import work

MODULE = work.__name__
PAYLOAD = {
    "version": 1,
    "task": f"{MODULE}.echo",
    "priority": 0,
    "queue_name": "default",
    "backend": "default",
    "run_after": None,
    "enqueued_at": "2026-11-29T12:00:00+00:00",
    "args": ["ran"],
    "kwargs": {},
}


def submit(workload, queue="default"):
    body = workload if isinstance(workload, bytes) else json.dumps(workload).encode()
    use_backend().submit([JobSpec(task_queue("default", queue).name, body, background=True)])


def test_the_documented_workload_is_run(tasks, ran):
    submit(PAYLOAD)

    tasks.run_all(raise_failures=True)

    assert ran == ["ran"]


def test_unknown_fields_are_ignored(tasks, ran):
    submit({**PAYLOAD, "metadata": {"from": "the future"}})

    tasks.run_all()

    assert ran == ["ran"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "os.system"}, "os.system is not a task, so it is not called"),
        ({"task": "subprocess.run"}, "subprocess.run is not a task"),
        ({"task": f"{MODULE}.plain_function"}, "plain_function is not a task"),
        ({"task": f"{MODULE}.echo.func"}, "cannot be imported"),
        ({"task": f"{MODULE}.alias_of_add"}, "leads to the task .*.add, which is run by that name"),
        ({"task": f"{MODULE}.removed"}, "removed cannot be imported"),
        ({"task": "no_such_app.work.echo"}, "no_such_app.work.echo cannot be imported"),
        ({"task": "../../etc/passwd"}, "is not the path of a task"),
        ({"task": "echo"}, "'echo' is not the path of a task"),
        ({"task": f"{MODULE}..echo"}, "is not the path of a task"),
        ({"task": f"{MODULE}.echo\n"}, "is not the path of a task"),
        ({"task": None}, "None is not the path of a task"),
        ({"task": ["os", "system"]}, "is not the path of a task"),
        ({"task": 10**100}, "is not the path of a task"),
        ({"backend": "open"}, r"was enqueued for TASKS\['open'\], queue 'default', but arrived at"),
        ({"backend": None}, r"was enqueued for TASKS\[None\]"),
        ({"queue_name": "mail"}, "queue 'mail', but arrived at .* queue 'default'"),
        ({"queue_name": "post"}, "queue 'post', but arrived at .* queue 'default'"),
        ({"queue_name": None}, "queue None, but arrived at"),
        ({"priority": 1000}, "priority must be a whole number"),
        ({"priority": "high"}, "priority of the task is 'high', not a number"),
        ({"priority": None}, "priority of the task is None"),
        ({"run_after": "tomorrow"}, "'tomorrow', which is not a time"),
        ({"run_after": 5}, "5, which is not a time"),
        ({"args": {"a": 1}}, "wrong arguments"),
        ({"kwargs": [1]}, "wrong arguments"),
        ({"attempt": "2"}, "wrong arguments"),
        ({"version": 2}, "a newer release of django-gearman, in format 2"),
        ({"version": "1"}, "not the workload of a task"),
        ({"args": [1, 2, 3]}, "takes .* positional argument"),
        ({"kwargs": {"unknown": 1}}, "unexpected keyword argument"),
    ],
)
def test_tampered_workloads_fail(tasks, ran, caplog, changes, message):
    submit({**PAYLOAD, **changes})
    submit(PAYLOAD)

    with pytest.raises(Exception, match=message):
        tasks.run_all(raise_failures=True)

    assert ran == ["ran"]  # the worker survives
    assert "failed in attempt 1" in caplog.text


@pytest.mark.parametrize(
    "workload",
    [  # of several kinds
        b"x",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"1",
        b'{"args": [], "kwargs": {}}',
        b"[" * 10**5,
    ],
)
def test_workloads_that_are_not_payload_fail(tasks, ran, workload):
    submit(workload)
    submit(PAYLOAD)

    with pytest.raises(Exception, match=r"not JSON|not the workload of a task"):
        tasks.run_all(raise_failures=True)

    assert ran == ["ran"]


def test_a_module_that_raises_on_import_fails_its_tasks_only(tasks, ran, tmp_path, monkeypatch):
    (tmp_path / "raises_on_import.py").write_text("raise SystemExit('not today')")
    (tmp_path / "breaks_on_import.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    submit({**PAYLOAD, "task": "raises_on_import.send"})
    submit({**PAYLOAD, "task": "breaks_on_import.send"})
    submit(PAYLOAD)

    with pytest.raises(SystemExit, match="not today") as raised:
        tasks.run_all(raise_failures=True)

    assert "breaks_on_import.send cannot be imported" in raised.value.__notes__[0]
    assert ran == ["ran"]


def test_the_result_of_a_removed_task_is_failed(tasks, ran, monkeypatch):
    result = work.echo.enqueue(1)
    monkeypatch.delattr(work, "echo")

    tasks.run_all()

    found = tasks.get_result(result.id)
    assert found.status == TaskResultStatus.FAILED
    assert found.errors[0].exception_class is ImportError
    assert "echo cannot be imported" in found.errors[0].traceback


def test_no_module_of_the_package_is_named_tasks():
    import django_gearman.contrib.tasks_backend as package

    assert not [name for name in sys.modules if name == f"{package.__name__}.tasks"]
