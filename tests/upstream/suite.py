"""
Django's tests of tasks, on GearmanTaskBackend: wherever they name a backend, ours takes its place.

Ours queues the tasks on the transport `memory` in place of DummyBackend, and runs them on `eager` in
place of ImmediateBackend. If a test has both backends, it keeps Django's ImmediateBackend.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import TestCase, mock

import django.test

OURS = "django_gearman.contrib.tasks_backend.GearmanTaskBackend"
DUMMY = "django.tasks.backends.dummy.DummyBackend"
IMMEDIATE = "django.tasks.backends.immediate.ImmediateBackend"

#: The tests that no backend outside of Django passes, and why.
EXCEPTIONS = {
    "DummyBackendTestCase.test_using_correct_backend": "asserts the class DummyBackend",
    "DummyBackendTestCase.test_refresh_result": "changes an object in `results`: ours is a copy",
    "DummyBackendTestCase.test_refresh_result_async": "the same",
    "ImmediateBackendTestCase.test_using_correct_backend": "asserts the class ImmediateBackend",
    "ImmediateBackendTestCase.test_cannot_get_result": "asserts that results cannot be read",
    "ImmediateBackendTestCase.test_cannot_refresh_result": "asserts that results cannot be read",
    "ImmediateBackendTestCase.test_cannot_pass_run_after": "asserts that tasks cannot be deferred",
    "TaskTestCase.test_using_correct_backend": "asserts the class DummyBackend",
    "TaskTestCase.test_get_backend": "asserts the class DummyBackend",
}

_override_settings: Any = django.test.override_settings


def _replaced(**settings: Any) -> Any:
    tasks = settings.get("TASKS", {})
    named = {params.get("BACKEND") for params in tasks.values()}
    wanted = DUMMY if DUMMY in named else IMMEDIATE
    if wanted not in named:
        return _override_settings(**settings)
    ours = {
        alias: {**params, "BACKEND": OURS} if params["BACKEND"] == wanted else params
        for alias, params in tasks.items()
    }
    transport = "memory" if wanted == DUMMY else "eager"
    return _override_settings(**{**settings, "TASKS": ours, "GEARMAN_BACKEND": transport})


@contextmanager
def ours_in_place() -> Iterator[list[type[TestCase]]]:
    """Yield the test cases, with our backend in their settings."""
    with mock.patch("django.test.override_settings", _replaced):
        from tasks import test_dummy_backend, test_immediate_backend, test_tasks

        modules = test_dummy_backend, test_immediate_backend, test_tasks
        cases: list[Any] = [
            case
            for module in modules
            for case in vars(module).values()
            if isinstance(case, type) and case.__module__ == module.__name__
        ]
        for case in cases:
            if getattr(case, "available_apps", None) == []:
                case.available_apps = ["django_gearman"]
        yield cases
