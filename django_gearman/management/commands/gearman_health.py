from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ...backends import use_backend
from ...utils.text import printable
from ..servers import server_as_json
from ._arguments import add_timeout
from ._output import OutputCommand


class Command(OutputCommand):
    help = (
        "Check that each job server answers, and show how soon. Exits with 0 if all of them answer "
        "in time, and with 1 if one does not."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_timeout(parser, "each server may take")
        parser.add_argument("--json", action="store_true", help="write one JSON object instead")

    def handle(self, *args: Any, **options: Any) -> None:
        answers = use_backend().probe(options["timeout"])
        failed = [str(each.error) for each in answers.values() if each.error is not None]
        if options["json"]:
            shown = [server_as_json(name, each, each.error) for name, each in answers.items()]
            self.stdout.write(json.dumps({"servers": shown}, indent=2))
        message = f"{len(answers) - len(failed)} of {len(answers)} job servers answer"
        if failed:
            raise CommandError(printable(f"{message}: {'; '.join(failed)}"))
        if not options["json"] and answers:
            took = ", ".join(
                name if each.seconds is None else f"{name} in {each.seconds * 1000:.1f} ms"
                for name, each in answers.items()
            )
            self.say(f"{message}: {took}")
        elif not options["json"]:
            self.say("jobs do not leave this process, so there is no server to check")
