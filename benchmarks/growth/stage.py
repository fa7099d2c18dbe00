"""Servers, workers and a client for one point of a curve, and their processor time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from django_gearman.testing import GearmanServer
from django_gearman.testing.programs import installed_gearmand

from ..clients import Agent
from ..processes import Program, cpu_seconds
from ..servers import Gearmand
from ..systems import PYTHON
from . import OTHERS


@dataclass(frozen=True)
class Costs:
    """The processor time of a job, in microseconds, by who has spent it."""

    client: float
    server: float
    workers: float


class Stage:
    """
    A number of job servers with these options, a `gearman_worker` with processes, and a client.

    Without processes there is no worker. Each runs `threads` jobs at a time. `functions` are declared
    beside the client's own.
    """

    def __init__(
        self,
        *,
        servers: int = 1,
        options: Sequence[str] = (),
        processes: int = 1,
        threads: int = 1,
        functions: int = 0,
    ) -> None:
        self._counts = servers, processes
        self._options = options
        self._functions, self._threads = functions, threads

    def __enter__(self) -> Self:
        servers, processes = self._counts
        with ExitStack() as stack:
            program = installed_gearmand()
            running = [
                stack.enter_context(GearmanServer(*self._options, program=program))
                for _ in range(servers)
            ]
            environment = {
                "DJANGO_SETTINGS_MODULE": "benchmarks.growth.settings",
                "GEARMAN_SERVERS": ",".join(server.address for server in running),
                OTHERS: str(self._functions),
            }
            self._servers = [server.process.pid for server in running]
            self._workers: list[int] = []
            if processes:
                command: list[str | Path] = [
                    PYTHON,
                    "manage.py",
                    "gearman_worker",
                    f"--workers={processes}",
                    f"--threads={self._threads}",
                ]
                worker = stack.enter_context(Program(command, environment=environment))
                for server in running:
                    admin = Gearmand(server)
                    admin.wait_for_workers(processes)
                    admin.close()
                self._workers = [worker.pid]
            path = "benchmarks.growth.client:Client"
            self._client = stack.enter_context(Agent(PYTHON, path, environment))
            if processes:
                self._client.call("map", count=10)  # all are connected, and warm
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def run(self, method: str, **arguments: int) -> Costs:
        """Call a method of the client, with a `count` of jobs; return the costs of one job."""
        server, workers = cpu_seconds(*self._servers), cpu_seconds(*self._workers)
        client: float = self._client.call(method, **arguments)
        used = client, cpu_seconds(*self._servers) - server, cpu_seconds(*self._workers) - workers
        return Costs(*(each / arguments["count"] * 1e6 for each in used))
