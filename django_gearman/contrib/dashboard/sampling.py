"""Samples of the queues, once a minute, as a service of the attendant."""

from __future__ import annotations

import datetime
import random
import time

from django.db import router

from ...backends import get_backend_class
from ...jobs.functions import job_functions
from ...management.asking import Servers, ask_servers
from ...supervisor import Attendant, Service
from ...utils.clock import monotonic
from ..store.missing import naming_missing_tables
from .models import JobServer, QueueSample
from .queues import DAY, present_minute, split

_SECONDS = 60.0
_PATIENCE = 5.0  # seconds for the answers of all job servers
_SPREAD = 5.0  # seconds over which the supervisors ask, so that one of them comes first


class Sampler:
    """The sampler of one supervisor. The first of all supervisors writes the sample of a minute."""

    def __init__(self) -> None:
        self._prune_at = 0.0

    def turn(self, attendant: Attendant | None = None) -> float:
        """Sample this minute, unless another supervisor has; return the seconds until the next."""
        alias = router.db_for_write(QueueSample)
        minute = present_minute()
        with naming_missing_tables(alias, "dashboard"):
            if not QueueSample.objects.using(alias).filter(minute=minute).exists():
                sample(ask_servers(_PATIENCE), minute, alias)
            if monotonic() >= self._prune_at:
                QueueSample.objects.using(alias).filter(minute__lt=minute - DAY).delete()
                self._prune_at = monotonic() + 3600
        return _SECONDS - time.time() % _SECONDS + random.uniform(0, _SPREAD)


def sample(servers: Servers, minute: datetime.datetime, alias: str) -> None:
    """Write the counts of all queues, unless no server has answered."""
    answered = [state for state in servers.states if not state.error]
    if not answered:
        return
    queues, _ = split(servers, job_functions())
    rows = [
        QueueSample(
            queue=name,
            minute=minute,
            waiting=queue.counts.waiting,
            running=queue.counts.running,
            workers=queue.counts.workers,
        )
        for name, queue in queues.items()
    ]
    QueueSample.objects.using(alias).bulk_create(rows, ignore_conflicts=True)
    for state in answered:
        JobServer.objects.using(alias).update_or_create(
            pk=state.address[:255], defaults={"answered_at": minute}
        )


def make_service() -> Service | None:
    """Return the service of the attendant; None if jobs never leave this process."""
    return None if get_backend_class().local else Service("samples", Sampler().turn, _SECONDS)
