from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from django_gearman.testing import override_gearman


@pytest.fixture
def ran() -> list[Any]:
    """Return the list in which the tasks note their calls, empty at first."""
    from tests.contrib.tasks_backend.work import RAN

    RAN.clear()
    return RAN


@pytest.fixture
def tasks() -> Iterator[Any]:
    """Queue tasks on `memory`, and return their backend."""
    from django_gearman.contrib.tasks_backend.compat import task_backends

    with override_gearman("memory", raise_failures=False):
        yield task_backends["default"]


@pytest.fixture
def eager() -> Iterator[None]:
    """Run tasks when they are enqueued."""
    with override_gearman("eager", raise_failures=False):
        yield
