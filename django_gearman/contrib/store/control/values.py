"""The answers of supervisors: their processes, and the jobs that these run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ....exceptions import GearmanError


class ControlError(GearmanError):
    """The error if a command has reached no supervisor, or if the supervisor refuses it."""


@dataclass(frozen=True)
class RunningJob:
    """
    A job that a process runs, for `seconds`.

    `id` is "" if only the job's arguments have it, and they are too large or pickled.
    """

    id: str
    job: str
    queue: str
    function: str
    handle: str
    seconds: float


@dataclass(frozen=True)
class ProcessInfo:
    """
    A worker process.

    `state` is "starting", "idle", "running" or "leaving", `memory` its resident memory in MB. `done`
    and `failed` are numbers of jobs.
    """

    pid: int
    name: str
    state: str
    memory: float
    jobs: tuple[RunningJob, ...]
    done: int
    failed: int


@dataclass(frozen=True)
class SupervisorInfo:
    """
    A `gearman_worker`, as it has just described itself; `name` is "<host>:<pid>".

    `uptime` are seconds since it started, or loaded its code again. `memory`, in MB, is that of its
    own process.
    """

    name: str
    host: str
    pid: int
    queues: tuple[str, ...]
    release: str
    uptime: float
    memory: float
    processes: tuple[ProcessInfo, ...]


@dataclass(frozen=True)
class Answers:
    """
    The supervisors that have answered, sorted by name.

    Each problem is a sentence about a job server or a supervisor that has not.
    """

    supervisors: tuple[SupervisorInfo, ...] = ()
    problems: tuple[str, ...] = ()


def as_json(info: SupervisorInfo) -> dict[str, Any]:
    """Return a supervisor in values for JSON."""
    return asdict(info)


def from_json(found: Mapping[str, Any]) -> SupervisorInfo:
    """Return the supervisor that `as_json` has taken apart."""
    processes = [
        ProcessInfo(**{**each, "jobs": tuple(RunningJob(**job) for job in each["jobs"])})
        for each in found["processes"]
    ]
    parts = {**found, "queues": tuple(found["queues"]), "processes": tuple(processes)}
    return SupervisorInfo(**parts)
