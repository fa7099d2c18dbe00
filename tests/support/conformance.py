"""
The cases of conformance.json, and what each should come to.

A case is a call of the original README's API. What it should come to is read from the file, as
promised by the README or as done by the original, with our deliberate differences; where the file
only says "better than both", where DESIGN.md decides otherwise and where a transport has reasons of
its own, a table here says it.
"""

from __future__ import annotations

import ast
import contextlib
import datetime
import io
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.management import CommandError, call_command

from django_gearman import GearmanClient, GearmanWorker, conf
from django_gearman.backends import BUILT_IN, get_backend
from django_gearman.backends.base import JobSpec
from django_gearman.exceptions import (
    InvalidBackend,
    JobNotRegistered,
    JobRaised,
    JobTimeout,
    ResultUnavailable,
    SerializationError,
    ServerError,
    ServerUnavailable,
)
from django_gearman.worker.inline import run_queued
from tests.support.gearmand import wait_until

TRANSPORTS = tuple(BUILT_IN)


@dataclass(frozen=True)
class Case:
    """An entry of the file; its "about" explains the fields."""

    id: str
    section: str
    job: str
    call: str
    want: str
    notes: str
    readme_promises: Mapping[str, Any] = field(default_factory=dict)
    original_did: Mapping[str, Any] = field(default_factory=dict)
    original_agrees: bool = False
    settings: str = ""
    apps: Sequence[str] = ("django_gearman", "capp")
    files: Mapping[str, str] = field(default_factory=dict)
    worker_args: Sequence[str] = ()
    flow: str = ""
    server_down: bool = False
    client_cwd: str = ""
    command: str = ""

    @property
    def is_about_names(self) -> bool:
        """Return True if function names on the wire matter, so that the case needs its own server."""
        return self.id.startswith("jobname-") or "GEARMAN_JOB_NAME" in self.settings

    def make_call(self, client: GearmanClient, impatiently: bool = False) -> object:
        """Run the call, with shorter time-outs by choice; return the value of its last line."""
        source = self.call
        if impatiently:
            source = re.sub(r"poll_timeout=\d\.\d", "poll_timeout=0.2", source)
        namespace = {"client": client, "datetime": datetime, "Decimal": Decimal}
        *statements, last = ast.parse(source).body
        assert isinstance(last, ast.Expr), f"the call has no value: {source}"
        exec(compile(ast.Module(statements, []), "<call>", "exec"), namespace)
        return eval(compile(ast.Expression(last.value), "<call>", "eval"), namespace)


def _load_cases() -> dict[str, Case]:
    path = Path(__file__).parents[1] / "conformance.json"
    entries = json.loads(path.read_text(encoding="utf-8"))["cases"]
    return {entry["id"]: Case(**entry) for entry in entries}


CASES: Mapping[str, Case] = _load_cases()

#: What reached a job's function: its name, and the positional and keyword arguments.
Received = tuple[str, list[Any], dict[str, Any]]


class Anything:
    """The value of a call that does not matter."""


@dataclass(frozen=True)
class Want:
    """
    The outcome that a case should have.

    That is: what is raised, and a pattern of its text; or the value of the call; or the attributes,
    by their dotted names, of the requests that the call gives. A class of errors stands for an
    attribute that holds such an error, or raises it when read. `received` None: it does not matter.

    `call` is made in place of the case's own; `workers` is whether workers are there.
    """

    raises: type[Exception] | None = None
    says: str = ""
    value: object = Anything
    requests: Sequence[Mapping[str, object]] | None = None
    received: Sequence[Received] | None = None
    call: Callable[[GearmanClient], object] | None = None
    workers: bool = True


def wanted(case: Case, transport: str) -> Want:
    """Return the expected outcome of the case on a transport."""
    return TABLES[transport].get(case.id) or _told_by_the_file(case)


def look_up(request: object, name: str) -> object:
    """Return an attribute; where it is an error, or raises one when read, the error's class."""
    try:
        found = operator.attrgetter(name)(request)
    except Exception as error:
        return type(error)
    return type(found) if isinstance(found, Exception) else found


# The content of the file


