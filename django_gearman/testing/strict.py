"""What a strict test must not leave behind."""

from __future__ import annotations

import time
from contextlib import suppress

from ..backends import get_backend
from ..exceptions import BackendError
from .expectation import describe
from .harness import Harness
from .outbox import SubmittedJob


def complaint(harness: Harness) -> str:
    """Tell what jobs were left queued, and what failures nobody looked at; "" if there were none."""
    records = harness.records()
    complaints = {
        "was left queued, and nobody ran it": [r for r in records if _is_left(r)],
        "failed, and nobody looked at that": [r for r in records if r.failed_unseen],
    }
    lines = [
        f"job {describe(record)} {complaint}"
        for complaint, those in complaints.items()
        for record in those
    ]
    return "\n".join(["this strict test is not done:", *lines]) if lines else ""


def _is_left(record: SubmittedJob) -> bool:
    """Whether a job that is not delayed still waits on its job server."""
    if record.finished or (record.run_at is not None and record.run_at > time.time()):
        return False
    with suppress(BackendError, ValueError):  # a server that is gone, or the thread's own one
        return get_backend().job_status(record.handle).known
    return True
