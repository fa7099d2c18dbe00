"""Schedules: when each one runs, how its last run has ended, and running, pausing and resuming it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest, ImproperlyConfigured
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from ....exceptions import GearmanError
from ....utils.text import str_of
from ...store.models import JobRecord, OutboxJob, Schedule
from ...store.scheduler.declared import Scheduled, read_schedules
from ...store.scheduler.figures import figures_of
from ...store.scheduler.service import scheduler_database
from ...store.scheduler.steering import pause, resume, run_now
from ...store.writing import database
from ..audit import log_action
from .base import PageAdmin

_CONTROL = "gearman_store.control_worker"
_RUN_NOW_SECONDS = 86400.0  # the page may have been open for so long

#: Returns what was done, for the log, and a message; the first is "" if nothing was done.
Act = Callable[[HttpRequest, Scheduled], tuple[str, str]]


class SchedulesAdmin(PageAdmin):
    """The page of the schedules."""

    name = "schedules"
    permission = "gearman_store.view_schedule"

    def context(self, request: HttpRequest) -> dict[str, Any]:
        return {**collect(), "may_act": request.user.has_perm(_CONTROL)}

    def routes(self) -> Sequence[URLPattern]:
        return (
            self.route(
                "act/", self._act, "gearman_schedule_act", permission=_CONTROL, methods=["POST"]
            ),
        )

    def _act(self, request: HttpRequest) -> HttpResponse:
        act = _ACTS.get(request.POST.get("act", ""))
        name = request.POST.get("name", "")
        schedule = next((each for each in read_schedules()[0] if each.name == name), None)
        if act is None:
            raise BadRequest("no such action")
        if schedule is None:
            messages.error(request, f"The schedule {str_of(name, 100)} no longer exists.")
        else:
            try:
                done, text = act(request, schedule)
            except (DatabaseError, GearmanError, ImproperlyConfigured) as error:
                messages.error(request, f"Schedule {name}: {str_of(error, 500)}")
            else:
                (messages.success if done else messages.warning)(request, text)
                if done:
                    log_action(request, Schedule, name, name, done)
        page = reverse("admin:gearman_schedules", current_app=self.admin_site.name)
        return HttpResponseRedirect(page)


def collect() -> dict[str, Any]:
    """Return the schedules with their last and next runs, and the mistakes in others."""
    schedules, mistakes = read_schedules()
    alias = scheduler_database()
    rows = figures_of(schedules, alias)
    ids = [row["last_job"] for row in rows if row["last_job"]]
    records = JobRecord.objects.using(database()).filter(pk__in=ids)
    statuses = dict(records.values_list("pk", "status"))
    waiting = OutboxJob.objects.using(alias).filter(job_id__in=ids)
    unsent = {*waiting.values_list("job_id", flat=True)}
    for row in rows:
        row["status"] = statuses.get(row["last_job"], "")
        row["is_unsent"] = row["last_job"] in unsent
        row["is_bad"] = bool(row["trouble"]) or row["status"] == JobRecord.Status.FAILED
    rows.sort(key=lambda row: (not row["trouble"], row["name"]))
    return {"schedules": rows, "mistakes": mistakes}


def _run(request: HttpRequest, schedule: Scheduled) -> tuple[str, str]:
    job_id = run_now(schedule, _moment(request.POST.get("at", "")))
    if job_id is None:
        return "", f"Schedule {schedule.name} runs already: the button was pressed twice."
    return f"Run now: job {job_id}", f"Schedule {schedule.name} runs now, as job {job_id}."


def _pause(request: HttpRequest, schedule: Scheduled) -> tuple[str, str]:
    if not pause(schedule.name, request.user.get_username()):
        return "", f"Schedule {schedule.name} was paused already."
    return "Paused", f"Schedule {schedule.name} is paused. Its ticks are not made up later."


def _resume(request: HttpRequest, schedule: Scheduled) -> tuple[str, str]:
    if not resume(schedule.name):
        return "", f"Schedule {schedule.name} was not paused."
    return "Resumed", f"Schedule {schedule.name} is resumed."


_ACTS: dict[str, Act] = {"run": _run, "pause": _pause, "resume": _resume}


def _moment(text: str) -> datetime.datetime:
    """Return the time at which the page was made, as the form has it: it marks the request."""
    now = datetime.datetime.now(datetime.UTC)
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None or timezone.is_naive(moment):
        return now
    is_recent = abs((now - moment).total_seconds()) < _RUN_NOW_SECONDS
    return moment.astimezone(datetime.UTC) if is_recent else now
