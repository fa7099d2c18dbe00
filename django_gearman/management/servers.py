"""The job servers' state, as the commands show it: functions, workers and jobs without a worker."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.core.management.base import CommandError

from .. import conf
from ..backends import backend_settings, get_backend_class, parse_servers, use_backend
from ..backends.base import FunctionStatus, ServerAnswer, WorkerStatus
from ..backends.reach import at_once
from ..exceptions import BackendError
from ..jobs.definition import JobDefinition
from ..protocol.address import ServerAddress
from ..protocol.names import CONTROL
from ..utils.clock import monotonic
from ..utils.text import str_of
from ..utils.waiting import submit_by
from ..worker import pausing


@dataclass(frozen=True)
class ServerState:
    """The state of one server; with an `error` it is down, or its answer is incomplete."""

    address: ServerAddress
    answer: ServerAnswer = field(default_factory=ServerAnswer)
    functions: Sequence[FunctionStatus] = ()
    workers: Sequence[WorkerStatus] = ()
    error: BackendError | None = None


def server_states(timeout: float) -> list[ServerState]:
    """
    Ask every server of GEARMAN_SERVERS at the same time, each for at most `timeout` seconds.

    Raises InvalidBackend for wrong settings, and CommandError for a backend without job servers.
    """
    backend, servers, _ = backend_settings()
    if get_backend_class().local:
        raise CommandError(
            f"GEARMAN_BACKEND is {backend!r}: there is no job server to ask. "
            "Set GEARMAN_BACKEND = 'gearman'."
        )
    asked = {each: partial(_ask, each, timeout) for each in parse_servers(servers)}
    return [*at_once(asked).values()]


def _ask(address: ServerAddress, timeout: float) -> ServerState:
    token = submit_by.set(monotonic() + timeout)
    answer, functions = ServerAnswer(), list[FunctionStatus]()
    try:
        backend = use_backend([address])
        functions = [each for each in backend.functions() if CONTROL not in each.function]
        workers = [each for each in backend.workers() if not _is_control(each)]
        answer = backend.probe(timeout).get(str(address), answer)
        return ServerState(address, answer, functions, workers, answer.error)
    except BackendError as error:
        return ServerState(address, answer, functions, (), error)
    finally:
        submit_by.reset(token)


def _is_control(worker: WorkerStatus) -> bool:
    """Return True for a part of a gearman_worker that answers commands, and runs no jobs."""
    return all(CONTROL in function for function in worker.functions)


def paused_queues() -> tuple[Mapping[str, pausing.Pause], str]:
    """Return the paused queues; or none, and the reason why they cannot be read."""
    if pausing.find is None:
        return {}, ""
    try:
        return pausing.find(), ""
    except Exception as error:  # noqa: BLE001 - of the database; the servers are shown without it
        return {}, f"Cannot read which queues are paused: {str_of(error)}"


@dataclass
class Row:
    """
    One function over all servers; `unserved_on` are the servers where only workers lack.

    The workers of a paused queue do not serve it.
    """

    function: str
    job: JobDefinition | None
    queued: int = 0
    delayed: int = 0
    running: int = 0
    workers: int = 0
    unserved_on: list[str] = field(default_factory=list)
    is_paused: bool = False

    @property
    def is_ours(self) -> bool:
        return self.job is not None or conf.is_external(self.function)

    @property
    def is_idle(self) -> bool:
        return not (self.queued or self.delayed or self.running or self.workers)

    @property
    def queue(self) -> str:
        if self.job is not None:
            return self.job.queue
        return "external" if self.is_ours else "unknown"

    @property
    def waiting(self) -> int:
        return self.queued + self.delayed

    def add(self, status: FunctionStatus) -> None:
        self.queued += queued_of(status)
        self.delayed += status.delayed
        self.running += status.running
        self.workers = max(self.workers, status.workers)  # a worker is connected to every server
        if is_unserved(status) and not self.is_paused:
            self.unserved_on.append(status.server)


def rows_of(
    states: Iterable[ServerState], jobs: dict[str, JobDefinition], paused: Collection[str] = ()
) -> list[Row]:
    """
    Return the functions of all servers: first those with jobs and without a worker, the most jobs
    first; then those of this project by queue; then the others.
    """
    rows: dict[str, Row] = {}
    for state in states:
        for status in state.functions:
            row = rows.setdefault(status.function, Row(status.function, jobs.get(status.function)))
            row.is_paused = row.job is not None and row.job.queue in paused
            row.add(status)

    def order(row: Row) -> tuple[object, ...]:
        if row.unserved_on:
            return 0, -row.waiting, row.function
        return 1, not row.is_ours, row.queue, row.function

    return sorted(rows.values(), key=order)


def queued_of(status: FunctionStatus) -> int:
    """Return the number of jobs that wait for a worker, without delayed ones."""
    return max(0, status.total - status.running - status.delayed)


def is_unserved(status: FunctionStatus) -> bool:
    """Return True if jobs wait at a server, and no worker there takes them."""
    return status.workers == 0 and status.total > status.running


def as_json(
    state: ServerState, jobs: dict[str, JobDefinition], paused: Collection[str] = ()
) -> dict[str, Any]:
    """Return a server's state in values for JSON."""
    functions = []
    for status in state.functions:
        job = jobs.get(status.function)
        is_paused = job is not None and job.queue in paused
        functions.append(
            {
                "function": status.function,
                "job": job and job.name,
                "queue": job and job.queue,
                "queued": queued_of(status),
                "delayed": status.delayed,
                "running": status.running,
                "workers": status.workers,
                "unserved": is_unserved(status) and not is_paused,
                "paused": is_paused,
            }
        )
    workers = [
        {"address": each.address, "client_id": each.client_id, "functions": [*each.functions]}
        for each in state.workers
    ]
    return {**server_as_json(str(state.address), state.answer, state.error)} | {
        "functions": functions,
        "workers": workers,
    }


def server_as_json(
    address: str, answer: ServerAnswer, error: BackendError | None
) -> dict[str, Any]:
    """Return a server's answer in values for JSON."""
    return {
        "server": address,
        "software": answer.software,
        "seconds": answer.seconds and round(answer.seconds, 6),
        "error": None if error is None else str(error),
    }
