from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...jobserver.arguments import add_arguments, parse_options
from ...jobserver.serving import CannotServe, run
from ...logs import show_logs
from ...utils.records import get_logger
from ..own_server import address_in_settings
from ._arguments import add_log_format

logger = get_logger(__name__)


class Command(BaseCommand):
    help = (
        "Run a Gearman job server, for development or for a site on one machine. Press "
        "CONTROL-C (or send SIGTERM) to stop it."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        add_arguments(parser, *address_in_settings())
        add_log_format(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        show_logs(options["verbosity"], options["log_format"])
        try:
            run(parse_options(options), self._announcer(**options))
        except CannotServe as error:
            raise CommandError(str(error)) from error

    def _announcer(self, *, log_format: str, verbosity: int, **options: Any) -> Any:
        if log_format == "json":
            return logger.info
        if not verbosity:
            return lambda line: None

        def write(line: str) -> None:
            self.stdout.write(line)
            self.stdout.flush()

        return write
