"""
The few places where a test may stand between this library and the world.

Production runs with the `Instrumentation` below, which adds nothing. `django_gearman.testing`
replaces it, for as long as a test runs, in all threads: it is the whole of what tests change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backends.base import BaseBackend, JobSpec, Submission, WorkerSession
    from .client.request import JobRequest
    from .worker.execution import Run

_NOTHING: AbstractContextManager[object] = nullcontext()


class Instrumentation:
    """What happens between this library and the world; a subclass may see to it that other things do."""

    #: Workers run in this process, so that they serve every job which is declared in it.
    workers_are_here = False

    def transport(self, backend: Any, servers: Any, options: Any) -> tuple[Any, Any, Any]:
        """Return what stands for GEARMAN_BACKEND, GEARMAN_SERVERS and GEARMAN_OPTIONS."""
        return backend, servers, options

    def admit(self, backend: BaseBackend) -> None:
        """Raise if this transport may not be used."""

    def reach(self, backend: BaseBackend) -> None:
        """Raise if a client cannot ask this transport for something."""

    def answers(self, job_name: str) -> bool:
        """Whether somebody here serves a job that is not declared in this process."""
        return False

    def runs_in_caller(self, backend_class: type[BaseBackend]) -> bool:
        """Whether a client that waits for a job runs it itself, in its thread."""
        return backend_class.runs_in_caller

    def delivery(self, requests: Sequence[JobRequest]) -> AbstractContextManager[object]:
        """Return what is around everything that is done to submit requests and wait for them."""
        return _NOTHING

    def submit(self, backend: BaseBackend, requests: Sequence[JobRequest]) -> list[Submission]:
        """Hand requests to a transport."""
        return backend.submit([request.spec for request in requests])

    def returned(self, run: Run) -> None:
        """Called when a job's function has returned or raised, before anything is reported of it."""

    def on_commit(
        self, schedule: Callable[..., None], send: Callable[[], None], using: str | None
    ) -> None:
        """Have `schedule`, Django's own, call `send` when the transaction commits."""
        schedule(send, using=using)

    def register(
        self,
        backend: BaseBackend,
        make: Callable[[], WorkerSession],
        functions: Sequence[str] | None,
    ) -> WorkerSession:
        """Make a worker of a transport, for these functions (None: for any)."""
        return make()

    def retry(
        self, take: Callable[[Sequence[JobSpec]], list[Submission]], specs: Sequence[JobSpec]
    ) -> list[Submission]:
        """Hand jobs that asked to run again to a transport's `take`."""
        return take(specs)

    def job_retried(self, handle: str, next_handle: str, delay: float) -> None:
        """Note that a job's next attempt is queued, before the end of this one is reported."""

    def job_failed(self, handle: str, error: BaseException) -> None:
        """Note what a job of this process has raised, before its failure is reported."""


PRODUCTION = Instrumentation()
_initial: Callable[[], Instrumentation] = lambda: PRODUCTION  # noqa: E731 - it is replaced
_provide = _initial


def active() -> Instrumentation:
    """Return the instrumentation that is in force, in all threads of this process."""
    return _provide()


@contextmanager
def instrumented(by: Instrumentation | Callable[[], Instrumentation]) -> Iterator[None]:
    """Put an instrumentation in force until the block ends, or whatever one a callable returns."""
    global _provide
    before, was_initial = _provide, _provide is _initial
    _provide = (lambda: by) if isinstance(by, Instrumentation) else by
    try:
        yield
    finally:
        _provide = _initial if was_initial else before


def set_initial(provide: Callable[[], Instrumentation]) -> None:
    """Have `provide` say what is in force while nothing else was put in force."""
    global _initial, _provide
    if _provide is _initial:
        _provide = provide
    _initial = provide
