"""Reading records: how a job has ended, and waiting for that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ... import conf, environment
from ...client.request import JobRequest
from ...exceptions import JobCancelled, JobFailed, JobTimeout, ResultUnavailable
from ...jobs.functions import job_functions
from ...jobs.registry import registry
from ...protocol.messages import WorkComplete, WorkFail
from ...serializers import Serializer, get_serializer
from ...serializers.failures import dump_error
from ...utils.clock import monotonic
from ...utils.text import quoted
from ...utils.waiting import pause, seconds_until
from ...worker.runs import Ending
from .errors import failure_of, reason_of
from .missing import naming_missing_tables
from .models import JobRecord
from .redaction import storable
from .writing import database

Status = JobRecord.Status
Row = dict[str, Any]

#: The states of a job that has ended.
FINISHED = (Status.SUCCESSFUL, Status.FAILED, Status.CANCELLED)
# Seconds between two looks at a record.
_FIRST_LOOK, _LAST_LOOK = 0.02, 1.0
_COLUMNS = ("id", "name", "function", "backend", "status", "handle", "errors", "result")


def find(job_id: str) -> Row | None:
    """Return the columns of a record that say how its job has ended; None if there is no record."""
    alias = database()
    with naming_missing_tables(alias):
        found = JobRecord.objects.using(alias).filter(pk=storable(job_id))
        row: Row | None = found.values(*_COLUMNS).first()
    return row


def ending_of(row: Row) -> Ending:
    """Return the ending of a job that has ended, from its record."""
    if row["status"] == Status.SUCCESSFUL:
        return Ending(WorkComplete(bytes(row["result"] or b"")))
    if row["status"] == Status.CANCELLED:
        return cancelled_ending()
    error = failure_of(row["name"], row["handle"], row["status"], row["errors"])
    return Ending(WorkFail(), error, reason=reason_of(row["errors"]))


def cancelled_ending() -> Ending:
    """Return the ending of a job that a user has cancelled."""
    error = JobCancelled("the job was cancelled")
    return Ending(WorkFail(), error, reason=dump_error(error, with_traceback=False))


def give(row: Row, request: JobRequest) -> None:
    """Give the ending of a job to its request."""
    if row["status"] != Status.SUCCESSFUL:
        request.fail(failure_of(row["name"], row["handle"], row["status"], row["errors"]))
    else:
        check_result(row)
        request.take(WorkComplete(bytes(row["result"])))


def value_of(row: Row) -> Any:
    """Return the result of a job that has ended, or raise its error."""
    if row["status"] != Status.SUCCESSFUL:
        raise failure_of(row["name"], row["handle"], row["status"], row["errors"])
    check_result(row)
    serializer = serializer_of(row["name"], row["function"], row["backend"])
    return serializer.loads_result(bytes(row["result"]))


def check_result(row: Row) -> None:
    """Raise ResultUnavailable if the result of a successful job is not stored."""
    if row["result"] is None:
        raise ResultUnavailable(
            f"job {row['name']} ({row['id']}) was successful, and its result is not stored: the job "
            "does not declare store_result=True, or the result was too large"
        )


def serializer_of(name: str, function: str, backend: str = "") -> Serializer:
    """
    Return the serializer of a job, which this process need not know.

    All tasks of a queue are one function, whose job has their serializer.
    """
    job = registry.find(name)
    if job is None and backend:
        job = job_functions().get(function)
    default = conf.serializer()
    chosen = get_serializer(default) if job is None else job.serializer_over(default)
    return chosen.for_function(function)


def await_ending(
    job_id: str, function: str, deadline: float | None, *, must_exist: bool
) -> Row | None:
    """
    Wait until the given monotonic time, and return the record of a job that has ended, or None.

    Raises ResultUnavailable if there is no record and it `must_exist`. Otherwise a worker may still
    write it.
    """
    for looks in _looks(deadline):
        row = find(job_id)
        if row is None and must_exist:
            raise ResultUnavailable(
                f"there is no record of a job with the id {quoted(job_id)}: no such job was "
                "submitted, it does not declare store_result=True, or its record has expired"
            )
        if row is not None and row["status"] in FINISHED:
            return row
        if seconds_until(deadline) == 0.0:
            return None
        handle = "" if row is None else row["handle"]
        name = function if row is None else row["function"]
        remaining = None if deadline is None else max(0.0, deadline - monotonic())
        environment.current().await_record(name, handle, remaining, looks)
    return None


def _looks(deadline: float | None) -> Iterator[int]:
    """Yield the number of each look at a record, with growing pauses in between."""
    looks, seconds = 1, _FIRST_LOOK
    yield looks
    while True:
        remaining = seconds_until(deadline)
        if not pause(seconds if remaining is None else min(seconds, remaining)):
            return
        looks, seconds = looks + 1, min(1.5 * seconds, _LAST_LOOK)
        yield looks


def result_of(job_id: str, timeout: float | None) -> Any:
    """Wait up to `timeout` seconds for the result of a job; return it, or raise its error."""
    deadline = None if timeout is None else monotonic() + timeout
    row = await_ending(job_id, "", deadline, must_exist=True)
    if row is None:
        raise JobTimeout(
            f"job {job_id} has not ended in {timeout:g} s; it may be queued or running"
        )
    try:
        return value_of(row)
    except JobFailed as error:
        raise error from None