def _told_by_the_file(case: Case) -> Want:
    message = case.readme_promises if "README promises" in case.want else case.original_did
    received: list[Received] | None = None
    if "job_received" in message:
        received = [
            (one["func"], _evaluate(one["args"]), _evaluate(one["kwargs"]))
            for one in message["job_received"]
        ]
    client = message["client"]
    if "value" in client:
        return Want(value=_evaluate(client["value"]), received=received)
    requests = client.get("requests", [client])
    return Want(requests=[_with_our_differences(one) for one in requests], received=received)


def _evaluate(text: str) -> Any:
    return eval(text, {"datetime": datetime, "Decimal": Decimal})


def _with_our_differences(message: Mapping[str, str]) -> dict[str, object]:
    """Reading a result that is not there raises, where the original gave None."""
    attributes = {name: _evaluate(text) for name, text in message.items()}
    if attributes["state"] == "FAILED":
        attributes["result"] = attributes["exception"] = JobRaised
    elif attributes.get("timed_out"):
        attributes["result"] = JobTimeout
    elif attributes.get("background") or not attributes["complete"]:
        attributes["result"] = ResultUnavailable
    return attributes


# What the tables tell: pieces of them


def ran(*args: object, **kwargs: object) -> list[Received]:
    """Return the arguments of the usual job."""
    return [("my_task_function", list(args), kwargs)]


def completes(result: object, received: Sequence[Received], **more: Any) -> Want:
    attributes = {"state": "COMPLETE", "timed_out": False, "exception": None, "result": result}
    return Want(requests=[attributes], received=received, **more)


def fails(exception_type: str, received: Sequence[Received], **more: Any) -> Want:
    attributes = {
        "state": "FAILED",
        "complete": True,
        "result": JobRaised,
        "exception.exception_type": exception_type,
        **more,
    }
    return Want(requests=[attributes], received=received)


def is_queued(received: Sequence[Received]) -> Want:
    attributes = {"state": "CREATED", "background": True, "complete": True}
    return Want(requests=[attributes], received=received)


def is_refused(raises: type[Exception], says: str, **more: Any) -> Want:
    """The call raises, before anything is sent."""
    return Want(raises=raises, says=says, received=[], **more)


# What the tables tell: calls in place of those that cannot be made as they are


def _receive_from_three_queues(client: GearmanClient) -> list[object]:
    requests = [
        client.submit_job(f"capp.{name}", 1, poll_timeout=0.4)
        for name in ("some_job", "other_job", "third_job")
    ]
    return [(look_up(request, "result"), request.timed_out) for request in requests]


def _status_when_started(client: GearmanClient) -> list[Any]:
    request = client.submit_job("my-task-name", "x", background=True)

    def has_started() -> bool:
        status = client.get_job_status(request).status
        return status["running"] or not status["known"]

    wait_until(has_started, "the job has started")
    status = request.status
    numbers = [status[name] for name in ("known", "running", "numerator", "denominator")]
    return [*numbers, sorted(status)]


def _status_when_finished(client: GearmanClient) -> list[Any]:
    request = client.submit_job("my-task-name", "x", background=True)
    wait_until(lambda: not client.get_job_status(request).status["known"], "the job has finished")
    return [request.status["known"], request.status["running"]]


def _send_noise_then_a_job(client: GearmanClient) -> list[object]:
    function = conf.function_name("my-task-name")
    [noise] = get_backend().submit([JobSpec(function, b"this is no JSON")])
    run_queued(get_backend())
    updates = [type(update).__name__ for update in noise.updates(20)]
    return [updates, client.submit_job("my-task-name", "y", poll_timeout=20).result]


def _start_worker(*arguments: str) -> Callable[[GearmanClient], object]:
    return lambda client: call_command("gearman_worker", *arguments)


def _list_tasks(client: GearmanClient) -> list[str]:
    shown = io.StringIO()
    call_command("gearman_list_tasks", stdout=shown)
    rows = [line.split() for line in shown.getvalue().splitlines()[1:]]  # without the head
    return [word for job, queue, *_ in rows for word in (queue, job)]


def _server_by_default(client: GearmanClient) -> str:
    shown = io.StringIO()
    with contextlib.suppress(CommandError):  # somebody may have a server there, or nobody
        call_command("gearman_status", stdout=shown)
    return shown.getvalue().split(":")[0]


