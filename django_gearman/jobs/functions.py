"""The function names of jobs on the job server."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.exceptions import ImproperlyConfigured

from .. import conf
from ..exceptions import JobAlreadyRegistered
from ..serializers import get_serializer
from .definition import JobDefinition


def functions_of(jobs: Iterable[JobDefinition]) -> dict[str, JobDefinition]:
    """
    Return the function name of each job on the job server.

    Raises JobAlreadyRegistered if two jobs share one, and ImproperlyConfigured if a serializer is
    wrong or cannot count a job's retries. Call it before any job runs.
    """
    jobs = list(jobs)
    check_serializers(jobs)
    return name_functions(jobs)


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


def name_functions(jobs: Iterable[JobDefinition]) -> dict[str, JobDefinition]:
    """Return the function name of each job; raise JobAlreadyRegistered if two jobs share one."""
    functions: dict[str, JobDefinition] = {}
    for job in jobs:
        function = conf.function_name(job.name)
        other = functions.setdefault(function, job)
        if other is not job:
            raise JobAlreadyRegistered(
                f"GEARMAN_JOB_NAME gives jobs {other.name} and {job.name} the same function, {function}"
            )
    return functions
