"""Jobs on their way to job servers: the code that threads and event loops share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from ..exceptions import ServerUnavailable
from .base import AwaitableSubmission, JobSpec, SpecBatch, Submission, UnsentSubmission
from .remote import batches

_C = TypeVar("_C")
_S = TypeVar("_S", Submission, AwaitableSubmission)


class Sending(Generic[_S]):
    """The submission of jobs, of which some may have to go to another server than the first one."""

    def __init__(self, specs: Sequence[JobSpec]) -> None:
        self._specs = specs
        self._sizes = _sizes(specs)
        self._sent: dict[int, _S] = {}
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
        self._sent.update(zip(batch, submissions, strict=False))
        self.unsent = [*self.unsent, *batch[len(submissions) :]]

    def give_up(self, error: ServerUnavailable) -> None:
        """Fail the jobs that are left, as no server can be reached; raise if nothing was sent."""
        if not self._sent:
            raise error
        self._sent.update((place, UnsentSubmission(error)) for place in self.unsent)
        self.unsent = ()

    def submissions(self) -> list[_S]:
        """Return the submissions, in the order of the jobs."""
        return list(map(self._sent.__getitem__, range(len(self._specs))))


def _sizes(specs: Sequence[JobSpec]) -> list[int]:
    if type(specs) is SpecBatch:
        return [*map(len, specs.workloads)]
    return [len(spec.workload) for spec in specs]
