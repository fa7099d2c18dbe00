"""Jobs on their way to job servers: the code that threads and event loops share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Generic, TypeVar

from ..exceptions import ServerUnavailable
from .base import AwaitableSubmission, JobSpec, SpecBatch, Submission, UnsentSubmission
from .remote import batches
from .submitted import Joined, SubmissionBatch

_C = TypeVar("_C")
_S = TypeVar("_S", Submission, AwaitableSubmission)


class Sending(Generic[_S]):
    """The submission of jobs, of which some may have to go to another server than the first one."""

    def __init__(self, specs: Sequence[JobSpec]) -> None:
        self._specs = specs
        self._sizes = _sizes(specs)
        self._sent: dict[int, _S] = {}
        self._parts: list[Sequence[_S]] = []  # of a batch, in place of them
        self._number = 0  # of the jobs in these parts: those at the first places
        #: The places of the jobs that no server has got.
        self.unsent: Sequence[int] = range(len(specs))

    def batches(
        self, routes: Mapping[_C, Sequence[int]]
    ) -> Iterator[tuple[_C, Sequence[int], Sequence[JobSpec]]]:
        """Yield the connection, the places and the jobs of each batch, which `sent` records."""
        self.unsent = []
        for connection, places in routes.items():
            for batch in batches(places, list(map(self._sizes.__getitem__, places))):
                yield connection, batch, self._jobs(batch)

    def _jobs(self, places: Sequence[int]) -> Sequence[JobSpec]:
        if type(self._specs) is SpecBatch and places[-1] - places[0] == len(places) - 1:
            return self._specs[places[0] : places[-1] + 1]
        return [self._specs[place] for place in places]

    def sent(self, batch: Sequence[int], submissions: Sequence[_S]) -> None:
        """Record the submissions of a batch; jobs that have none can go elsewhere."""
        if isinstance(submissions, SubmissionBatch) and batch[0] == self._number and not self._sent:
            self._parts.append(submissions)
            self._number += len(submissions)
        else:
            self._sent.update(zip(batch, submissions, strict=False))
        self.unsent = [*self.unsent, *batch[len(submissions) :]]

    def give_up(self, error: ServerUnavailable) -> None:
        """Fail the jobs that are left, as no server can be reached; raise if nothing was sent."""
        if not (self._sent or self._number):
            raise error
        self._sent.update((place, UnsentSubmission(error)) for place in self.unsent)
        self.unsent = ()

    def submissions(self) -> Sequence[_S]:
        """Return the submissions, in the order of the jobs."""
        others: Sequence[_S] = list(
            map(self._sent.__getitem__, range(self._number, len(self._specs)))
        )
        return Joined(chain(self._parts, [others])) if self._parts else others


def _sizes(specs: Sequence[JobSpec]) -> list[int]:
    if type(specs) is SpecBatch:
        return [*map(len, specs.workloads)]
    return [len(spec.workload) for spec in specs]
