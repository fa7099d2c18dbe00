from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ... import conf
from ...jobs.definition import JobDefinition
from ...jobs.functions import job_functions
from ...utils.text import printable, quoted
from ..purging import Waiting, drop_all, waiting_at
from ..servers import server_states
from ..tables import Column, table
from ._arguments import add_timeout
from ._output import OutputCommand, Trouble

_COLUMNS = (
    Column("FUNCTION", least=12),
    Column("queued", right=True),
    Column("delayed", right=True),
    Column("running", right=True),
    Column("SERVER"),
)


class Command(OutputCommand):
    help = (
        "Drop the queued jobs of a function from every job server, after asking. Clients that wait "
        "for them get a failure. Running jobs continue. Delayed jobs can be dropped on the included "
        "server; gearmand gives no client a delayed job before its time."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "names", nargs="*", metavar="NAME", help="a job, or a function of a server"
        )
        parser.add_argument(
            "--unknown",
            action="store_true",
            help=(
                "drop the jobs of every function that is not a job of this project (nor in "
                "GEARMAN_EXTERNAL_JOBS) and that no worker serves"
            ),
        )
        parser.add_argument("--yes", action="store_true", help="do not ask")
        add_timeout(parser, "a server may be silent")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["names"] and not options["unknown"]:
            raise CommandError("name a job or function, or use --unknown. Nothing was dropped")
        states, jobs = server_states(options["timeout"]), job_functions()
        errors: list[Exception] = [each.error for each in states if each.error is not None]
        known = [waiting for state in states for waiting in waiting_at(state)]
        if errors and not known:
            raise CommandError(printable("; ".join(map(str, errors))))
        functions = {_function(name, jobs, known) for name in options["names"]}
        if options["unknown"]:
            functions |= _unknown(known, jobs)
        chosen = [each for each in known if each.function in functions and each.number]
        if not chosen:
            self.say("No job waits, so there is nothing to drop.")
        elif self._is_confirmed(chosen, is_yes=options["yes"]):
            errors += self._drop(chosen, options["timeout"])
        if errors:
            raise Trouble(printable("; ".join(map(str, errors))))

    def _is_confirmed(self, chosen: list[Waiting], *, is_yes: bool) -> bool:
        cells = [
            [
                each.function,
                str(each.queued),
                str(each.delayed),
                str(each.running),
                str(each.server),
            ]
            for each in chosen
        ]
        head, *lines = table(_COLUMNS, cells, self.width)
        self.say(head, self.style.MIGRATE_HEADING)
        for line in lines:
            self.say(line)
        if is_yes:
            return True
        if not sys.stdin.isatty():
            raise CommandError("there is no terminal to ask on. Nothing was dropped; add --yes")
        self.stdout.write(f"Drop {_count(sum(each.number for each in chosen))}? [y/N] ", ending="")
        self.stdout.flush()
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return True
        self.say("Nothing was dropped.")
        return False

    def _drop(self, chosen: list[Waiting], timeout: float) -> list[Exception]:
        dropped, errors = drop_all(chosen, timeout)
        wanted = dict.fromkeys(dropped, 0)
        for each in chosen:
            wanted[each.function] += each.number
        left = []
        for function, number in dropped.items():
            self.say(f"Dropped {_count(number)} of {function}.", self.style.SUCCESS)
            if (rest := wanted[function] - number) > 0:
                left.append(f"{_count(rest)} of {function}")
        if left and not errors:
            reason = (
                f"not dropped: {', '.join(left)}. Workers have taken them meanwhile; or they are "
                "delayed, and gearmand gives no client a delayed job before its time; or their name has "
                "characters that the server does not show"
            )
            return [Trouble(reason)]
        return [*errors]


def _count(number: int) -> str:
    return f"{number} job{'' if number == 1 else 's'}"


def _function(name: str, jobs: dict[str, JobDefinition], known: Iterable[Waiting]) -> str:
    """Return the function of a name; raise CommandError, with similar names, if there is none."""
    functions = {job.name: function for function, job in jobs.items()}
    if name in functions:
        return functions[name]
    others = {waiting.function for waiting in known}
    if name in others or name in jobs:
        return name
    close = difflib.get_close_matches(name, [*functions, *others], n=3)
    hint = f"; did you mean {' or '.join(map(quoted, close))}?" if close else ""
    raise CommandError(f"no job or function is named {quoted(name)}{hint}. Nothing was dropped")


def _unknown(known: Iterable[Waiting], jobs: dict[str, JobDefinition]) -> set[str]:
    """Return the functions that neither this project nor a worker knows."""
    known = list(known)
    served = {waiting.function for waiting in known if waiting.workers}
    return {
        waiting.function
        for waiting in known
        if waiting.function not in jobs
        and waiting.function not in served
        and not conf.is_external(waiting.function)
    }
