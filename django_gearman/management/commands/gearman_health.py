from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...backends import use_backend
from ...utils.text import printable, str_of
from ._arguments import positive_number
from ._output import write_line


class Command(BaseCommand):
    help = (
        "Check that each job server answers. Exits with 0 if all of them answer in time, and "
        "with 1 if one does not."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--timeout",
            type=positive_number,
            default=5.0,
            metavar="SECONDS",
            help="how many seconds each server may take (default: 5)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            backend = use_backend()
        except ImproperlyConfigured as error:
            raise CommandError(str_of(error)) from error
        answers = backend.ping(options["timeout"])
        failed = [str(error) for error in answers.values() if error is not None]
        message = f"{len(answers) - len(failed)} of {len(answers)} job servers answer"
        if failed:
            raise CommandError(printable(f"{message}: {'; '.join(failed)}"))
        write_line(
            self.stdout,
            message
            if answers
            else ("jobs do not leave this process, so there is no server to check"),
        )
