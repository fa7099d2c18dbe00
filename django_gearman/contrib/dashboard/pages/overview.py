"""Overview: job servers, queues, and problems."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone

from ....backends.reach import at_once
from ....exceptions import GearmanError
from ....jobs.definition import JobDefinition
from ....jobs.functions import job_functions
from ....management.asking import PATIENCE, Counts, Server, Servers, ask_servers
from ....utils.text import str_of
from ...store.control import (
    Answers,
    ControlError,
    StoreErrors,
    list_supervisors,
    pause,
    resume,
)
from ...store.models import PausedQueue
from ..audit import log_action
from ..queues import DAY, Queue, describe, split
from ..troubles import troubles
from .base import CONTROL, POST, PageAdmin

_MOST_OTHERS = 100  # functions of other programs that are shown


@dataclass(frozen=True)
class OverviewData:
    """
    The data of the page.

    `problems` are sentences. `more` functions of other programs are left out. `is_known` if a server
    has answered: otherwise nothing is known about waiting jobs and workers. `store_errors` has the
    supervisors, by name, that had an error of the store in the last day.
    """

    servers: Sequence[Server]
    queues: Sequence[Queue]
    others: Sequence[tuple[str, Counts]]
    more: int
    problems: Sequence[str]
    is_known: bool
    store_errors: Sequence[tuple[str, StoreErrors]]


class OverviewAdmin(PageAdmin):
    """The page of job servers and queues."""

    name = "overview"

    def context(self, request: HttpRequest) -> dict[str, Any]:
        return {"overview": collect()}

    def routes(self) -> Sequence[URLPattern]:
        return [
            self.route(f"{name}/", view, f"gearman_{name}", permission=CONTROL, methods=POST)
            for name, view in (("pause", self._pause), ("resume", self._resume))
        ]

    def _pause(self, request: HttpRequest) -> HttpResponse:
        return self._change(
            request,
            lambda queue: pause(queue, request.user.get_username()),
            "Paused",
            "Queue {} is paused: its queued jobs wait, and its running jobs continue.",
            "Queue {} was paused already.",
        )

    def _resume(self, request: HttpRequest) -> HttpResponse:
        done, was_done = "Queue {} is resumed: its jobs run.", "Queue {} was not paused."
        return self._change(request, resume, "Resumed", done, was_done)

    def _change(
        self,
        request: HttpRequest,
        change: Callable[[str], bool],
        entry: str,
        done: str,
        was_done: str,
    ) -> HttpResponse:
        """Pause or resume the queue in the form, and show the result."""
        queue = request.POST.get("queue", "")
        try:
            is_new = change(queue)
        except (ControlError, DatabaseError, ImproperlyConfigured) as error:
            messages.error(request, str_of(error))
        else:
            if is_new:
                log_action(request, PausedQueue, queue, queue, entry)
            level = messages.SUCCESS if is_new else messages.WARNING
            messages.add_message(request, level, (done if is_new else was_done).format(queue))
        back = "workers" if request.POST.get("page") == "workers" else self.name
        return self.to_page(back)


def collect() -> OverviewData:
    """Ask the job servers, and look up the rest."""
    problems = []
    jobs: dict[str, JobDefinition] = {}
    try:
        jobs = job_functions()
    except (GearmanError, ImproperlyConfigured) as error:
        problems.append(str_of(error))
    servers, answers = _ask()
    # The servers are asked for themselves.
    problems += [each for each in answers.problems if each.startswith("supervisor ")]
    if servers.problem:
        problems.append(servers.problem)
    queues, others = split(servers, jobs)
    states = [*servers.states]
    try:
        answered = describe(queues, timezone.now())
        states = [replace(state, since=answered.get(state.address)) for state in states]
        problems += troubles()
    except (DatabaseError, ImproperlyConfigured) as error:  # for example a table is missing
        problems.append(str_of(error))
    is_known = any(not state.error for state in states)
    # The job servers may have thousands. Those without a worker come first.
    rows = sorted(others.items(), key=lambda row: (not row[1].is_stranded, row[0]))
    shown, more = rows[:_MOST_OTHERS], len(rows[_MOST_OTHERS:])
    errors = _recent_errors(answers)
    return OverviewData(states, [*queues.values()], shown, more, problems, is_known, errors)


def _ask() -> tuple[Servers, Answers]:
    """Ask the job servers and the supervisors at the same time."""
    servers, answers = Servers(), Answers()

    def ask_them() -> None:
        nonlocal servers
        servers = ask_servers()

    def ask_supervisors() -> None:
        nonlocal answers
        with suppress(ImproperlyConfigured):  # the problem of the servers says so
            answers = list_supervisors(PATIENCE)

    at_once({"servers": ask_them, "supervisors": ask_supervisors})
    return servers, answers


def _recent_errors(answers: Answers) -> list[tuple[str, StoreErrors]]:
    """Return the errors of the supervisors that had one in the last day, in local time."""
    found = []
    day_ago = datetime.datetime.now(datetime.UTC) - DAY
    for each in answers.supervisors:
        errors = each.store_errors
        if errors is not None and errors.last >= day_ago:
            found.append(
                (each.name, replace(errors, since=_shown(errors.since), last=_shown(errors.last)))
            )
    return found


def _shown(moment: datetime.datetime) -> datetime.datetime:
    """Return a time as templates take it: they do not convert it without time zones."""
    return moment if settings.USE_TZ else timezone.make_naive(moment)
