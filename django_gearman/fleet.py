"""The workers that GEARMAN_WORKERS declares: what each serves, and what none of them does."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from typing import NoReturn

from django.core.exceptions import ImproperlyConfigured

from . import conf
from .registry import registry


def add_worker_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command `gearman_worker`."""
    parser.add_argument(
        "-w",
        "--workers",
        type=_positive,
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


def _positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes; use 1 or more")
    return number


@dataclass(frozen=True)
class DeclaredWorker:
    """One element of GEARMAN_WORKERS; `queues` None serves all."""

    arguments: str
    queues: frozenset[str] | None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ImproperlyConfigured(message)


def declared_workers() -> list[DeclaredWorker] | None:
    """
    Return what GEARMAN_WORKERS declares, None when it is not set.

    Raises ImproperlyConfigured for an element that is no list of arguments of `gearman_worker`.
    """
    elements = conf.workers()
    return None if elements is None else [_read(element) for element in elements]


def _read(element: str) -> DeclaredWorker:
    parser = _Parser(add_help=False)
    add_worker_arguments(parser)
    try:
        queues = parser.parse_args(shlex.split(element)).queues
    except (ImproperlyConfigured, ValueError) as error:
        raise ImproperlyConfigured(
            f"GEARMAN_WORKERS: {element!r} is not what gearman_worker takes, like '-w 5 -q mail': "
            f"{error}"
        ) from error
    return DeclaredWorker(element, None if not queues or "*" in queues else frozenset(queues))


def routing_errors() -> list[str]:
    """
    Return a line for each job that no declared worker serves, and for each worker that serves nothing.

    None where GEARMAN_WORKERS is not set.
    """
    workers = declared_workers()
    if workers is None:
        return []
    errors = []
    served = {queue for worker in workers for queue in worker.queues or registry.queues()}
    for queue, jobs in registry.queues().items():
        if queue not in served:
            those = ", ".join(sorted(served)) or "no queue"
            errors += [
                f"job {job.name} -> queue {queue}: no worker serves it; workers serve: {those}"
                for job in jobs
            ]
    for worker in workers:
        try:
            registry.select(worker.queues)
        except ValueError as error:
            errors.append(f"worker {worker.arguments!r} cannot start: {error}")
    return errors


def undeclared_queues(queues: set[str]) -> list[str]:
    """Return those of the queues that no worker in GEARMAN_WORKERS serves; none where it is not set."""
    workers = declared_workers()
    if workers is None or any(worker.queues is None for worker in workers):
        return []
    return sorted(queues.difference(*(worker.queues or () for worker in workers)))
