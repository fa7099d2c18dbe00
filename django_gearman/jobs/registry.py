"""The registry of the jobs that this process knows, by name and by queue."""

from __future__ import annotations

import difflib
import inspect
import sys
import threading
from collections.abc import Iterable
from typing import Protocol

from django.apps import apps

from ..exceptions import JobAlreadyRegistered, JobNotRegistered
from .definition import JobDefinition


class JobSource(Protocol):
    """A source of jobs that are not declared with `@gearman_job`."""

    def find(self, name: str) -> JobDefinition | None:
        """Return the job of this name, or None."""

    def jobs(self) -> Iterable[JobDefinition]:
        """Return all jobs."""

    def jobs_of(self, queue: str) -> Iterable[JobDefinition]:
        """Return the jobs of a queue that `jobs` does not name, for a worker that asks for it."""


class JobRegistry:
    """The declared jobs, by name."""

    def __init__(self) -> None:
        #: Where jobs without a declaration come from.
        self.sources: list[JobSource] = []
        self._jobs: dict[str, JobDefinition] = {}
        self._lock = threading.Lock()

    def add(self, job: JobDefinition) -> None:
        """
        Add a job; raise JobAlreadyRegistered, with both places, if another job has its name.

        The same declaration again, for example after a module was reloaded, replaces the earlier
        one.
        """
        with self._lock:
            other = self._jobs.get(job.name)
            reloaded = other is not None and (
                other.location == job.location and other.func is not job.func
            )
            if other is not None and not reloaded:
                raise JobAlreadyRegistered(
                    f"two jobs are named {job.name!r}: {other.location} and {job.location}; "
                    "give one of them another name: @gearman_job(name=...)"
                )
            self._jobs[job.name] = job
            job.is_late = other.is_late if other is not None else _comes_late(job)

    def find(self, name: str) -> JobDefinition | None:
        """Return the job of this name, or None."""
        job = self._jobs.get(name)
        if job is None:
            for source in self.sources:
                if (job := source.find(name)) is not None:
                    return job
        return job

    def get(self, name: str) -> JobDefinition:
        """Return the job of this name; otherwise raise JobNotRegistered, with similar names."""
        job = self.find(name)
        if job is None:
            raise JobNotRegistered(f"no job is named {name!r}{self._hint(name)}")
        return job

    def unknown(self, name: str) -> JobNotRegistered:
        """Return the error for a submitted name that is neither declared nor external."""
        message = f"no job is named {name!r}{self._hint(name)}"
        return JobNotRegistered(
            f"{message}{'' if message.endswith('?') else '.'} If another program serves it, "
            f"add {name!r}, or a pattern that matches it, to GEARMAN_EXTERNAL_JOBS"
        )

    def _hint(self, name: str) -> str:
        if not self._jobs:
            return f"; {_why_there_are_none()}"
        if module := _undecorated(name):
            return (
                f"; {module} has such a function without a decorator: write @gearman_job above it"
            )
        last = name.rpartition(".")[2]
        close = sorted(known for known in self._jobs if known.rpartition(".")[2] == last)
        close = close[:3] or difflib.get_close_matches(name, self._jobs, n=1)
        if close:
            return f"; did you mean {' or '.join(repr(match) for match in close)}?"
        package, more = _tell_package(name.rpartition(".")[0]), len(self._jobs) > 5
        shown = ", ".join(sorted(self._jobs)[:5])
        return f"{package}; there are {shown}{' and others' if more else ''}"

    def queues(self) -> dict[str, list[JobDefinition]]:
        """Return the jobs of each queue, both sorted by name."""
        queues: dict[str, list[JobDefinition]] = {}
        jobs = [*self._jobs.values()]
        for source in self.sources:
            jobs += source.jobs()
        for job in sorted(jobs, key=lambda job: job.name):
            queues.setdefault(job.queue, []).append(job)
        return dict(sorted(queues.items()))

    def jobs(self) -> list[JobDefinition]:
        """Return all jobs, by queue."""
        return [job for jobs in self.queues().values() for job in jobs]

    def select(self, queues: Iterable[str] | None = None) -> list[JobDefinition]:
        """
        Return the jobs of these queues; all jobs for None, or if "*" is among them.

        Raises ValueError with the existing queues if no job is in a queue, or if no job is
        declared.
        """
        known = self.queues()
        for name in queues or () if self.sources else ():
            more = [job for source in self.sources for job in source.jobs_of(name)]
            if more:
                known[name] = [*known.get(name, ()), *more]
        if not known:
            raise ValueError(_why_there_are_none())
        names = list(known) if queues is None else list(dict.fromkeys(queues))
        if "*" in names:
            names = list(known)
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise ValueError(
                f"no job is in queue {', '.join(map(repr, unknown)) or '(none was named)'}; "
                f"the queues are {', '.join(known)}"
                + ("; write -q for each queue" if any("," in name for name in unknown) else "")
            )
        return [job for name in names for job in known[name]]


def _tell_package(package: str) -> str:
    """Explain why no job has a name with this start, if workers do not load its module."""
    names = [app.name for app in apps.get_app_configs()]
    if not package or package in names:
        return ""
    owners = [name for name in names if package.startswith(f"{name}.")]
    if not owners:
        return f"; no app in INSTALLED_APPS is named {package!r}"
    return f"; workers load {max(owners, key=len)}.gearman_jobs, and what it imports: not {package}"


def _undecorated(name: str) -> str:
    """Return the module `gearman_jobs` that has a plain function of this job's name, or ""."""
    package, _, last = name.rpartition(".")
    for module in _modules():
        if package in (module, module.rpartition(".")[0]):
            func = vars(sys.modules[module]).get(last)
            if inspect.isfunction(func) and func.__module__ == module:
                return module
    return ""


def _why_there_are_none() -> str:
    """Explain why no jobs are declared."""
    why = "no jobs are declared: write them into gearman_jobs.py of an app in INSTALLED_APPS"
    if modules := _modules():
        why += f", with @gearman_job above each function; there are {', '.join(modules)}"
    return why


def _modules() -> list[str]:
    """Return the names of the loaded modules for jobs."""
    names = [f"{app.name}.gearman_jobs" for app in apps.get_app_configs()]
    return [name for name in names if name in sys.modules]


def _comes_late(job: JobDefinition) -> bool:
    module = job.func.__module__
    if not apps.ready:
        return module == "__main__"
    return module not in {f"{app.name}.gearman_jobs" for app in apps.get_app_configs()}


registry = JobRegistry()
