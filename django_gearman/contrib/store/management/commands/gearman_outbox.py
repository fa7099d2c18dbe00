from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from .....logs import show_logs
from .....management.commands._arguments import add_log_format
from .....management.commands._output import OutputCommand
from .....management.services import check_servers, run_services
from .....supervisor import Service
from ...outbox.figures import figures_of
from ...outbox.refusals import release
from ...outbox.service import Relays, outbox_databases


class Command(OutputCommand):
    help = (
        "Send the jobs that wait in the outbox, again and again until Ctrl-C or SIGTERM. "
        "gearman_worker does the same beside its workers, so you need this command only where no "
        "worker runs, or with --once, --status or --retry."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument(
            "--once", action="store_true", help="send the jobs that are due, then exit"
        )
        mode.add_argument(
            "--status",
            action="store_true",
            help="print how many jobs wait and are stuck, then exit",
        )
        mode.add_argument(
            "--retry",
            action="store_true",
            help="make stuck jobs due again, then exit",
        )
        parser.add_argument("--json", action="store_true", help="print JSON")
        add_log_format(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["status"]:
            self._show_status(options["json"])
        elif options["retry"]:
            self._retry(options["json"])
        else:
            check_servers()
            self._relay(**options)

    def _relay(self, **options: Any) -> None:
        relays = Relays()
        if not options["once"]:
            show_logs(options["verbosity"], options["log_format"])
            run_services([Service("outbox", relays.turn)])
            return
        report = relays.sweep()
        found = {"sent": report.sent, "refused": report.refused, "stuck": report.stuck}
        if options["json"]:
            self.say(json.dumps(found))
        else:
            self.say(", ".join(f"{number} {name}" for name, number in found.items()))
        if report.unreachable:
            raise CommandError(
                f"Jobs wait in the outbox: {next(iter(report.unreachable.values()))}"
            )

    def _show_status(self, as_json: bool) -> None:
        rows = [figures_of(alias) for alias in outbox_databases()]
        if as_json:
            self.say(json.dumps(rows))
            return
        for row in rows:
            oldest = f", the oldest for {row['oldest_seconds']:.0f} s" if row["waiting"] else ""
            line = f"{row['database']}: {row['waiting']} waiting{oldest}, {row['stuck']} stuck"
            self.say(line)
            for stuck in row["last_stuck"]:
                self.say(f"  {stuck['function']} {stuck['job_id']}: {stuck['last_error']}")

    def _retry(self, as_json: bool) -> None:
        number = sum(release(alias) for alias in outbox_databases())
        self.say(json.dumps({"due": number}) if as_json else f"{number} jobs are due again")
