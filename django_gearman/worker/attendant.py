"""
The services of the attendant, the process that `gearman_worker` runs beside its workers.

Optional parts of the library add theirs when Django starts. Without any, there is no such process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from django.db import close_old_connections, connections, reset_queries

from ..supervisor import Service, Slot, attendant_slot


class Command(NamedTuple):
    """The `gearman_worker` of this process: the queues that it serves, and its monotonic start time."""

    queues: tuple[str, ...] = ()
    began: float = 0.0


#: The command whose services run here.
command = Command()

_makers: dict[str, Callable[[], Service | None]] = {}


def add_service(name: str, make: Callable[[], Service | None]) -> None:
    """
    Add a service to the attendant of each `gearman_worker`; the same name replaces an earlier one.

    `make` is called once, when the command starts. It returns None if the settings ask for nothing,
    and may raise ImproperlyConfigured, which stops the command.
    """
    _makers[name] = make


def services(queues: Iterable[str] = ()) -> list[Service]:
    """Return the services that the settings ask for, for a worker of these queues."""
    global command
    command = Command(tuple(sorted(set(queues))), time.monotonic())
    made = [make() for make in _makers.values()]
    return [service for service in made if service is not None]


def attendant(wanted: Sequence[Service]) -> list[Slot]:
    """Return the slot of the attendant, if there is a service for it."""
    return [attendant_slot(wanted, tidy_connections)] if wanted else []


def tidy_connections(failed: bool) -> None:
    """Close this thread's database connections that are broken, too old, or suspect after an error."""
    reset_queries()
    if failed:
        connections.close_all()
    else:
        close_old_connections()
