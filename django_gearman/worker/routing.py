"""The workers of GEARMAN_WORKERS: the queues that they serve, and the jobs without a worker."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, load_command_class

from .. import conf
from ..jobs.registry import registry

#: Most jobs that a worker runs at a time.
MOST_THREADS = 10_000

_MOST_PROCESSES = 10_000
_NUMBERS = re.compile(r"([0-9]{1,18})(?:x([0-9]{1,18}))?", re.ASCII)


@dataclass(frozen=True)
class DeclaredWorker:
    """One element of GEARMAN_WORKERS; `queues` None means all, `threads` is the most of a process."""

    arguments: str
    queues: frozenset[str] | None
    threads: int = 1


def declared_workers() -> list[DeclaredWorker] | None:
    """
    Return the workers of GEARMAN_WORKERS, or None if it is not set.

    Raises ImproperlyConfigured for an element that is not a valid list of arguments of
    `gearman_worker`.
    """
    elements = conf.workers()
    return None if elements is None else [_read(element) for element in elements]


class PlannedProcess(NamedTuple):
    """A process of `gearman_worker`; `queues` None means all, `threads` is its jobs at a time."""

    name: str
    queues: list[str] | None
    threads: int = 1


def parse_processes(
    workers: int | None, queues: Sequence[str] | None, threads: int | None = None
) -> Iterator[PlannedProcess]:
    """
    Yield each process for -w, -q and --threads.

    Raises ValueError for invalid combinations.
    """
    usual = _limited("--threads", threads or 1, MOST_THREADS, "jobs at a time in a process")
    read = [_parse_queue(queue) for queue in queues or ()]
    shared = [each.queue for each in read if each.processes is None]
    own: Counter[tuple[str, int]] = Counter()
    for each in read:
        own[each.queue, each.threads or usual] += each.processes or 0
    if shared or not read:
        _limited("-w", workers or 1, _MOST_PROCESSES, "processes")
        for n in range(1, (workers or 1) + 1):
            yield PlannedProcess(f"worker {n}", shared or None, usual)
    elif workers is not None:
        own_number = f"{read[0].queue}:{read[0].processes}"
        raise ValueError(
            f"-w {workers} cannot be combined with -q {own_number}, which has a number of processes of "
            f"its own. Use -w {workers} with plain -q options, whose queues share these processes, or "
            "give every -q its number"
        )
    numbers: Counter[str] = Counter()
    for (queue, own_threads), number in own.items():
        for _ in range(number):
            numbers[queue] += 1
            yield PlannedProcess(f"worker {queue} {numbers[queue]}", [queue], own_threads)


class _Queue(NamedTuple):
    """A -q argument; None where it has no number."""

    queue: str
    processes: int | None = None
    threads: int | None = None


def _parse_queue(text: str) -> _Queue:
    """
    Return the queue of a -q argument, with the numbers of its separate processes, and of their jobs
    at a time.

    It is "name", "name:4" or "name:4x20". Raises ValueError unless the numbers are above 0.
    """
    name, colon, number = text.rpartition(":")
    if not (colon and (found := _NUMBERS.fullmatch(number))):
        queues = registry.queues()
        if colon and text not in queues and (name in queues or name == "*"):
            raise ValueError(
                f"-q {text}: {number!r} is not a number of processes, like {name}:2, or of processes "
                f"with several jobs each, like {name}:2x20"
            )
        return _Queue(text)
    processes, threads = (None if each is None else int(each) for each in found.groups())
    if not processes:
        raise ValueError(f"-q {text}: N must be at least 1, as a queue has 1 process or more")
    _limited(f"-q {text}", processes, _MOST_PROCESSES, "processes")
    if threads == 0:
        raise ValueError(f"-q {text}: T must be at least 1, as a process runs 1 job or more")
    _limited(f"-q {text}", threads or 1, MOST_THREADS, "jobs at a time in a process")
    return _Queue(name, processes, threads)


def _limited(option: str, number: int, most: int, what: str) -> int:
    if number > most:
        raise ValueError(f"{option}: {number} is too many; the limit is {most} {what}")
    return number


def _read(element: str) -> DeclaredWorker:
    parser = load_command_class("django_gearman", "gearman_worker").create_parser(
        "", "gearman_worker"
    )
    try:
        given = parser.parse_args(shlex.split(element))
        processes = [*parse_processes(given.workers, given.queues, given.threads)]
    except (CommandError, ValueError, SystemExit) as error:  # SystemExit: --help, --version
        raise ImproperlyConfigured(
            f"GEARMAN_WORKERS: {element!r} is not what gearman_worker takes, like '-w 5 -q mail': "
            f"{error}"
        ) from error
    queues = frozenset[str]().union(*(each.queues or ["*"] for each in processes))
    threads = max(each.threads for each in processes)
    return DeclaredWorker(element, None if "*" in queues else queues, threads)


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
