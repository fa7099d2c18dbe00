"""The function names of jobs on the job server."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.exceptions import ImproperlyConfigured

from .. import conf
from ..exceptions import JobAlreadyRegistered
from ..serializers import get_serializer
from .definition import JobDefinition
from .registry import registry


def job_functions() -> dict[str, JobDefinition]:
    """
    Return this project's jobs by their functions on the job server.

    Raises JobAlreadyRegistered if two jobs share one, and ImproperlyConfigured for a wrong
    GEARMAN_JOB_NAME.
    """
    return _by_function(registry.jobs())


def functions_of(jobs: Iterable[JobDefinition]) -> dict[str, JobDefinition]:
    """
    Return these jobs by their functions on the job server.

    Raises JobAlreadyRegistered if two jobs share one, and ImproperlyConfigured if a serializer is
    wrong or cannot count a job's retries. Call it before any job runs.
    """
    jobs = list(jobs)
    check_serializers(jobs)
    return _by_function(jobs)


def check_serializers(jobs: Iterable[JobDefinition]) -> None:
    """Raise ImproperlyConfigured if a serializer is wrong, or cannot count a job's retries."""
    default = conf.serializer()
    get_serializer(default)
    for job in jobs:
        carries_calls = job.serializer_over(default).carries_calls  # raises for a wrong one
        if job.retries and not carries_calls:
            raise ImproperlyConfigured(
                f"job {job.name} declares retries, but its serializer, {job.serializer or default!r}, "
                "carries no number of the attempt, so that they cannot be counted"
            )


def _by_function(jobs: Iterable[JobDefinition]) -> dict[str, JobDefinition]:
    """Return these jobs by their functions; raise JobAlreadyRegistered if two jobs share one."""
    functions: dict[str, JobDefinition] = {}
    for job in jobs:
        function = conf.function_name(job.name)
        other = functions.setdefault(function, job)
        if other is not job:
            raise JobAlreadyRegistered(
                f"GEARMAN_JOB_NAME gives jobs {other.name} and {job.name} the same function, {function}"
            )
    return functions
