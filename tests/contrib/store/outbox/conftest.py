from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import transaction

from django_gearman.contrib.store.functions import DatabaseTime
from django_gearman.contrib.store.models import OutboxJob
from django_gearman.contrib.store.outbox.relay import Relay, Report
from tests.app import gearman_jobs as jobs


@pytest.fixture
def outbox(settings) -> None:
    settings.GEARMAN_OUTBOX = True


@pytest.fixture
def queue(gearman_client) -> Callable[..., None]:
    """Return a function that leaves jobs in the outbox, as an outage does: one for each value."""

    def leave(*values: object, job=jobs.note) -> None:
        with gearman_client.server_down(), transaction.atomic():
            for value in values:
                job.using(on_commit=True).do_background(value)

    return leave


@pytest.fixture
def relay() -> Callable[..., Report]:
    """Return a function that sweeps once, by default after all waiting rows are due."""

    def sweep(*, due: bool = True) -> Report:
        if due:
            waiting = OutboxJob.objects.filter(next_try_at__isnull=False)
            waiting.update(next_try_at=DatabaseTime(-1))
        return Relay("default").sweep()

    return sweep
