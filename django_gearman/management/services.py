"""Commands that run a service of the attendant alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.core.management.base import CommandError

from .. import environment
from ..backends import backend_settings, get_backend_class
from ..supervisor import Attendant, Service
from ..worker.attendant import tidy_connections


def run_services(services: Sequence[Service]) -> None:
    """Run services in this process until SIGTERM or SIGINT."""
    attendant = Attendant(services, None, tidy_connections)
    with _stopping(attendant):
        attendant.run()


@contextmanager
def _stopping(attendant: Attendant) -> Iterator[None]:
    before = {
        number: signal.signal(number, lambda *_: attendant.stop())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_servers() -> None:
    """Raise CommandError if jobs never leave the process that submits them, except in a test."""
    if environment.current() is environment.PRODUCTION and get_backend_class().local:
        backend, _, _ = backend_settings()
        raise CommandError(
            f"GEARMAN_BACKEND is {backend!r}, whose jobs never leave the process that submits them. "
            "Set GEARMAN_BACKEND = 'gearman'."
        )
