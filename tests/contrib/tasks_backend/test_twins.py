"""Django's backends for tests, with tasks that declare a policy."""

from __future__ import annotations

import pytest

from django_gearman.contrib.tasks_backend import GearmanTask, task
from django_gearman.contrib.tasks_backend.compat import (
    InvalidTask,
    TaskResultStatus,
    task_backends,
)
from tests.contrib.tasks_backend import work

PACKAGE = "django_gearman.contrib.tasks_backend"


@pytest.fixture(params=["GearmanDummyBackend", "GearmanImmediateBackend"])
def twin(request, settings):
    settings.TASKS = {"default": {"BACKEND": f"{PACKAGE}.{request.param}"}}
    return request.param


def test_modules_with_a_policy_import(twin):
    declared = task(max_attempts=3, backoff=work.no_backoff, timeout=5)(work.plain_function)

    assert isinstance(declared, GearmanTask)
    assert (declared.max_attempts, declared.timeout) == (3, 5)


def test_wrong_policies_are_refused(twin):
    with pytest.raises(InvalidTask, match="max_attempts is a whole number"):
        task(max_attempts=0)(work.plain_function)


def test_they_behave_like_those_of_django(twin, ran):
    result = work.echo.enqueue("x")

    if twin == "GearmanDummyBackend":
        assert (result.status, ran) == (TaskResultStatus.READY, [])
        assert task_backends["default"].results == [result]
    else:
        assert (result.return_value, ran) == ("x", ["x"])
