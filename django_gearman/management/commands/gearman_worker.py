from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from ... import conf
from ...backends import check_settings, close_backends, get_backend, get_backend_class
from ...exceptions import GearmanError
from ...fleet import undeclared_queues
from ...instrumentation import active
from ...supervisor import Supervisor
from ...worker import GearmanWorker


def positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes; use 1 or more")
    return number


class Command(BaseCommand):
    help = (
        "Run the jobs of all queues, or of those given with -q, in one or more processes. "
        "SIGTERM and Ctrl-C stop it after the jobs in hand; a second one stops it at once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "-w",
            "--workers",
            type=positive,
            default=1,
            metavar="N",
            help="how many processes to run (default: 1)",
        )
        parser.add_argument(
            "-q",
            "--queue",
            action="append",
            dest="queues",
            metavar="NAME",
            help="run the jobs of this queue; may be repeated; '*' is all (default: all)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        backend, _, _ = conf.backend_settings()
        try:
            check_settings()
            if get_backend_class().local:
                raise CommandError(
                    f"GEARMAN_BACKEND is {backend!r}, whose jobs never leave the process that "
                    "submits them: a worker would wait for ever. Set GEARMAN_BACKEND = 'gearman'."
                )
            worker = GearmanWorker(options["queues"])
            active().admit(get_backend())
        except (ImproperlyConfigured, GearmanError, ValueError) as error:
            raise CommandError(str(error)) from error
        _show_logs(options["verbosity"])
        self._announce(worker, options["workers"])
        self._warn(worker)

        def start() -> tuple[Callable[[], object], Callable[[], object]]:
            worker = GearmanWorker(options["queues"])
            return worker.work, worker.stop

        # A forked process must not share the sockets of its parent.
        connections.close_all()
        close_backends()
        code = Supervisor(start, options["workers"]).run()
        if code:
            raise CommandError("the worker processes could not start", returncode=code)

    def _warn(self, worker: GearmanWorker) -> None:
        try:
            undeclared = undeclared_queues({job.queue for job in worker.jobs})
        except ImproperlyConfigured as error:  # which does not keep this worker from its work
            self.stderr.write(str(error))
            return
        if undeclared:
            self.stderr.write(
                f"No worker in GEARMAN_WORKERS serves queue {', '.join(undeclared)}, as this one "
                "does: declare it there, so that tests and checks know of it."
            )

    def _announce(self, worker: GearmanWorker, processes: int) -> None:
        _, servers, _ = conf.backend_settings()
        where = ", ".join(map(str, conf.parse_servers(servers)))
        noun = "process" if processes == 1 else "processes"
        self.stdout.write(f"{processes} worker {noun} on {where}, serving")
        for job in worker.jobs:
            self.stdout.write(f"  {job.name} (queue {job.queue})")
        self.stdout.flush()


def _show_logs(verbosity: int) -> None:
    """Write what the library logs to stderr, unless the project's LOGGING does something with it."""
    logger = logging.getLogger("django_gearman")
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