def _submit_to_dead_host(client: GearmanClient) -> object:
    return GearmanClient(host_list=["127.0.0.1:1"]).submit_job("my-task-name", "x")


# What the tables tell

_STATUS_KEYS = ["denominator", "handle", "known", "numerator", "running", "time_received"]
_KNOWN_QUEUES = "'nope'; the queues are default, my-queue-name, third"
_UNKNOWN = "'no.such.task'.*my-task-name.*GEARMAN_EXTERNAL_JOBS"
_TOO_MANY = r"job my-task-name\(one, two, three\): too many"


def _queues(some: object, other: object, third: object) -> Want:
    """One of three jobs in three queues; None if no worker serves the queue."""
    results = (some, other, third)
    outcomes = [(JobTimeout, True) if result is None else (result, False) for result in results]
    return Want(value=outcomes, call=_receive_from_three_queues)


_OURS: Mapping[str, Want] = {
    "decorator-direct-call": Want(value="x", received=ran("x")),
    "decorator-name-attr": Want(value=["my_task_function", "default"], received=[]),
    "name-override-hides-default": is_refused(JobNotRegistered, "my-task-name"),
    "name-dotted-app-short": is_refused(JobNotRegistered, "did you mean 'apps.alpha.reverse'"),
    "name-import-error-in-jobs": is_refused(ModuleNotFoundError, "does_not_exist"),
    "jobname-client-other-cwd": completes("cba", [("reverse", ["abc"], {})]),
    "nodata-one-param": is_refused(TypeError, r"job my-task-name\(foo\): missing .*'foo'"),
    "data-and-args": is_refused(TypeError, r"data \('data'\) .*args="),
    "falsy-data-and-args": is_refused(TypeError, r"data \(0\) .*args="),
    "args-string": is_refused(TypeError, r"args=\['abc'\]"),
    "args-int": is_refused(TypeError, r"args=\[5\]"),
    "args-generator": completes([1, 2, 3], ran(1, 2, 3)),
    "positional-three": is_refused(TypeError, r"args=\["),
    "positional-nine-valid": is_refused(TypeError, _TOO_MANY),
    "positional-nine-none": is_refused(TypeError, _TOO_MANY),
    "unexpected-keyword": is_refused(TypeError, r"\(one, two, three\): .*'four'"),
    "reserved-orig_data-keyword": is_refused(TypeError, r"job my-task-name\(foo\): "),
    "reserved-priority-bad": is_refused(ValueError, "PRIORITY_LOW.*PRIORITY_HIGH.*'URGENT'"),
    "reserved-poll_timeout-zero": Want(
        requests=[{"state": "CREATED", "timed_out": True, "result": JobTimeout}], received=ran("x")
    ),
    "reserved-task-keyword": completes([[], {"task": "x"}], ran(task="x")),
    "reserved-self-keyword": completes([[], {"self": "x"}], ran(self="x")),
    "unique-int": is_refused(TypeError, "unique is a string.*7"),
    "unique-dash": completes("x", ran("x")),
    "unique-long": completes("x", ran("x")),
    "unique-coalesce-fg": Want(value=[True, "x", "x"], received=ran("x")),
    "bg-positional-extra": is_refused(TypeError, _TOO_MANY),
    "bg-priority-kw": is_queued(ran("x")),
    "bg-unique-kw": is_queued(ran("x")),
    "bg-return-type": Want(value="JobRequest", received=ran("x")),
    "bg-status": Want(
        value=[True, True, 0, 0, _STATUS_KEYS], received=ran("x"), call=_status_when_started
    ),
    "bg-status-finished": Want(value=[False, False], received=ran("x"), call=_status_when_finished),
    "queue-named": _queues(["some", 1], None, None),
    "queue-named-w5": _queues(["some", 1], None, None),
    "queue-default": _queues(None, ["other", 1], None),
    "queue-positional": _queues(None, None, ["third", 1]),
    "queue-unknown": is_refused(
        CommandError,
        _KNOWN_QUEUES,
        call=_start_worker("-q", "nope"),
        workers=False,
    ),
    "workers-0": is_refused(CommandError, "'0'", call=_start_worker("-w", "0"), workers=False),
    "workers-abc": is_refused(
        CommandError, "'abc'", call=_start_worker("-w", "abc"), workers=False
    ),
    "list-tasks": Want(
        value=[
            *("default", "capp.other_job"),
            *("my-queue-name", "capp.some_job"),
            *("third", "capp.third_job"),
        ],
        call=_list_tasks,
        workers=False,
    ),
    "unknown-task": is_refused(JobNotRegistered, _UNKNOWN),
    "unknown-task-no-timeout": is_refused(JobNotRegistered, _UNKNOWN),
    "job-raises": fails("ValueError", ran("x"), **{"exception.message": "boom"}),
    "job-returns-unpicklable": fails("django_gearman.exceptions.SerializationError", ran("x")),
    "job-sys-exit": fails("SystemExit", ran("x")),
    "poison-payload": Want(
        value=[["WorkWarning", "WorkFail"], "y"], received=ran("y"), call=_send_noise_then_a_job
    ),
    "server-down": is_refused(ServerUnavailable, "127.0.0.1:.*GEARMAN_SERVERS", workers=False),
    "server-down-construct": Want(value="GearmanClient", received=[], workers=False),
    "client-call": is_refused(TypeError, "not callable"),
    "submit-multiple-jobs": Want(
        requests=[{"state": "COMPLETE", "result": text} for text in "xy"],
        received=[*ran("x"), *ran("y")],
    ),
    "client-host-list": is_refused(ServerUnavailable, "127.0.0.1:1", call=_submit_to_dead_host),
    "client-unpicklable-arg": is_refused(SerializationError, "args.*lambda"),
    "servers-missing": Want(value="127.0.0.1", call=_server_by_default, workers=False),
    "servers-string": is_refused(InvalidBackend, r"must be a list.*'127\.", workers=False),
    "queue-full": is_refused(ServerError, "[Qq]ueue is full", workers=False),
}

