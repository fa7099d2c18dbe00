from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser
from django.core.management.color import color_style, no_style

from ... import conf
from ...backends import (
    backend_settings,
    check_backend,
    close_backends,
    get_backend_class,
    use_backend,
)
from ...jobs.functions import functions_of
from ...jobserver.serving import Options
from ...logs import show_logs
from ...supervisor import Account, Lease, Reload, Scoreboard, Slot, Supervisor
from ...supervisor.health import Health, check_health_file
from ...supervisor.process import Start
from ...supervisor.reload import is_taking_over, previous_descriptor, previous_release
from ...utils.records import get_logger
from ...utils.text import str_of
from ...worker import pausing
from ...worker.attendant import attendant, services
from ...worker.databases import pool_warnings
from ...worker.inheritance import close_shared, forget_shared, reseed, warnings_of_sharing
from ...worker.orphans import describe, end_orphan
from ...worker.process import Limits, prepare_worker
from ...worker.routing import PlannedProcess, parse_processes, undeclared_queues
from ...worker.worker import GearmanWorker
from ..autoreload import reload_on_change
from ..banner import Item, as_text, banner, changes, describe_release, farewell
from ..metrics import Metrics, load_metrics
from ..own_server import own_server, slot_of
from ..terminal_logs import TerminalFormatter, name_process
from ._arguments import add_log_format, positive_number, prefetch, whole_number
from ._output import LONGEST_MESSAGE, OutputCommand, terminal_width, write_line

logger = get_logger("django_gearman.worker.worker")


class Command(OutputCommand):
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
            metavar="NAME[:N[xT]]",
            help=(
                "run the jobs of this queue. May be repeated: the queues of plain -q options share "
                "the -w processes, and each process serves all of them. NAME:N starts N separate "
                "processes, and NAME:NxT gives each of them --threads T. '*' means all queues (default: "
                "all)"
            ),
        )
        add(
            "--threads",
            type=whole_number,
            metavar="T",
            help=(
                "number of jobs that each process runs at a time: each in a thread, and async ones "
                "on an event loop (default: 1)"
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
            help="how many seconds running jobs may continue after a stop signal (default: 30)",
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
        add(
            "--metrics",
            metavar="HOST:PORT",
            help="serve /metrics for Prometheus, /healthz and /readyz at this address",
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
            given = options["workers"], options["queues"], options["threads"]
            processes = list(parse_processes(*given))
            workers = [GearmanWorker(each.queues, threads=each.threads) for each in processes]
            server = self._server(**options)
            self._check(workers, options["health_file"])
            queues = {job.queue for worker in workers for job in worker.jobs}
            metrics = options["metrics"] = load_metrics(options["metrics"], workers)
            wanted = [*([] if options["burst"] else services(queues)), *metrics.services]
        except ValueError as error:
            raise CommandError(str_of(error, LONGEST_MESSAGE)) from error
        if options["check"]:
            write_line(self.stdout, "the worker can start")
            return
        is_json = options["log_format"] == "json"
        shows_logs = show_logs(
            options["verbosity"], options["log_format"], self._terminal(**options)
        )
        slots = self._slots(processes, server, **options) + attendant(wanted)
        release = describe_release(workers, slots)
        if is_taking_over():
            logger.info("Reloaded: %s", changes(previous_release(), release))
        elif options["verbosity"] > 0:
            logs = "stderr" if shows_logs else "as LOGGING in your settings says"
            names = [service.name for service in wanted]
            period = options["grace_period"]
            items = banner(workers, server, names, logs=logs, grace_period=period)
            self._announce(items, is_json)
        self._warn(workers, is_json)
        account = self._run(slots, release, **options)
        logger.info("Stopped: %s", farewell(account))

    def _terminal(self, *, log_format: str, **options: Any) -> logging.Formatter | None:
        """Return the formatter for records on a terminal; None if stderr is none."""
        if log_format == "json" or not self.stderr.isatty():
            return None
        is_plain = options["no_color"]
        style = no_style() if is_plain else color_style(force_color=True)
        return TerminalFormatter(style, terminal_width)

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
        if any(worker.threads > 1 for worker in workers) and not get_backend_class().supports_slots:
            backend, _, _ = backend_settings()
            raise CommandError(
                f"GEARMAN_BACKEND is {backend!r}, whose processes run one job at a time. Leave out "
                "--threads, and the x of -q, or set GEARMAN_BACKEND = 'gearman'."
            )
        for worker in workers:
            functions_of(worker.jobs)
        conf.job_timeout()
        conf.middleware()
        use_backend()

    def _slots(
        self, processes: list[PlannedProcess], server: Options | None, **options: Any
    ) -> list[Slot]:
        limits = Limits(options["max_jobs"], options["max_memory"], options["max_lifetime"])
        own = {name: options[name] for name in ("name", "burst", "prefetch")}
        own |= {"lease": Lease(), "notice": pausing.begin(previous_descriptor(pausing.KEPT))}
        slots = [slot_of(server)] if server is not None else []
        for name, queues, threads in processes:
            prepare = partial(prepare_worker, limits, queues, threads=threads, **own)
            start = partial(_start, name, options["metrics"], prepare)
            cells = 1 if threads == 1 else threads + 1  # one more for a job that is arriving
            slots.append(Slot(name, start, cells=cells))
        return slots

    def _run(
        self, slots: list[Slot], release: Mapping[str, Any], *, metrics: Metrics, **options: Any
    ) -> Account:
        close_backends()
        close_shared()
        threads = max(slot.cells for slot in slots) - 1
        for warning in (*warnings_of_sharing(), *pool_warnings(threads)):
            logger.warning(warning)
        health = Health(options["health_file"])
        health.forget()
        if options["autoreload"]:
            reload_on_change()
        command = None
        if "gearman_worker" in sys.argv:  # not if another program has called this
            command = [sys.executable, *sys.orig_argv[1:]]
        notice = pausing.notice
        kept = {} if notice is None else {pausing.KEPT: notice.descriptor}
        metrics.open()
        supervisor = Supervisor(
            slots,
            grace_period=options["grace_period"],
            on_death=end_orphan,
            describe=describe,
            report=health,
            reload=Reload(command, ["--check"], slots, release, {**kept, **metrics.kept}),
            in_child=partial(_begin_process, metrics),
        )
        try:
            code = supervisor.run()
        finally:
            health.forget()
            metrics.close()
        if code:
            raise CommandError("the worker processes could not start", returncode=code)
        return supervisor.account

    def _warn(self, workers: list[GearmanWorker], is_json: bool) -> None:
        try:
            undeclared = undeclared_queues({job.queue for w in workers for job in w.jobs})
        except ImproperlyConfigured as error:  # this does not stop the worker
            warning = str_of(error, LONGEST_MESSAGE)
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

    def _announce(self, items: list[Item], is_json: bool) -> None:
        if is_json:
            for label, text, _ in items:
                logger.info("%s", f"{label}: {text}" if label else text)
            return
        for line, style in as_text(items, self.width):
            self.say(line, getattr(self.style, style, None))
        self.stdout.flush()


def _start(
    slot: str, metrics: Metrics, prepare: Start, scoreboard: Scoreboard, channel: socket.socket
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Prepare the worker of this process, with the slot's name for its records."""
    name_process(slot)
    metrics.begin_worker()
    return prepare(scoreboard, channel)


def _begin_process(metrics: Metrics, number: int) -> None:
    forget_shared()
    reseed()
    metrics.begin_process(number)
