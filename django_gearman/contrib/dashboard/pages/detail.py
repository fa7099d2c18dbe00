"""One job: its attempts, its errors, its arguments."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from ....utils.text import printable, str_of
from ...store.attempts import Attempt, Frame, attempts_of, frames_of
from ...store.finding import Choice
from ...store.models import JobRecord
from ...store.reading import FINISHED
from ...store.redaction import storable
from ...store.showing import arguments_of, context_of, raw_arguments_of, result_of
from ...store.writing import database
from ..acting import Action
from ..filters import Filters

if TYPE_CHECKING:
    from .base import PageAdmin

Status = JobRecord.Status
Allowed = Callable[[HttpRequest, str], list[Action]]
_PRIORITIES = {-1: "low", 0: "normal", 1: "high"}


@dataclass
class Event:
    """An event of a job: its submission, an attempt, or its end. `kind` is for its colour."""

    kind: str
    title: str
    time: datetime.datetime | None = None
    worker: str = ""
    seconds: float | None = None
    error: Attempt | None = None
    frames: list[Frame] = field(default_factory=list)
    is_open: bool = False


def show(page: PageAdmin, request: HttpRequest, job_id: str, allowed: Allowed) -> HttpResponse:
    """Return the page of a job. Its raw arguments need the permission `view_call`."""
    may_see_all = request.user.has_perm("gearman_store.view_call")
    is_raw = "raw" in request.GET
    if is_raw and not may_see_all:
        raise PermissionDenied
    rows = JobRecord.objects.using(database()).filter(pk=storable(job_id))
    record = (rows if is_raw else rows.defer("workload")).first()
    if record is None:
        context: dict[str, Any] = {"title": "No such job", "id": printable(job_id, 200)}
        return page.show(request, "missing.html", {**context, "refreshes": False}, status=404)
    context = {
        **collect(record),
        "fitting": allowed(request, record.status),
        "may_see_all": may_see_all,
        "is_raw": is_raw,
    }
    if is_raw:
        context["arguments"] = raw_arguments_of(record)
    return page.show(request, "job.html", context)


def collect(record: JobRecord) -> dict[str, Any]:
    """Return the data for the page of a job."""
    same = Filters(
        status=record.status,
        job=record.name,
        exception=record.exception,
        fingerprint=record.fingerprint,
    )
    return {
        "title": record.name,
        "record": record,
        "priority": _PRIORITIES.get(record.priority, record.priority),
        "arguments": arguments_of(record),
        "context": context_of(record),
        "result": result_of(record),
        "events": events_of(record),
        "same": same if record.status == Status.FAILED else None,
        "moment": getattr(record, Choice(record.status).moment),
        "refreshes": record.status not in FINISHED,
    }


def events_of(record: JobRecord) -> list[Event]:
    """Return the events of a job, the earliest first."""
    events = [Event("begin", "Submitted", record.enqueued_at)]
    errors = attempts_of(record.errors)
    for error in errors:
        title = f"Attempt {error.attempt} failed" if error.attempt != "0" else "Not sent"
        worker = error.worker if error.attempt != "0" else ""
        frames = frames_of(error.traceback)
        events.append(Event("failed", title, error.time, worker, error.duration, error, frames))
    if errors:
        events[-1].is_open = record.status != Status.SUCCESSFUL
    return [*events, _end_of(record)]


def _end_of(record: JobRecord) -> Event:
    """Return the last event of a job: its present state, or its end."""
    workers = record.worker_ids if isinstance(record.worker_ids, list) else []
    worker = str_of(workers[-1], 200) if workers else ""
    began, ended = record.last_attempted_at, record.finished_at
    if record.status == Status.RUNNING:
        does = "runs" if record.cancelled_at is None else "is being cancelled"
        return Event("running", f"Attempt {record.attempts} {does}", began, worker)
    if record.status == Status.SUCCESSFUL:
        seconds = (ended - began).total_seconds() if began and ended else None
        return Event("good", "Successful", ended, worker, seconds)
    if record.status == Status.FAILED:
        return Event("failed", "Failed for good", ended)
    if record.status == Status.CANCELLED:
        return Event("cancelled", "Cancelled", ended or record.cancelled_at)
    title = "Waits for a worker" if record.run_after is None else "Waits for its time"
    return Event("waiting", title, record.run_after)
