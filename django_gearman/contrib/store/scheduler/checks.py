"""The system check of the declared schedules."""

from __future__ import annotations

from typing import Any

from django.core import checks
from django.core.checks import CheckMessage

from .declared import read_schedules


def check_schedules(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Check every schedule: its times, its job and its arguments."""
    _, mistakes = read_schedules()
    return [checks.Error(mistake, id="django_gearman.E020") for mistake in mistakes]
