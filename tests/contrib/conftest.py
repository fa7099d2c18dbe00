"""Tests of the optional parts: `pytest tests/contrib --ds=tests.contrib.settings`."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings

if "tests.contrib" not in settings.INSTALLED_APPS:
    collect_ignore_glob = ["*"]


@pytest.fixture
def has_run() -> list[Any]:
    """Return the list in which the jobs of tests.contrib leave their arguments, empty at first."""
    from tests.contrib.gearman_jobs import RAN

    RAN.clear()
    return RAN


@pytest.fixture
def use(settings: Any, production: None) -> Callable[..., None]:
    """Return a function that sets the job servers."""

    def use(*addresses: str) -> None:
        settings.GEARMAN_BACKEND = "gearman"
        settings.GEARMAN_SERVERS = [*addresses]

    return use
