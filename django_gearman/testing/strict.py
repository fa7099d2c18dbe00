"""Leftovers, which fail a strict test."""

from __future__ import annotations

from contextlib import suppress

from ..backends import get_backend
from ..exceptions import BackendError
from .expectation import describe_submission
from .harness import Harness
from .outbox import SubmittedJob


def leftovers(harness: Harness) -> str:
    """
    Describe jobs that were left queued, and failures that the test did not look at; "" if there are
    none.
    """
    records = harness.records()
    now = harness.outbox.now()
    seen = {record.handle for record in records if record.was_seen}
    reasons = {
        "was left queued, and no worker ran it": [r for r in records if _is_left(r, now)],
        "failed, and the test did not look at that": [
            r for r in records if r.failed and r.handle not in seen
        ],
    }
    lines = [
        f"job {describe_submission(record)} {reason}"
        for reason, those in reasons.items()
        for record in those
    ]
    return "\n".join(["this strict test is not done:", *lines]) if lines else ""


def _is_left(record: SubmittedJob, now: float) -> bool:
    """Return True if a due job still waits on its job server."""
    if record.finished or record.due_at > now:
        return False
    with suppress(BackendError, ValueError):  # a stopped server, or one of an earlier block
        return get_backend().job_status(record.handle).known
    return True
