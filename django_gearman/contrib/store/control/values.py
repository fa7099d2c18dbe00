"""The answers of supervisors: their processes, and the jobs that these run."""

from __future__ import annotations

import datetime
import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from ....exceptions import GearmanError
from ..counters import StoreErrors

_T = TypeVar("_T")
_TIMES = "since", "last"


class ControlError(GearmanError):
    """The error if no supervisor has received a command, or if the supervisor refuses it."""


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
    own process. `store_errors` are those since then; None if there were none.
    """

    name: str
    host: str
    pid: int
    queues: tuple[str, ...]
    release: str
    uptime: float
    memory: float
    processes: tuple[ProcessInfo, ...]
    store_errors: StoreErrors | None = None


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
    parts = asdict(info)
    if (errors := parts["store_errors"]) is not None:
        errors |= {name: errors[name].isoformat() for name in _TIMES}
    return parts


def from_json(found: Mapping[str, Any]) -> SupervisorInfo:
    """Return a supervisor from its values for JSON, perhaps of another release."""
    processes = [
        _made(ProcessInfo, each, jobs=tuple(_made(RunningJob, job) for job in each["jobs"]))
        for each in found["processes"]
    ]
    errors = found.get("store_errors")
    if errors is not None:
        times = {name: datetime.datetime.fromisoformat(errors[name]) for name in _TIMES}
        errors = _made(StoreErrors, errors, **times)
    more = {"queues": tuple(found["queues"]), "store_errors": errors}
    return _made(SupervisorInfo, found, **more, processes=tuple(processes))


def _made(kind: type[_T], parts: Mapping[str, Any], **others: Any) -> _T:
    """Return an object of these parts; those that only a newer release knows are left out."""
    known = inspect.signature(kind).parameters
    return kind(**{name: value for name, value in parts.items() if name in known} | others)
