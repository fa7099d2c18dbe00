"""Checks of the arguments and results of GearmanClient's methods, plain and async."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..backends.base import JobSpec
from ..exceptions import ResultUnavailable, SubmitUncertain
from ..jobs import keeping
from ..jobs.definition import R_co
from ..jobs.options import Options, check_seconds_to_wait, check_times
from ..serializers import Call, get_serializer
from ..utils.text import quoted
from .request import JobRequest


def limits(max_retries: int | None, poll_timeout: float | None) -> dict[str, Any]:
    """Return python-gearman's parameters as options."""
    check_times("max_retries", max_retries)
    check_seconds_to_wait("poll_timeout", poll_timeout)
    return {"resubmit": max_retries, "wait": poll_timeout}


def check_delivery(requests: list[JobRequest]) -> None:
    """Raise ValueError unless requests that are submitted together are delivered alike."""
    several = {id(request.options): request.options for request in requests}.values()
    if len({options.delivery for options in several}) > 1:
        raise ValueError(
            "jobs that are submitted together must agree on on_commit, resubmit and wait; "
            "submit the others by themselves"
        )


def check_acknowledged(requests: list[JobRequest]) -> None:
    """Raise SubmitUncertain if a server has not acknowledged one of the requests."""
    uncertain = [r for r in requests if isinstance(r.exception, SubmitUncertain)]
    if uncertain:
        raise SubmitUncertain(
            f"{len(uncertain)} of {len(requests)} jobs were sent but not acknowledged; see "
            f".requests for each. The first: {uncertain[0].exception}",
            requests,
        ) from uncertain[0].exception


def check_awaited(requests: Iterable[JobRequest]) -> list[JobRequest]:
    """Return the requests as a list; raise TypeError or ResultUnavailable for one without a job."""
    found = list(requests)
    if wrong := [request for request in found if not isinstance(request, JobRequest)]:
        raise TypeError(f"JobRequests are waited for, not {quoted(wrong[0])}")
    for request in found:
        request.check_submitted()
    return found


def request_of(request_or_handle: JobRequest[R_co] | str, options: Options) -> JobRequest[R_co]:
    """Return the request with a handle, or one for a handle of any process."""
    if isinstance(request_or_handle, JobRequest):
        if not request_or_handle.handle:
            raise ValueError(f"{request_or_handle!r} has no status: no job server has it")
        return request_or_handle
    if not isinstance(request_or_handle, str):
        raise TypeError(f"a JobRequest or a handle has a status, not {quoted(request_or_handle)}")
    spec = JobSpec("", b"", background=True)
    request: JobRequest[R_co] = JobRequest("", Call(), spec, get_serializer("json"), options)
    request.handle = request_or_handle
    return request


def keeper_for(job_id: object, timeout: float | None) -> keeping.Keeper:
    """Return the keeper of results; raise TypeError, ValueError or ResultUnavailable."""
    if not isinstance(job_id, str) or not job_id:
        raise TypeError(f"a job's id is a string, JobRequest.id, not {quoted(job_id)}")
    check_seconds_to_wait("timeout", timeout)
    if keeping.keeper is None:
        raise ResultUnavailable(f"no result of job {job_id} is stored: {keeping.NOT_INSTALLED}")
    return keeping.keeper
