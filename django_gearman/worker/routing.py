"""The workers of GEARMAN_WORKERS: the queues that they serve, and the jobs without a worker."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, load_command_class

from .. import conf
from ..jobs.registry import registry


@dataclass(frozen=True)
class DeclaredWorker:
    """One element of GEARMAN_WORKERS; `queues` None means all."""

    arguments: str
    queues: frozenset[str] | None


def declared_workers() -> list[DeclaredWorker] | None:
    """
    Return the workers of GEARMAN_WORKERS, or None if it is not set.

    Raises ImproperlyConfigured for an element that is not a valid list of arguments of
    `gearman_worker`.
    """
    elements = conf.workers()
    return None if elements is None else [_read(element) for element in elements]


def parse_processes(
    workers: int | None, queues: Sequence[str] | None
) -> Iterator[tuple[str, list[str] | None]]:
    """
    Yield the name and the queues of each process for -w and -q; None for all queues.

    Raises ValueError for invalid combinations.
    """
    read = [_parse_queue(queue) for queue in queues or ()]
    shared = [queue for queue, number in read if number is None]
    own: Counter[str] = Counter()
    for queue, number in read:
        own[queue] += number or 0
    if shared or not read:
        for n in range(1, (workers or 1) + 1):
            yield f"worker {n}", shared or None
    elif workers is not None:
        own_number = f"{read[0][0]}:{read[0][1]}"
        raise ValueError(
            f"-w {workers} cannot be combined with -q {own_number}, which has a number of processes of "
            f"its own. Use -w {workers} with plain -q options, whose queues share these processes, or "
            "give every -q its number"
        )
    for queue, number in own.items():
        for n in range(1, number + 1):
            yield f"worker {queue} {n}", [queue]


def _parse_queue(text: str) -> tuple[str, int | None]:
    """
    Return the queue of a -q argument, and its number of separate processes.

    It is "name" or "name:4". Raises ValueError unless the number is above 0.
    """
    name, colon, number = text.rpartition(":")
    if not (colon and number.isascii() and number.isdigit()):
        queues = registry.queues()
        if colon and text not in queues and (name in queues or name == "*"):
            raise ValueError(f"-q {text}: {number!r} is not a number of processes, like {name}:2")
        return text, None
    if int(number) < 1:
        raise ValueError(f"-q {text}: N must be at least 1, as a queue has 1 process or more")
    return name, int(number)


def _read(element: str) -> DeclaredWorker:
    parser = load_command_class("django_gearman", "gearman_worker").create_parser(
        "", "gearman_worker"
    )
    try:
        given = parser.parse_args(shlex.split(element))
        served = [queues or ["*"] for _, queues in parse_processes(given.workers, given.queues)]
    except (CommandError, ValueError, SystemExit) as error:  # SystemExit: --help, --version
        raise ImproperlyConfigured(
            f"GEARMAN_WORKERS: {element!r} is not what gearman_worker takes, like '-w 5 -q mail': "
            f"{error}"
        ) from error
    queues = frozenset().union(*served)
    return DeclaredWorker(element, None if "*" in queues else queues)


def routing_errors() -> list[str]:
    """
    Return a line for each job without a declared worker, and for each worker that cannot start.

    There are none if GEARMAN_WORKERS is not set.
    """
    workers = declared_workers()
    if workers is None:
        return []
    errors = []
    for worker in workers:
        try:
            registry.select(worker.queues and sorted(worker.queues))
        except ValueError as error:
            errors.append(f"worker {worker.arguments!r} cannot start: {error}")
    served = {queue for worker in workers for queue in worker.queues or registry.queues()}
    for queue, jobs in registry.queues().items():
        if queue not in served:
            those = ", ".join(sorted(served)) or "no queue"
            errors += [
                f"job {job.name} -> queue {queue}: no worker serves it; workers serve: {those}"
                for job in jobs
            ]
    return errors


def undeclared_queues(queues: set[str]) -> list[str]:
    """Return the queues that no worker in GEARMAN_WORKERS serves; none if it is not set."""
    workers = declared_workers()
    if workers is None or any(worker.queues is None for worker in workers):
        return []
    return sorted(queues.difference(*(worker.queues or () for worker in workers)))
