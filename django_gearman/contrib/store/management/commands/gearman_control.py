from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError, CommandParser

from .....jobs.keeping import CancelAnswer
from .....management.banner import duration
from .....management.commands._arguments import add_timeout
from .....management.commands._output import OutputCommand, Trouble, shown_line
from .....management.tables import Column, table
from .....utils.text import printable_lines
from ... import control
from ...cancelling import cancel
from ...control.values import as_json
from ...models import PausedQueue

_SUPERVISORS = (
    Column("SUPERVISOR"),
    Column("PROCESSES", right=True),
    Column("UP"),
    Column("MEMORY", right=True),
    Column("QUEUES", least=12),
    Column("RELEASE", least=12),
)
_PROCESSES = (
    Column("PROCESS"),
    Column("NAME"),
    Column("STATE"),
    Column("MEMORY", right=True),
    Column("DONE", right=True),
    Column("FAILED", right=True),
    Column("JOB", least=12),
    Column("FOR", right=True),
    Column("ID", least=8),
)
_ANSWERS = {
    CancelAnswer.DELAYED: "cancelled; it waited for its time",
    CancelAnswer.QUEUED: "cancelled; it was queued",
    CancelAnswer.RUNNING: "it runs, and is asked to end",
    CancelAnswer.FINISHED: "it had ended before",
    CancelAnswer.UNKNOWN: "unknown",
}
_MOMENT = "%Y-%m-%d %H:%M:%S"
_PAUSED = Column("PAUSED QUEUE"), Column("SINCE"), Column("BY")