#: Where no job server is: addresses are of no account.
_OURS_LOCALLY: Mapping[str, Want] = {
    "queue-unknown": is_refused(
        ValueError,
        _KNOWN_QUEUES,
        call=lambda client: GearmanWorker(["nope"]),
        workers=False,
    ),
    "client-host-list": completes("x", ran("x"), call=_submit_to_dead_host),
    "servers-missing": completes("x", ran("x"), call=lambda c: c.submit_job("my-task-name", "x")),
}

#: Where a job has run before its submitter goes on.
_OURS_EAGERLY: Mapping[str, Want] = {
    "reserved-poll_timeout-zero": completes("x", ran("x")),
    "unique-coalesce-fg": Want(value=[False, "x", "y"], received=[*ran("x"), *ran("y")]),
    "bg-uniq-coalesce": is_queued([*ran("x"), *ran("y")]),
    "bg-status": Want(
        value=[False, False, 0, 0, _STATUS_KEYS], received=ran("x"), call=_status_when_started
    ),
}

#: What each transport should come to where it is not what the file tells.
TABLES: Mapping[str, Mapping[str, Want]] = {
    "eager": {**_OURS, **_OURS_LOCALLY, **_OURS_EAGERLY},
    "memory": {**_OURS, **_OURS_LOCALLY},
    "gearman": _OURS,
    "python-gearman": _OURS,
}

#: The cases that promise nothing about our API, and why.
EXEMPT: Mapping[str, str] = {
    "client-do_task": "do_task is of python-gearman 1.x, and was gone in the original too",
    "import-task": "Task is of python-gearman 1.x, and was gone in the original too",
}

#: The cases that mean nothing on one transport, and why.
EXEMPT_ON: Mapping[tuple[str, str], str] = {
    ("queue-named", "eager"): "there are no workers, which could choose among the queues",
    ("queue-named-w5", "eager"): "there are no workers, which could choose among the queues",
    ("queue-default", "eager"): "there are no workers, which could choose among the queues",
    ("queue-positional", "eager"): "there are no workers, which could choose among the queues",
    ("queue-full", "eager"): "its queues are empty whenever a job is submitted",
    ("server-down", "eager"): "there is no server that could be down",
    ("server-down", "memory"): "there is no server that could be down",
}

#: Each case that is run, with each transport that it is run on.
RUNS = [
    (case, transport)
    for case in CASES.values()
    for transport in TRANSPORTS
    if case.id not in EXEMPT and (case.id, transport) not in EXEMPT_ON
]
