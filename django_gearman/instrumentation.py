"""
The few places where a test may stand between this library and the world.

Production runs with the `Instrumentation` below, which adds nothing. `django_gearman.testing`
replaces it, for as long as a test runs, in all threads: it is the whole of what tests change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import transaction

if TYPE_CHECKING:
    from .backends.base import BaseBackend, Submission, WorkerSession
    from .request import JobRequest


class Instrumentation:
    """What happens between this library and the world; a subclass may see to it that other things do."""

    def transport(self, backend: Any, servers: Any, options: Any) -> tuple[Any, Any, Any]:
        """Return what stands for GEARMAN_BACKEND, GEARMAN_SERVERS and GEARMAN_OPTIONS."""
        return backend, servers, options

    def admit(self, backend: BaseBackend) -> None:
        """Raise if this transport may not be used."""

    def answers(self, job_name: str) -> bool:
        """Whether somebody here serves a job that is not declared in this process."""
        return False

    def submit(self, backend: BaseBackend, requests: Sequence[JobRequest]) -> list[Submission]:
        """Hand requests to a transport."""
        self.admit(backend)
        return backend.submit([request.spec for request in requests])

    def on_commit(self, send: Callable[[], None], using: str | None) -> None:
        """Call `send` when the transaction of a database commits, and never if it rolls back."""
        transaction.on_commit(send, using=using)

    def register(
        self, backend: BaseBackend, functions: Sequence[str], client_id: str
    ) -> WorkerSession:
        """Become a worker of a transport."""
        self.admit(backend)
        return backend.register(functions, client_id)


_active = Instrumentation()


def active() -> Instrumentation:
    """Return the instrumentation that is in force, in all threads of this process."""
    return _active


@contextmanager
def instrumented(replacement: Instrumentation) -> Iterator[None]:
    """Put `replacement` in force until the block ends."""
    global _active
    before, _active = _active, replacement
    try:
        yield
    finally:
        _active = before