class Command(OutputCommand):
    help = (
        "Show what each process of each gearman_worker runs, or where it is in its code; pause and "
        "resume queues; cancel jobs; make workers load their code again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=[*_ACTIONS])
        parser.add_argument(
            "names",
            nargs="*",
            metavar="NAME",
            help=(
                "for stack: a process id; for pause and resume: queues; for cancel: ids of jobs; for "
                "reload: supervisors, as the list names them"
            ),
        )
        parser.add_argument("--supervisor", metavar="HOST:PID", help="for stack: its supervisor")
        parser.add_argument("--all", action="store_true", help="for reload: all supervisors")
        parser.add_argument(
            "--by", metavar="NAME", help="for pause: who pauses (default: the user of this shell)"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")
        add_timeout(parser, "servers and supervisors may take", default=1.0)

    def handle(self, *args: Any, **options: Any) -> None:
        _ACTIONS[options["action"]](self, options)

    def _list(self, options: dict[str, Any]) -> None:
        if options["names"]:
            raise CommandError("list takes no names: it shows all supervisors.")
        paused = control.paused()
        found = control.list_supervisors(options["timeout"])
        if options["json"]:
            self._print_json(
                supervisors=[as_json(each) for each in found.supervisors],
                paused=[_pause_as_json(row) for row in paused.values()],
                problems=found.problems,
            )
        else:
            self._show(found, paused)
        _complain(found.problems)

    def _show(self, found: control.Answers, paused: dict[str, PausedQueue]) -> None:
        if not (found.supervisors or found.problems):
            self.say("No gearman_worker is connected, or none has the store among its apps.")
        if found.supervisors:
            self._table(_SUPERVISORS, [_supervisor_cells(each) for each in found.supervisors])
        for supervisor in found.supervisors:
            if (errors := supervisor.store_errors) is not None:
                self.say(_errors_line(supervisor.name, errors), self.style.ERROR)
        for supervisor in found.supervisors:
            rows = [cells for each in supervisor.processes for cells in _process_cells(each)]
            if len(found.supervisors) > 1:
                self.say(f"{supervisor.name}:")
            self._table(_PROCESSES, rows)
        if paused:
            rows = [[row.queue, _time(row), row.paused_by] for row in paused.values()]
            self._table(_PAUSED, rows)

    def _table(self, columns: tuple[Column, ...], rows: list[list[str]]) -> None:
        head, *lines = table(columns, rows, self.width)
        self.say(head, self.style.MIGRATE_HEADING)
        for line in lines:
            self.say(line)

    def _stack(self, options: dict[str, Any]) -> None:
        [text] = _named(options, "one process id, like 4711", single=True)
        if not (text.isascii() and text.isdigit()):
            raise CommandError(f"{text!r} is not a process id; gearman_control list has them.")
        pid, name = int(text), options["supervisor"]
        if name is None:
            found = control.list_supervisors(options["timeout"])
            names = [
                each.name
                for each in found.supervisors
                if any(process.pid == pid for process in each.processes)
            ]
            if len(names) > 1:
                raise CommandError(f"Say which with --supervisor: {', '.join(names)}.")
            if not names:
                reasons = "".join(f" {problem}" for problem in found.problems)
                raise CommandError(f"No supervisor has a process {pid}.{reasons}")
            [name] = names
        stack = control.stack(name, pid, options["timeout"])
        if options["json"]:
            self._print_json(supervisor=name, pid=pid, stack=stack)
        else:
            for line in printable_lines(stack):
                self.stdout.write(shown_line(self.stdout, line))

    def _pause(self, options: dict[str, Any]) -> None:
        by = options["by"] if options["by"] is not None else _user()
        self._change(options, lambda queue: control.pause(queue, by), "paused")

    def _resume(self, options: dict[str, Any]) -> None:
        self._change(options, control.resume, "resumed")

    def _change(self, options: dict[str, Any], change: Callable[[str], bool], done: str) -> None:
        changed: dict[str, bool] = {}
        problems: list[str] = []
        for name in _named(options, "the name of a queue"):
            try:
                changed[name] = change(name)
            except control.ControlError as error:
                problems.append(str(error))
        if options["json"]:
            self._print_json(**{done: [name for name, is_new in changed.items() if is_new]})
        else:
            for name, is_new in changed.items():
                state = done if is_new else f"was {'not ' if done == 'resumed' else ''}paused"
                self.say(f"queue {name}: {state}")
        if problems:
            raise CommandError("; ".join(problems))

    def _cancel(self, options: dict[str, Any]) -> None:
        ids = _named(options, "the id of a job")
        answers = cancel(ids)
        if options["json"]:
            self._print_json(**answers)
        else:
            for job_id, answer in answers.items():
                self.say(f"{job_id}: {_ANSWERS[answer]}")
        if unknown := [each for each in ids if answers[each] is CancelAnswer.UNKNOWN]:
            raise Trouble(f"There is no record of job {', '.join(unknown)}")

    def _reload(self, options: dict[str, Any]) -> None:
        if options["all"] == bool(options["names"]):
            raise CommandError("Say which: supervisors like app-1:4711, or --all.")
        answers = [control.reload(name, options["timeout"]) for name in options["names"] or [None]]
        names = [each.name for answer in answers for each in answer.supervisors]
        if options["json"]:
            self._print_json(reloading=names)
        else:
            for name in names:
                self.say(f"{name} loads its code again; its log says if that works")
            if not names:
                self.say("No gearman_worker is connected, or none has the store among its apps.")
        if options["all"]:
            _complain(answers[0].problems)

    def _print_json(self, **values: Any) -> None:
        self.stdout.write(json.dumps(values, indent=2))


_ACTIONS: dict[str, Callable[[Command, dict[str, Any]], None]] = {
    "list": Command._list,
    "stack": Command._stack,
    "pause": Command._pause,
    "resume": Command._resume,
    "cancel": Command._cancel,
    "reload": Command._reload,
}


def _named(options: dict[str, Any], what: str, *, single: bool = False) -> list[str]:
    names: list[str] = options["names"]
    if not names or (single and len(names) > 1):
        raise CommandError(f"{options['action']} needs {what}.")
    return names


def _complain(problems: tuple[str, ...]) -> None:
    if problems:
        raise Trouble("; ".join(problems))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        return ""


def _supervisor_cells(each: control.SupervisorInfo) -> list[str]:
    number, queues = str(len(each.processes)), ", ".join(each.queues)
    return [each.name, number, duration(each.uptime), _memory(each.memory), queues, each.release]


def _process_cells(each: control.ProcessInfo) -> list[list[str]]:
    numbers = [_memory(each.memory), str(each.done), str(each.failed)]
    first = [str(each.pid), each.name, each.state, *numbers]
    jobs = [[job.job, duration(job.seconds), job.id] for job in each.jobs] or [["", "", ""]]
    return [(first if n == 0 else [""] * len(first)) + job for n, job in enumerate(jobs)]


def _memory(megabytes: float) -> str:
    return f"{megabytes:.0f} MB"


def _time(row: PausedQueue) -> str:
    return f"{row.paused_at:{_MOMENT}}"


def _errors_line(name: str, errors: control.StoreErrors) -> str:
    number = "1 record was" if errors.count == 1 else f"{errors.count:,} records were"
    return (
        f"Store of {name}: {number} not written since {errors.since:{_MOMENT}} UTC; the last error, "
        f"{errors.last:{_MOMENT}}: {errors.text}"
    )


def _pause_as_json(row: PausedQueue) -> dict[str, str]:
    return {"queue": row.queue, "by": row.paused_by, "at": row.paused_at.isoformat()}
