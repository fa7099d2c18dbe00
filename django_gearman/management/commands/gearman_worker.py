from __future__ import annotations

import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import conf
from ...backends import (
    backend_settings,
    check_backend,
    close_backends,
    get_backend_class,
    parse_servers,
    use_backend,
)
from ...exceptions import GearmanError
from ...jobs.functions import functions_of
from ...jobserver.serving import Options
from ...logs import show_logs
from ...supervisor import Reload, Slot, Supervisor
from ...supervisor.health import Health, check_health_file
from ...utils.records import get_logger
from ...utils.text import str_of
from ...worker.attendant import attendant
from ...worker.inheritance import close_shared, forget_shared, reseed, warnings_of_sharing
from ...worker.orphans import describe, end_orphan
from ...worker.process import Limits, prepare_worker
from ...worker.routing import parse_processes, undeclared_queues
from ...worker.worker import GearmanWorker
from ..autoreload import reload_on_change
from ..own_server import own_server, slot_of
from ._arguments import add_log_format, positive_number, prefetch, whole_number
from ._output import write_line

logger = get_logger("django_gearman.worker.worker")

_LONGEST = 20_000  # characters of a message


class Command(BaseCommand):
    help = (
        "Run jobs in one or more processes, from all queues or from those of -q. Ctrl-C or "
        "SIGTERM stops the worker after its current jobs; a second one stops it at once. "
        "SIGHUP replaces the processes one by one, with new code if there is some. SIGQUIT "
        "prints what each process is doing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        def add(*names: str, **options: Any) -> None:
            parser.add_argument(*names, **options)

        add(
            *("-w", "--workers"),
            type=whole_number,
            metavar="N",
            help="number of processes, except those of -q NAME:N (default: 1)",
        )
        add(
            *("-q", "--queue"),
            action="append",
            dest="queues",
            metavar="NAME[:N]",
            help=(
                "run the jobs of this queue. May be repeated: the queues of plain -q options share "
                "the -w processes, and each process serves all of them. NAME:N starts N separate "
                "processes. '*' means all queues (default: all)"
            ),
        )
        add("--name", help="worker name shown in gearman_status (default: the host's name)")
        add(
            "--burst",
            action="store_true",
            help="run the queued jobs, then exit; wait for a server that is down",
        )
        add(
            "--grace-period",
            type=positive_number,
            default=30.0,
            metavar="SECONDS",
            help="how long current jobs may run on after a stop signal (default: 30)",
        )
        add(
            "--max-jobs",
            type=whole_number,
            metavar="N",
            help="restart a process after about N jobs",
        )
        add(
            "--max-memory",
            type=positive_number,
            metavar="MB",
            help="restart a process above about this much resident memory, between jobs",
        )
        add(
            "--max-lifetime",
            type=positive_number,
            metavar="SECONDS",
            help="restart a process after about this many seconds, between jobs",
        )
        add(
            "--prefetch",
            type=prefetch,
            metavar="N",
            help=(
                "how many jobs to request in advance. 'auto': several, while jobs are so "
                "quick that no job waits long (default: auto)"
            ),
        )
        add(
            "--health-file",
            type=Path,
            metavar="PATH",
            help="a file to touch every second while all processes serve",
        )
        add_log_format(parser)
        add(
            "--with-server",
            action="store_true",
            help="also run a job server, at the first address in GEARMAN_SERVERS",
        )
        add(
            "--store",
            type=Path,
            metavar="FILE",
            help=("file in which that server keeps background jobs, so that they survive a crash"),
        )
        add(
            "--autoreload",
            action="store_true",
            help="for development: reload when a file changes",
        )
        add("--check", action="store_true", help="check that the worker can start, then exit")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            processes = list(parse_processes(options["workers"], options["queues"]))
            workers = [GearmanWorker(queues) for _, queues in processes]
            server = self._server(**options)
            self._check(workers, options["health_file"])
        except (ImproperlyConfigured, GearmanError, ValueError) as error:
            raise CommandError(str_of(error, _LONGEST)) from error
        if options["check"]:
            write_line(self.stdout, "the worker can start")
            return
        show_logs(options["verbosity"], options["log_format"])
        services = [slot_of(server)] if server is not None else []
        is_json = options["log_format"] == "json"
        if options["verbosity"] > 0:
            self._announce(workers, server, is_json)
        self._warn(workers, is_json)
        code = self._run(processes, services, **options)
        if code:
            raise CommandError("the worker processes could not start", returncode=code)

    def _server(self, *, with_server: bool, store: Path | None, **options: Any) -> Options | None:
        if store is not None and not with_server:
            raise CommandError(
                "--store is for the server that --with-server runs; add --with-server"
            )
        return own_server(store) if with_server else None

    def _check(self, workers: list[GearmanWorker], health_file: Path | None) -> None:
        check_backend()
        if health_file is not None:
            check_health_file(health_file)
        if get_backend_class().local:
            backend, _, _ = backend_settings()
            raise CommandError(
                f"GEARMAN_BACKEND is {backend!r}, whose jobs never leave the process that "
                "submits them: a worker would wait forever. Set GEARMAN_BACKEND = 'gearman'."
            )
        for worker in workers:
            functions_of(worker.jobs)
        conf.job_timeout()
        conf.middleware()
        use_backend()

    def _run(
        self,
        processes: list[tuple[str, list[str] | None]],
        services: list[Slot],
        **options: Any,
    ) -> int:
        limits = Limits(options["max_jobs"], options["max_memory"], options["max_lifetime"])
        own = {name: options[name] for name in ("name", "burst", "prefetch")}
        start = partial(prepare_worker, limits, **own)
        slots = services + [Slot(name, partial(start, queues)) for name, queues in processes]
        if not options["burst"]:
            slots += attendant()
        close_backends()
        close_shared()
        for warning in warnings_of_sharing():
            logger.warning(warning)
        health = Health(options["health_file"])
        health.forget()
        if options["autoreload"]:
            reload_on_change()
        command = None
        if "gearman_worker" in sys.argv:  # not if another program has called this
            command = [sys.executable, *sys.orig_argv[1:]]
        try:
            return Supervisor(
                slots,
                grace_period=options["grace_period"],
                on_death=end_orphan,
                describe=describe,
                report=health,
                reload=Reload(command, ["--check"], slots),
                in_child=_begin_process,
            ).run()
        finally:
            health.forget()

    def _warn(self, workers: list[GearmanWorker], is_json: bool) -> None:
        try:
            undeclared = undeclared_queues({job.queue for w in workers for job in w.jobs})
        except ImproperlyConfigured as error:  # this does not stop the worker
            warning = str_of(error, _LONGEST)
        else:
            if not undeclared:
                return
            warning = (
                f"No worker in GEARMAN_WORKERS serves queue {', '.join(undeclared)}, but this "
                "one does. Declare it there, so that checks and tests know of it."
            )
        if is_json:
            logger.warning("%s", warning)
        else:
            write_line(self.stderr, warning)

    def _announce(
        self, workers: list[GearmanWorker], server: Options | None, is_json: bool
    ) -> None:
        _, servers, _ = backend_settings()
        where = ", ".join(map(str, parse_servers(servers)))
        noun = "process" if len(workers) == 1 else "processes"
        lines = [f"{len(workers)} worker {noun} on {where}, serving", *_layout(workers)]
        if server is not None:
            kept = f"background jobs in {server.store}" if server.store else "jobs in memory"
            lines.append(f"  1 more process is the job server, with {kept}")
        jobs = {job.name: job for worker in workers for job in worker.jobs}
        lines += [f"  {job.name} (queue {job.queue})" for job in jobs.values()]
        for line in lines:
            if is_json:
                logger.info("%s", line.strip())
            else:
                write_line(self.stdout, line)
        self.stdout.flush()


def _layout(workers: list[GearmanWorker]) -> list[str]:
    """Return a line for each kind of process, with the queues that it serves."""
    groups = Counter(tuple(dict.fromkeys(worker.queues or ["*"])) for worker in workers)
    lines = []
    for queues, number in groups.items():
        noun = "1 process serves" if number == 1 else f"{number} processes serve"
        if "*" in queues:
            lines.append(f"  {noun} all queues")
        elif len(queues) == 1:
            lines.append(f"  {noun} queue {queues[0]} only")
        else:
            lines.append(f"  {noun} queues {', '.join(queues)}, shared")
    return lines


def _begin_process() -> None:
    forget_shared()
    reseed()
