"""A transport that refuses some jobs, for the tests of the relay."""

from __future__ import annotations

from collections.abc import Sequence

from django_gearman.backends.base import JobSpec, Submission, UnsentSubmission, refusal
from django_gearman.backends.memory import MemoryBackend
from django_gearman.exceptions import ServerUnavailable, SubmitUncertain

REFUSED, CUTTING, BREAKING = b"refused", b"cuts the connection", b"breaks the client"


class RefusingBackend(MemoryBackend):
    """The memory transport, with jobs that a server refuses or does not survive."""

    #: Sizes of the submissions.
    sizes: list[int] = []  # noqa: RUF012 - the tests empty it
    is_down = False

    def submit(self, specs: Sequence[JobSpec]) -> list[Submission]:
        if self.is_down:
            raise ServerUnavailable("nobody listens")
        self.sizes.append(len(specs))
        if any(BREAKING in spec.workload for spec in specs):
            raise MemoryError("no room for a packet")
        found: list[Submission] = []
        is_cut = False
        for spec in specs:
            is_cut = is_cut or CUTTING in spec.workload
            if is_cut:
                found.append(UnsentSubmission(SubmitUncertain("the connection was lost")))
            elif REFUSED in spec.workload:
                error = refusal("job1:4730", "QUEUE_ERROR", "no")
                found.append(UnsentSubmission(error))
            else:
                found += super().submit([spec])
        return found
