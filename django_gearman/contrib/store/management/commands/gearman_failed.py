from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet

from .....management.commands._output import OutputCommand, Trouble
from ... import actions
from ...attempts import last_attempt
from ...describing import age_of, as_json, details, parse_since
from ...missing import naming_missing_tables
from ...models import JobRecord
from ...redaction import storable
from ...writing import database

_ROWS = 50  # of a list
_MESSAGE = 60  # characters in a list


class Command(OutputCommand):
    help = (
        "List failed jobs, show one with all its errors, run them again under the same ids, or "
        "discard them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=("list", "show", "retry", "discard"))
        parser.add_argument("ids", nargs="*", metavar="ID", help="the ids of jobs")
        parser.add_argument("--job", metavar="NAME", help="only jobs of this name")
        parser.add_argument(
            "--exception", metavar="CLASS", help="only failures with this exception, like KeyError"
        )
        parser.add_argument(
            "--since",
            metavar="TIME",
            help="only failures since 2026-11-29T08:00, or of the last 2h or 3d",
        )
        parser.add_argument(
            "--all",
            action="store_true",
            help=f"all failures; a list shows {_ROWS} otherwise, and retry and discard need a choice",
        )
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        with naming_missing_tables(database()):
            getattr(self, f"_{options['action']}")(options)

    def _list(self, options: dict[str, Any]) -> None:
        records = self._chosen(options)
        if options["json"]:
            self._print_json(records)
            return
        rows = records.defer("workload", "result", "call", "context")
        shown = [*(rows if options["all"] else rows[:_ROWS])]
        if not shown:
            self.say("No failed jobs.")
            return
        table = [("ID", "JOB", "ATTEMPTS", "FAILED", "ERROR"), *map(_line, shown)]
        widths = [max(len(row[column]) for row in table) for column in range(4)]
        for row in table:
            cells = [cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)]
            self.say("  ".join([*cells, row[4]]).rstrip())
        more = records.count() - len(shown)
        if more > 0:
            self.say(f"{more} more: choose with --job, --exception and --since, or see --all")

    def _print_json(self, records: QuerySet[JobRecord]) -> None:
        """Print a list row by row: there may be many."""
        self.stdout.write("[", ending="")
        separator = "\n"
        for record in records.defer("workload", "result").iterator(100):
            self.stdout.write(separator + json.dumps(as_json(record)), ending="")
            separator = ",\n"
        self.stdout.write("\n]" if separator != "\n" else "]")

    def _show(self, options: dict[str, Any]) -> None:
        if not options["ids"]:
            raise CommandError("Say which: gearman_failed show ID. The list has the ids.")
        ids = [storable(each) for each in options["ids"]]
        rows = JobRecord.objects.using(database()).filter(pk__in=ids)
        records = [*rows.defer("workload", "result")]
        if options["json"]:
            shown = [as_json(record) for record in records]
            self.say(json.dumps(shown[0] if len(shown) == len(options["ids"]) == 1 else shown))
        else:
            for line in [line for record in records for line in details(record)]:
                self.say(line)
        self._complain(options, [record.pk for record in records], "There is no record of job")

    def _retry(self, options: dict[str, Any]) -> None:
        records = self._chosen(options, must_choose=True)
        found = self._found(options, records)
        if not options["ids"] and sys.stdin.isatty():
            self._ask(f"Run {records.count()} failed jobs again?", options)
        outcome = actions.retry(records)
        if options["json"]:
            done = {
                "retried": outcome.count,
                "waiting": outcome.waiting,
                "refused": outcome.refused,
            }
            self.say(json.dumps(done))
        else:
            self.say(f"{outcome.count} jobs run again")
            if outcome.waiting:
                self.say(
                    f"{outcome.waiting} of them wait in the outbox: no job server takes them now"
                )
        if outcome.refused:
            reason = next(iter(outcome.refused.values()))
            raise Trouble(f"{len(outcome.refused)} jobs cannot run again. The first: {reason}")
        self._complain(options, found, "These jobs have not failed, and were not changed:")

    def _discard(self, options: dict[str, Any]) -> None:
        records = self._chosen(options, must_choose=True)
        found = self._found(options, records)
        self._ask(f"Delete {records.count()} failed jobs with their arguments and errors?", options)
        count = actions.discard(records)
        self.say(json.dumps({"discarded": count}) if options["json"] else f"{count} jobs discarded")
        self._complain(options, found, "These jobs have not failed, and were not changed:")

    def _chosen(self, options: dict[str, Any], must_choose: bool = False) -> QuerySet[JobRecord]:
        """Return the failures that the options choose."""
        filters = [name for name in ("job", "exception", "since") if options[name] is not None]
        if must_choose and not (options["ids"] or filters or options["all"]):
            raise CommandError("Choose the jobs with IDs, --job, --exception, --since or --all.")
        if options["ids"] and (filters or options["all"]):
            raise CommandError("Use either IDs or options to choose the jobs, not both.")
        try:
            since = None if options["since"] is None else parse_since(options["since"])
        except ValueError as error:
            raise CommandError(f"--since: {error}") from error
        found = actions.failures(job=options["job"], exception=options["exception"], since=since)
        ids = [storable(each) for each in options["ids"]]
        return found.filter(pk__in=ids) if ids else found

    def _found(self, options: dict[str, Any], records: QuerySet[JobRecord]) -> list[str]:
        return [*records.values_list("pk", flat=True)] if options["ids"] else []

    def _ask(self, question: str, options: dict[str, Any]) -> None:
        if options["yes"]:
            return
        try:
            answer = input(f"{question} [y/N] ")
        except EOFError:
            raise CommandError("There is no terminal to ask on. Add --yes.") from None
        if answer.strip().lower() not in ("y", "yes"):
            raise CommandError("Nothing was changed.")

    def _complain(self, options: dict[str, Any], found: list[str], reason: str) -> None:
        if missing := [each for each in options["ids"] if each not in found]:
            raise Trouble(f"{reason} {', '.join(missing)}")


def _line(record: JobRecord) -> tuple[str, str, str, str, str]:
    message = last_attempt(record.errors).first_line
    error = ": ".join(part for part in (record.exception, message[:_MESSAGE]) if part)
    return record.pk, record.name, str(record.attempts), age_of(record.finished_at), error
