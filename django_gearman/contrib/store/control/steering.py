"""
The service of the attendant that looks into the database for changes that concern its workers.

These are the paused queues, and the jobs that users have cancelled while they run. The attendant gets
a message about such a job, too, which is quicker, and which may be lost.
"""

from __future__ import annotations

from ....backends import get_backend_class
from ....supervisor import Attendant, Service
from ....utils.clock import monotonic
from ..models import JobRecord
from ..writing import database
from .interrupting import interrupts
from .pausing import Pauses

_SECONDS = 0.8  # between two looks; an idle worker looks at the paused queues every 1.1 s


class Steering:
    """The checks of the database by one attendant."""

    def __init__(self) -> None:
        self._pauses = Pauses()
        self._look_at = 0.0

    def turn(self, attendant: Attendant) -> float:
        """Look into the database, and signal the processes with cancelled jobs again."""
        if monotonic() >= self._look_at:
            self._look_at = monotonic() + _SECONDS
            self._pauses.look()
            if not self._pauses.is_down and (jobs := cancelled_jobs()):
                interrupts.begin(attendant, jobs)
        seconds = interrupts.again()
        return max(0.0, self._look_at - monotonic()) if seconds is None else seconds


def cancelled_jobs() -> dict[str, str]:
    """Return the handles of the running jobs that users have cancelled, by id."""
    rows = JobRecord.objects.using(database()).filter(status=JobRecord.Status.RUNNING)
    return dict(rows.filter(cancelled_at__isnull=False).values_list("pk", "handle"))


def make_service() -> Service | None:
    """Return the service of the attendant; None if jobs never leave this process."""
    return None if get_backend_class().local else Service("steering", Steering().turn, _SECONDS)
