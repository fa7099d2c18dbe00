"""The workers that GEARMAN_WORKERS declares: what each serves, and what none of them does."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, load_command_class

from . import conf
from .registry import registry


@dataclass(frozen=True)
class DeclaredWorker:
    """One element of GEARMAN_WORKERS; `queues` None serves all."""

    arguments: str
    queues: frozenset[str] | None


def declared_workers() -> list[DeclaredWorker] | None:
    """
    Return what GEARMAN_WORKERS declares, None when it is not set.

    Raises ImproperlyConfigured for an element that is no list of arguments of `gearman_worker`.
    """
    elements = conf.workers()
    return None if elements is None else [_read(element) for element in elements]


def read_queue(text: str) -> tuple[str, int | None]:
    """
    Return the queue that an argument of -q names, and how many processes it has of its own.

    That is "name" or "name:4". Raises ValueError for a number of processes below 1.
    """
    name, colon, number = text.rpartition(":")
    if not (colon and number.isascii() and number.isdigit()):
        return text, None
    if int(number) < 1:
        raise ValueError(f"-q {text}: a queue has 1 process or more")
    return name, int(number)


def _read(element: str) -> DeclaredWorker:
    parser = load_command_class("django_gearman", "gearman_worker").create_parser(
        "", "gearman_worker"
    )
    try:
        given = parser.parse_args(shlex.split(element)).queues
        queues = [read_queue(queue)[0] for queue in given or ()]
    except (CommandError, ValueError, SystemExit) as error:  # SystemExit: --help, --version
        raise ImproperlyConfigured(
            f"GEARMAN_WORKERS: {element!r} is not what gearman_worker takes, like '-w 5 -q mail': "
            f"{error}"
        ) from error
    return DeclaredWorker(element, None if not queues or "*" in queues else frozenset(queues))


def routing_errors() -> list[str]:
    """
    Return a line for each job that no declared worker serves, and for each worker that cannot start.

    There are none where GEARMAN_WORKERS is not set.
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
