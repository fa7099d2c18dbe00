"""
Dropping the queued jobs of a function.

gearmand has no command for that: "drop function" leaves jobs that no worker ever gets, and clients
that wait forever. So a worker takes the jobs and fails them, as any worker may. Their clients get
the error, and a queue on disk forgets them. Running jobs are not touched.

gearmand gives no client a delayed job before its time. The included server has a command for these.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from ..backends import use_backend
from ..backends.opening import open_connection
from ..exceptions import BackendError, ConnectionLost, JobFailed, ServerUnavailable
from ..protocol.address import ServerAddress
from ..protocol.names import delayed_function
from ..serializers.failures import dump_error
from ..utils.clock import monotonic
from ..worker.reporting import report_failure
from .servers import ServerState, queued_of

_IDLE_SECONDS = 0.2  # for a server's answer to a new worker
_REASON = "gearman_purge has dropped this job from the queue"


@dataclass(frozen=True)
class Waiting:
    """The jobs of a function that wait at a server, `delayed` of them for their time."""

    function: str
    server: ServerAddress
    queued: int
    delayed: int
    running: int
    workers: int

    @property
    def number(self) -> int:
        return self.queued + self.delayed


def waiting_at(state: ServerState) -> list[Waiting]:
    """Return the functions of a server, each with the number of its jobs."""
    return [
        Waiting(
            each.function,
            state.address,
            queued_of(each),
            each.delayed,
            each.running,
            each.workers,
        )
        for each in state.functions
    ]


def drop(waiting: Waiting, timeout: float) -> int:
    """
    Drop these jobs, and no more than these; return their number.

    Raises BackendError if the server does not answer for `timeout` seconds.
    """
    dropped = _take_and_fail(waiting, timeout)
    if waiting.delayed and dropped < waiting.number:
        dropped += _ask_to_purge(waiting, timeout)
    return dropped


def _take_and_fail(waiting: Waiting, timeout: float) -> int:
    session = use_backend([waiting.server]).register([waiting.function], "gearman_purge")
    reason = dump_error(JobFailed(_REASON), with_traceback=False)
    dropped, answered_at = 0, monotonic()
    with closing(session):
        while dropped < waiting.number:
            was_known = session.is_known
            job = session.grab_job(0 if was_known else _IDLE_SECONDS)
            if job is not None:
                try:
                    report_failure(job, session, reason)
                    dropped += 1
                except ConnectionLost:  # the server has queued it again
                    continue
                answered_at = monotonic()
            elif was_known and session.is_known:
                break
            elif monotonic() - answered_at > timeout:
                raise ServerUnavailable(
                    f"job server {waiting.server} did not answer in {timeout:g} s; {dropped} jobs of "
                    f"{waiting.function} were dropped there"
                )
    return dropped


def _ask_to_purge(waiting: Waiting, timeout: float) -> int:
    """Ask the included server to drop delayed jobs; return 0 if it is another server."""
    if len(waiting.function.split()) != 1:  # the command cannot name it
        return 0
    number = 0
    with closing(open_connection(waiting.server, connect_timeout=timeout)) as connection:
        for name in (delayed_function(waiting.function), waiting.function):
            status, _, text = connection.ask(f"purge {name}", timeout, is_line=True).partition(" ")
            number += int(text) if status == "OK" and text.strip().isdigit() else 0
    return number


def drop_all(jobs: list[Waiting], timeout: float) -> tuple[dict[str, int], list[BackendError]]:
    """Drop these jobs; return the number for each function, and the errors of servers."""
    dropped: dict[str, int] = {}
    errors = []
    for waiting in jobs:
        try:
            number = drop(waiting, timeout)
        except BackendError as error:
            errors.append(error)
            number = 0
        dropped[waiting.function] = dropped.get(waiting.function, 0) + number
    return dropped, errors
