"""Records of jobs that have failed without being run, and whose workloads were not read."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from ... import conf
from ...client.request import JobRequest
from ...jobs.definition import JobDefinition
from ...jobs.identity import attempt_of_unique, id_of, identity_of
from ...protocol.messages import AssignedJob
from ...worker.runs import Ending
from . import columns
from .claims import COLUMNS, insert, is_cancelled
from .errors import MAX_ERRORS, entry_of, fingerprint_of
from .models import MAX_EXCEPTION, JobRecord
from .reading import FINISHED, cancelled_ending, ending_of


def write(
    job: JobDefinition | None, assigned: AssignedJob, error: BaseException, alias: str
) -> Ending | None:
    """Write the failure of a job; if the job had ended before, return that ending instead."""
    identity = identity_of(assigned, 1, None)
    job_id = identity.id or id_of(assigned.function, assigned.unique or assigned.handle)
    values = columns.of_unread(job, assigned, error, attempt_of_unique(assigned.unique))
    while True:
        row = _records(job_id, assigned, alias).order_by("pk").values(*COLUMNS).first()
        if row is None:
            new = {**values, "enqueued_at": columns.time_of(identity.enqueued_at), "run": 1}
            if insert(job_id, alias, new):
                return None
            continue
        if row["status"] in FINISHED and identity.enqueued_at is not None:
            return ending_of(row)
        if is_cancelled(row):
            unchanged = JobRecord.objects.using(alias).filter(pk=row["id"], run=row["run"])
            if unchanged.update(**columns.of_cancelled(), run=row["run"] + 1):
                return cancelled_ending()
            continue
        changed = {**values, "errors": [*row["errors"], *values["errors"]][-MAX_ERRORS:]}
        del changed["name"], changed["queue"]  # its submitter may know them better
        if changed["workload"] is None:
            del changed["workload"]
        unchanged = JobRecord.objects.using(alias).filter(pk=row["id"], run=row["run"])
        if unchanged.filter(status=row["status"]).update(**changed, run=row["run"] + 1):
            return None


def write_lost(
    request: JobRequest[Any], job: JobDefinition, error: BaseException, alias: str
) -> None:
    """Write the failure of a job that no job server has; it can be retried."""
    entry = entry_of(error, 0, ())
    failed = {
        "status": JobRecord.Status.FAILED,
        "exception": entry["exception"][:MAX_EXCEPTION],
        "fingerprint": fingerprint_of(job.name, error),
        "errors": [entry],
        "finished_at": timezone.now(),
        "expires_at": columns.expiry(conf.failure_ttl()),
    }
    values = columns.of_request(request, job)
    del values["id"]
    if not insert(request.id, alias, {**values, **failed}):
        rows = JobRecord.objects.using(alias).filter(pk=request.id, run=0)
        rows.filter(status=JobRecord.Status.READY).update(**failed)


def _records(job_id: str, assigned: AssignedJob, alias: str) -> QuerySet[JobRecord]:
    """Return the record of the job: its id is in the workload if its submitter gave a unique."""
    rows = JobRecord.objects.using(alias)
    by_id = rows.filter(pk=job_id)
    if by_id.exists():
        return by_id
    running = rows.filter(status=JobRecord.Status.RUNNING, function=assigned.function)
    return running.filter(handle=assigned.handle[:255])
