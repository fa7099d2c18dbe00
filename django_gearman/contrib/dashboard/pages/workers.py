"""Workers: the supervisors with their processes and running jobs."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern

from ....backends.reach import at_once
from ....jobs.keeping import is_recorded
from ....jobs.registry import registry
from ....management.asking import PATIENCE, ForeignWorker, Servers, ask_servers
from ....utils.text import printable_lines, str_of
from ...store.control import (
    Answers,
    ControlError,
    SupervisorInfo,
    list_supervisors,
    paused,
    reload,
    stack,
)
from ..audit import log_action
from ..models import Workers
from .base import CONTROL, POST, PageAdmin

_OUR_ID = re.compile(r"(.+)/(\d+)/(.*)")  # of GearmanWorker.client_id, and of the control function
_MOST_OTHERS = 200


@dataclass(frozen=True)
class Stack:
    """The stacks of a process, line by line, or the reason why there are none."""

    supervisor: str
    pid: int
    lines: Sequence[str] = ()
    problem: str = ""


@dataclass(frozen=True)
class WorkersData:
    """
    The data of the page: supervisors, each with its number of busy processes, the stack that was
    asked for, and other workers. `recorded` are the names of running jobs that have records, `queues`
    are the names of all queues, each with True if it is paused.

    `problems` are sentences about servers and supervisors that have not answered.
    """

    supervisors: Sequence[tuple[SupervisorInfo, int]]
    problems: Sequence[str]
    stack: Stack | None
    others: Sequence[ForeignWorker]
    more: int
    recorded: Collection[str]
    queues: dict[str, bool]


class WorkersAdmin(PageAdmin):
    """The page of supervisors and processes."""

    name = "workers"

    def context(self, request: HttpRequest) -> dict[str, Any]:
        supervisor, pid = request.GET.get("supervisor", ""), request.GET.get("pid", "")
        # A process id is a small number; no process has anything else.
        wanted = (supervisor, int(pid)) if re.fullmatch("[0-9]{1,10}", pid) else None
        return {"workers": collect(wanted)}

    def routes(self) -> Sequence[URLPattern]:
        return [
            self.route("reload/", self._reload, "gearman_reload", permission=CONTROL, methods=POST)
        ]

    def _reload(self, request: HttpRequest) -> HttpResponse:
        supervisor = request.POST.get("supervisor", "")
        try:
            answers = reload(supervisor)
        except (ControlError, ImproperlyConfigured) as error:
            messages.error(request, str_of(error))
        else:
            for each in answers.supervisors:
                log_action(request, Workers, each.name, each.name, "Told to reload its code.")
                messages.success(request, f"Supervisor {each.name} reloads its code.")
            for problem in answers.problems:
                messages.warning(request, problem)
        return self.to_page()


def collect(wanted: tuple[str, int] | None = None) -> WorkersData:
    """
    Ask the supervisors and the job servers at the same time; takes a second at most.

    `wanted` is the supervisor's name and the process id of a stack.
    """
    answers, servers, found = Answers(), Servers(), None

    def ask_supervisors() -> None:
        nonlocal answers
        try:
            answers = list_supervisors(PATIENCE)
        except ImproperlyConfigured as error:
            answers = Answers(problems=(str_of(error),))

    def ask_workers() -> None:
        nonlocal servers
        servers = ask_servers(workers=True)

    def ask_stack(supervisor: str, pid: int) -> None:
        nonlocal found
        found = _stack(supervisor, pid)

    calls: dict[str, Callable[[], None]] = {"supervisors": ask_supervisors, "workers": ask_workers}
    if wanted is not None:
        calls["stack"] = partial(ask_stack, *wanted)
    at_once(calls)
    queues = {queue: False for each in answers.supervisors for queue in each.queues}
    problems = []
    try:
        queues |= dict.fromkeys(paused(), True)
    except (DatabaseError, ImproperlyConfigured) as error:  # for example a table is missing
        problems.append(str_of(error))
    others = others_of(servers, answers.supervisors)
    return WorkersData(
        [
            (each, sum(1 for process in each.processes if process.jobs))
            for each in answers.supervisors
        ],
        [*answers.problems, *problems],
        found,
        others[:_MOST_OTHERS],
        len(others[_MOST_OTHERS:]),
        _recorded(answers.supervisors),
        dict(sorted(queues.items())),
    )


def _recorded(supervisors: Sequence[SupervisorInfo]) -> set[str]:
    processes = (process for each in supervisors for process in each.processes)
    names = {job.job for process in processes for job in process.jobs}
    return {name for name in names if is_recorded(registry.find(name))}


def _stack(supervisor: str, pid: int) -> Stack:
    try:
        return Stack(supervisor, pid, printable_lines(stack(supervisor, pid, PATIENCE)))
    except (ControlError, ImproperlyConfigured) as error:
        return Stack(supervisor, pid, problem=str_of(error))


def others_of(servers: Servers, supervisors: Sequence[SupervisorInfo]) -> list[ForeignWorker]:
    """Return the workers that do not belong to these supervisors, each once."""
    known = {(each.host, process.pid) for each in supervisors for process in each.processes}
    found: dict[tuple[object, ...], ForeignWorker] = {}
    for state in servers.states:
        for worker in state.workers:
            own = _OUR_ID.fullmatch(worker.client_id)
            is_known = own is not None and ((own[1], int(own[2])) in known or own[3] == "control")
            if worker.functions and not is_known:
                found.setdefault((worker.address, worker.client_id, worker.functions), worker)
    return sorted(found.values(), key=lambda each: (each.client_id, each.address))
