from __future__ import annotations

import datetime
import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from .....logs import show_logs
from .....management.commands._arguments import add_log_format
from .....management.commands._output import OutputCommand
from .....management.services import check_servers, run_services
from .....supervisor import Service
from ...scheduler.figures import figures_of
from ...scheduler.service import Ticking, scheduler_database


class Command(OutputCommand):
    help = (
        "Submit jobs at the times that @gearman_job(cron=...) and GEARMAN_SCHEDULE declare, until "
        "Ctrl-C or SIGTERM. gearman_worker does the same beside its workers, so you need this "
        "command only where no worker runs, or with --list or --once. Any number may run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument(
            "--once", action="store_true", help="submit the jobs that are due, then exit"
        )
        mode.add_argument(
            "--list", action="store_true", help="print all schedules with their times, then exit"
        )
        parser.add_argument("--json", action="store_true", help="print JSON, with --list")
        add_log_format(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["json"] and not options["list"]:
            raise CommandError("--json goes with --list")
        ticking = Ticking()
        if options["list"]:
            self._list(ticking, options["json"])
            return
        check_servers()
        show_logs(options["verbosity"], options["log_format"])
        if options["once"]:
            ticking.turn(None)
            return
        if not ticking.schedules:
            raise CommandError(
                "There are no schedules: declare some with @gearman_job(cron=...) or in "
                "GEARMAN_SCHEDULE."
            )
        run_services([Service("scheduler", ticking.turn)])

    def _list(self, ticking: Ticking, as_json: bool) -> None:
        rows = figures_of(ticking.schedules, scheduler_database())
        if as_json:
            self.say(json.dumps(rows, default=datetime.datetime.isoformat))
            return
        for row in rows:
            state = f"paused by {row['paused_by'] or 'an unknown user'}" if row["paused_at"] else ""
            following = f"next {row['next']:%Y-%m-%d %H:%M:%S %Z}" if row["next"] else ""
            last = f"last {row['last']:%Y-%m-%d %H:%M:%S %Z}" if row["last"] else "never run"
            self.say(f"{row['name']}  {row['job']}  {row['when']}  {last}, {state or following}")
