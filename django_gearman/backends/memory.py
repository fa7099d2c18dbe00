"""
"memory": a job server inside this process, which all its threads share; see `backends.memory_server`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from ..exceptions import ServerError
from ..protocol.address import ServerAddress
from .base import (
    BaseBackend,
    FunctionStatus,
    JobSpec,
    JobStatus,
    Submission,
    UnsentSubmission,
    WorkerStatus,
)
from .memory_server import MemoryServer, MemorySubmission, MemoryWorkerSession
from .specs import check_specs

_servers: dict[str, MemoryServer] = {}
_servers_lock = threading.Lock()


def forget_servers() -> None:
    """Have backends that are made from now on begin with new, empty servers."""
    with _servers_lock:
        _servers.clear()


class MemoryBackend(BaseBackend):
    """
    A job server inside this process: the one that all backends of this `name` share.

    `max_queued` limits the jobs of each function, as gearmand's `maxqueue` does.
    """

    local = True

    def __init__(
        self,
        servers: Sequence[ServerAddress] = (),
        *,
        name: str = "memory",
        max_queued: int | None = None,
    ) -> None:
        with _servers_lock:
            self.server = _servers.setdefault(name, MemoryServer(name))
        self.max_queued = max_queued

    def submit(self, specs: Sequence[JobSpec]) -> list[Submission]:
        check_specs(specs)
        return [self._take(spec) for spec in specs]

    def _take(self, spec: JobSpec) -> Submission:
        submission = MemorySubmission(self.server, self, spec)
        try:
            self.server.submit(submission, spec, self.max_queued)
            return submission
        except ServerError as error:
            return UnsentSubmission(error)

    def job_status(self, handle: str) -> JobStatus:
        if not handle.startswith(f"{self.server.name}//"):
            raise ValueError(f"{handle!r} is not the handle of a job on {self.server.name}")
        return self.server.status(handle)

    def functions(self) -> list[FunctionStatus]:
        return self.server.functions()

    def workers(self) -> list[WorkerStatus]:
        return self.server.workers()

    def register(self, functions: Sequence[str], client_id: str = "") -> MemoryWorkerSession:
        return MemoryWorkerSession(self.server, functions, client_id)

    def close(self) -> None:
        self.server.hang_up(self)
