"""
The values that transports, clients and workers exchange: jobs, updates, and rows for administrators.

The six `Work*` values serve both directions: a worker sends one, and each waiting client receives
an equal one. Any number of `WorkData`, `WorkWarning` and `WorkStatus` may come; exactly one outcome
(`WorkComplete`, `WorkException` or `WorkFail`) ends the job.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

from ..exceptions import BackendError


class Priority(enum.Enum):
    """The priority of a job among the others of its function."""

    __hash__ = object.__hash__  # an Enum's own is slow Python code

    LOW = "LOW"
    NORMAL = "NORMAL"
    HIGH = "HIGH"


class JobSpec(NamedTuple):
    """
    A job to submit.

    Jobs with the same `unique` merge; "" never merges. `run_at`, in seconds since the epoch, delays
    a background job, if the transport supports this. An `external` job is for workers of other
    programs: a delayed one, too, uses its plain name.
    """

    function: str
    workload: bytes
    unique: str = ""
    priority: Priority = Priority.NORMAL
    background: bool = False
    run_at: float | None = None
    external: bool = False


class SpecBatch(Sequence[JobSpec]):
    """
    Jobs of one function, with generated uniques: a sequence of specs.

    It keeps the workloads only, so a transport that asks for no spec saves most of the work.
    `first` is the unique of the first job, as a number; each of the others is the one before and 1.
    """

    def __init__(
        self, function: str, first: int, workloads: Sequence[bytes], *, background: bool = True
    ) -> None:
        self.function = function
        self.first = first
        self.workloads = workloads
        self.background = background

    def __len__(self) -> int:
        return len(self.workloads)

    def __iter__(self) -> Iterator[JobSpec]:
        background, function = self.background, self.function
        for number, workload in enumerate(self.workloads, self.first):
            yield JobSpec(function, workload, f"{number:032x}", background=background)

    @overload
    def __getitem__(self, place: int) -> JobSpec: ...

    @overload
    def __getitem__(self, place: slice) -> SpecBatch: ...

    def __getitem__(self, place: int | slice) -> JobSpec | SpecBatch:
        places = range(len(self.workloads))[place]
        if isinstance(places, int):
            unique = f"{self.first + places:032x}"
            workload = self.workloads[places]
            return JobSpec(self.function, workload, unique, background=self.background)
        if places.step != 1:
            raise ValueError("the specs of a batch follow each other: a slice of them has no step")
        return SpecBatch(
            self.function,
            self.first + places.start,
            self.workloads[places.start : places.stop],
            background=self.background,
        )


class AssignedJob(NamedTuple):
    """
    A job that a worker holds and must answer with exactly one outcome.

    `background` is None if another library submitted the job, because its unique does not say this.
    `is_delayed` is True if the job was submitted for a later time.
    """

    handle: str
    function: str
    unique: str
    workload: bytes
    background: bool | None = None
    is_delayed: bool = False


@dataclass(frozen=True, slots=True)
class JobStatus:
    """
    The server's view of a job.

    `known` is False for a finished job, and for one that never existed: Gearman does not
    distinguish them.
    """

    known: bool
    running: bool
    numerator: int = 0
    denominator: int = 0


@dataclass(frozen=True, slots=True)
class FunctionStatus:
    """
    One function on one server: jobs in all (queued, delayed and running), running, workers.

    `delayed` of them were submitted for a later time, as far as the server tells.
    """

    server: str
    function: str
    total: int
    running: int
    workers: int
    delayed: int = 0


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker's connection to one server, and the functions it serves."""

    server: str
    address: str
    client_id: str
    functions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """A message of a worker about its current job."""


@dataclass(frozen=True, slots=True)
class Outcome(Update):
    """The last message of a worker about a job."""


# `data` is bytes on a transport, and the decoded value in JobRequest.updates().
@dataclass(frozen=True, slots=True)
class WorkData(Update):
    """A part of the result, sent while the job runs."""

    data: Any


@dataclass(frozen=True, slots=True)
class WorkWarning(Update):
    """A warning, sent while the job runs."""

    data: Any


@dataclass(frozen=True, slots=True)
class WorkStatus(Update):
    """Progress: numerator of denominator, whole numbers from 0 to 2**32 - 1."""

    numerator: int
    denominator: int


@dataclass(frozen=True, slots=True)
class WorkComplete(Outcome):
    """The job succeeded."""

    data: Any = b""


@dataclass(frozen=True, slots=True)
class WorkException(Outcome):
    """The job failed with an exception; only workers of other libraries send it."""

    data: Any


@dataclass(frozen=True, slots=True)
class WorkFail(Outcome):
    """The job failed."""


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """
    A job server's answer to a probe; `seconds` is the time until it came.

    `software` is the program and its version, "" if the server does not tell. A server with an
    `error` has not answered.
    """

    seconds: float | None = None
    software: str = ""
    error: BackendError | None = None
