from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

from .....management.commands._output import OutputCommand
from ...pruning import expired, prune


class Command(OutputCommand):
    help = (
        "Delete the records of jobs that have expired. gearman_worker does this beside its workers, "
        "so you need this command only where no worker runs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="only print how many records have expired"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"]:
            self._show(options["json"])
            return
        count = prune()
        self.say(json.dumps({"deleted": count}) if options["json"] else f"{count} records deleted")

    def _show(self, as_json: bool) -> None:
        groups = expired()
        total = sum(count for *_, count in groups)
        if as_json:
            found = [
                {"name": name, "status": status, "count": count} for name, status, count in groups
            ]
            self.say(json.dumps({"expired": total, "jobs": found}))
            return
        for name, status, count in groups:
            self.say(f"{count:8}  {name} {status}")
        self.say(f"{total} records have expired")
