"""The environment of this process: production, or a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any


class Environment:
    """Production."""

    #: Workers run in this process, so that they serve every job which is declared in it.
    workers_are_here = False

    #: Submissions go through `transport`, one after the other, and not to the servers directly.
    sees_submissions = False

    def settings(self, backend: Any, servers: Any, options: Any) -> tuple[Any, Any, Any]:
        """Return the values in place of GEARMAN_BACKEND, GEARMAN_SERVERS and GEARMAN_OPTIONS."""
        return backend, servers, options

    def transport(self, backend: Any, requests: Any = None) -> Any:
        """
        Return the backend to use in place of this one; raise if it must not be used.

        `requests` are those that are about to be submitted.
        """
        return backend

    def middleware(self, chain: Any) -> Any:
        """Return the chain in place of the project's middleware."""
        return chain

    def await_record(self, function: str, handle: str, timeout: float | None, looks: int) -> None:
        """Note that a client has looked `looks` times for the record of a job's end, without success."""

    def answers(self, job_name: str) -> bool:
        """Return True if the transport serves a job that is not declared in this process."""
        return False

    def around_call(self, requests: Any) -> AbstractContextManager[object]:
        """
        Return a context manager around submitting requests and waiting for them.

        It is used if this environment sees submissions.
        """
        raise NotImplementedError

    def on_commit(
        self, schedule: Callable[..., None], send: Callable[[], None], using: str | None
    ) -> None:
        """Make `schedule`, Django's own, call `send` when the transaction commits."""
        schedule(send, using=using)

    def is_in_transaction(self, connection: Any) -> bool:
        """
        Return True if this thread's database connection is in a transaction of the code that runs.

        This opens no connection.
        """
        if connection.in_atomic_block or connection.connection is not None:
            return connection.in_atomic_block or not connection.autocommit
        return not connection.settings_dict["AUTOCOMMIT"]


PRODUCTION = Environment()


def _production() -> Environment:
    return PRODUCTION


#: Returns the environment of all threads of this process.
current: Callable[[], Environment] = _production
_initial = current


@contextmanager
def replaced(by: Environment | Callable[[], Environment]) -> Iterator[None]:
    """Put an environment in place until the block ends; a callable is asked for it each time."""
    global current
    before, was_initial = current, current is _initial
    current = (lambda: by) if isinstance(by, Environment) else by
    try:
        yield
    finally:
        current = _initial if was_initial else before


def set_initial(provide: Callable[[], Environment]) -> None:
    """Set `provide` as the source of the environment until another one is installed."""
    global _initial, current
    if current is _initial:
        current = provide
    _initial = provide
