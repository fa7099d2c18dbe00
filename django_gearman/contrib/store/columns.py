"""The columns of a record, from a request, a run, or an ending."""

from __future__ import annotations

import datetime
import time
from typing import Any

from django.utils import timezone

from ... import conf
from ...client.request import JobRequest
from ...jobs.definition import JobDefinition
from ...jobs.identity import attempt_of_unique
from ...jobs.retries import RetryJob
from ...protocol.messages import AssignedJob, Priority
from ...serializers import Call
from ...worker.execution import Run
from ...worker.runs import Ending
from .errors import MAX_ERRORS, entry_of, fingerprint_of
from .models import MAX_EXCEPTION, JobRecord
from .redaction import redacted_call, redacted_context, secrets_in, storable

Status = JobRecord.Status

#: The largest result that is stored, in bytes.
MAX_RESULT = 10_000_000
#: Claims whose workers are named.
MAX_WORKERS = 100
_NUMBERS = {Priority.LOW: -1, Priority.NORMAL: 0, Priority.HIGH: 1}


def time_of(seconds: float | None) -> datetime.datetime | None:
    """Return a time of the epoch as Django stores it; one in the year 9999 for the end of time."""
    if seconds is None:
        return None
    now = timezone.now()
    try:
        return now + datetime.timedelta(seconds=seconds - time.time())
    except OverflowError:
        return now.replace(year=9999, month=2, day=1)


def shown_time(moment: datetime.datetime | None) -> datetime.datetime | None:
    """Return a time as pages can show it: the first and last days do not exist in each time zone."""
    if moment is not None and moment.year in (1, 9999):
        return moment.replace(month=2, day=1)
    return moment


def expiry(ttl: float | None) -> datetime.datetime | None:
    """Return the time in `ttl` seconds; None is never."""
    if ttl is None:
        return None
    try:
        return timezone.now() + datetime.timedelta(seconds=ttl)
    except OverflowError:
        return None


def of_request(request: JobRequest, job: JobDefinition) -> dict[str, Any]:
    """Return the columns of a job that is about to be submitted."""
    spec = request.spec
    columns = {
        "id": request.id,
        "name": storable(job.name)[:255],
        "queue": job.queue,
        "backend": job.backend,
        "function": spec.function,
        "unique": "" if spec.unique == request.id else shown_unique(spec.unique),
        "priority": _NUMBERS[spec.priority],
        "run_after": time_of(spec.run_at),
        "enqueued_at": timezone.now(),
        "expires_at": _unfinished(0.0 if spec.run_at is None else spec.run_at - time.time()),
        **of_call(job, request.call, request.context, spec.workload)[0],
        **job.columns,
    }
    return {**columns, "run_after": shown_time(columns["run_after"])}


def shown_unique(unique: str) -> str:
    """Return a submitter's unique as records have it."""
    return storable(unique)[:255]


def of_call(
    job: JobDefinition | None, call: Call, context: Any, workload: bytes
) -> tuple[dict[str, Any], list[str]]:
    """Return the columns of the arguments, and the secrets among these."""
    text, secrets = redacted_call(job, call)
    keeps = workload and not (job is not None and job.sensitive is True)
    columns = {
        "call": text,
        "context": redacted_context(context),
        "workload": workload if keeps else None,
    }
    return columns, secrets


def of_run(run: Run) -> dict[str, Any]:
    """Return the columns of a job that runs, without its arguments."""
    who = run.identity
    return {
        "name": storable(run.job.name)[:255],
        "queue": run.job.queue,
        "backend": run.job.backend,
        "function": run.assigned.function,
        "unique": "" if who.unique == who.id else shown_unique(who.unique),
        "priority": _NUMBERS[who.priority],
        "enqueued_at": time_of(who.enqueued_at),
        **of_attempt(run),
        **run.job.columns,
    }


def attempt_of(run: Run) -> int:
    """Return the number of the attempt; some workloads have none."""
    return max(run.call.attempt, attempt_of_unique(run.assigned.unique))


def of_attempt(run: Run) -> dict[str, Any]:
    """Return the columns that change with each attempt."""
    return {
        "handle": storable(run.assigned.handle)[:255],
        "attempts": attempt_of(run),
        "expires_at": _unfinished(0.0),
    }


def of_ending(run: Run, ending: Ending, errors: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the columns of the ending of a run; `errors` are those of the attempts before."""
    columns: dict[str, Any] = {"finished_at": timezone.now(), "handle": run.assigned.handle[:255]}
    if ending.exception is None:
        job = run.job
        stores = job.store_result or conf.store_all()
        result = ending.outcome.data  # type: ignore[attr-defined]
        columns["status"] = Status.SUCCESSFUL
        columns["result"] = result if stores and len(result) <= MAX_RESULT else None
        columns["expires_at"] = expiry(job.result_ttl or conf.result_ttl())
        return columns
    return {**columns, **of_failure(run, ending, errors)}


def of_failure(run: Run, ending: Ending, errors: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the columns of a failed attempt; a next one may follow."""
    error = ending.exception
    assert error is not None
    secrets = [*redacted_call(run.job, run.call)[1], *secrets_in(run.call.context)]
    is_final = ending.again is None
    columns: dict[str, Any] = {}
    if ending.state == "cancelled":
        return of_cancelled()
    if is_final or not issubclass(type(error), RetryJob):
        entry = entry_of(error, attempt_of(run), secrets, ending.seconds or None)
        columns["errors"] = [*errors, entry][-MAX_ERRORS:]
        columns["exception"] = entry["exception"][:MAX_EXCEPTION]
        columns["fingerprint"] = fingerprint_of(run.job.name, error)
    if is_final:
        columns["status"] = Status.FAILED
        columns["expires_at"] = expiry(conf.failure_ttl())
    else:
        columns["status"] = Status.READY
        columns["finished_at"] = None
        columns["run_after"] = expiry(ending.delay)
        columns["expires_at"] = _unfinished(ending.delay)
    return columns


def of_cancelled() -> dict[str, Any]:
    """Return the columns of a job that ends because a user has cancelled it."""
    return {
        "status": Status.CANCELLED,
        "finished_at": timezone.now(),
        "run_after": None,
        "expires_at": expiry(conf.failure_ttl()),
    }


def of_waiting() -> dict[str, Any]:
    """Return the columns of a job that waits again."""
    return {"finished_at": None, "expires_at": _unfinished(0.0)}


def of_unread(
    job: JobDefinition | None, assigned: AssignedJob, error: BaseException, attempt: int
) -> dict[str, Any]:
    """Return the columns of a job that has failed, and whose workload was not read."""
    name = assigned.function if job is None else job.name
    entry = entry_of(error, attempt, ())
    keeps = assigned.workload and not (job is not None and job.sensitive is True)
    return {
        "name": storable(name)[:255],
        "queue": "" if job is None else job.queue,
        "function": storable(assigned.function)[:255],
        "workload": assigned.workload if keeps else None,
        "handle": storable(assigned.handle)[:255],
        "status": Status.FAILED,
        "attempts": attempt,
        "exception": entry["exception"][:MAX_EXCEPTION],
        "fingerprint": fingerprint_of(name, error),
        "errors": [entry],
        "finished_at": timezone.now(),
        "expires_at": expiry(conf.failure_ttl()),
    }


def _unfinished(delay: float) -> datetime.datetime | None:
    """
    Return the time until which a job that has not ended is kept.

    A lost job never ends: its client died before it was sent, or a job server forgot it.
    """
    ttl = conf.failure_ttl()
    return None if ttl is None else expiry(max(0.0, delay) + ttl)
