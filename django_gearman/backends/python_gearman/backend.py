"""
"python-gearman": real job servers, over the python-gearman bindings (`import gearman`).

The other modules of this package correct the bindings, pygearman 0.2.6. What is not corrected:
they know no delayed jobs, and their TLS wants a client certificate and waits in a busy loop. Handles
are those of the "gearman" transport, and equal uniques meet at the same server from both.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import gearman  # type: ignore[import-untyped]
from gearman import errors

from ...exceptions import BackendError, ConnectionLost, InvalidBackend, ServerUnavailable
from ...protocol.address import ServerAddress
from ...protocol.names import split_handle
from ...utils.clock import monotonic
from ...utils.interrupts import brief
from ...utils.waiting import submit_by
from ..base import (
    BaseBackend,
    FunctionStatus,
    JobSpec,
    JobStatus,
    ServerAnswer,
    Submission,
    UnsentSubmission,
    WorkerSession,
    WorkerStatus,
)
from ..opening import ping_all, probe_all
from ..remote import (
    batches,
    check_options,
    function_rows,
    rank,
    servers_standing,
    unavailable,
    worker_rows,
)
from ..specs import check_specs
from .bindings import Connection, Manager
from .client import AdminClient, BoundSubmission, ClientHandler
from .worker import BoundWorkerSession

_OTHERS = "gearman", "gearman3", "python3-gearman"  # distributions that install the same modules
_DOWN_SECONDS = 10.0  # for which an unreachable server is passed over


def check_bindings() -> None:
    """
    Raise InvalidBackend if other bindings are installed too: they overwrite each other's modules.
    """
    found = []
    for name in _OTHERS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(metadata.distribution(name).name)
    if found:
        raise InvalidBackend(
            f"GEARMAN_BACKEND is 'python-gearman', which needs pygearman, but {' and '.join(found)} is "
            "installed, whose modules have the same name; uninstall both, and install pygearman again: "
            f"pip uninstall {' '.join(found)} pygearman, then "
            "pip install django-gearman[python-gearman]"
        )


check_bindings()


def _remaining() -> float | None:
    """Return the remaining seconds of a submission; None without a limit."""
    limit = submit_by.get()
    return None if limit is None else max(0.0, limit - monotonic())


class PythonGearmanBackend(Manager, gearman.GearmanClient, BaseBackend):  # type: ignore[misc]
    """
    Real job servers, with python-gearman.

    A job's unique chooses its server. While that is down, the next one serves. `reply_timeout`
    limits a server's silence after a request. After `status_interval` without news, a waiting
    client checks that its job still exists. Both are in seconds.
    """

    supports_delayed = False
    command_handler_class = ClientHandler

    def __init__(
        self,
        servers: Sequence[ServerAddress],
        *,
        connect_timeout: float = 5.0,
        reply_timeout: float = 10.0,
        status_interval: float = 5.0,
    ) -> None:
        check_options(
            {
                "connect_timeout": connect_timeout,
                "reply_timeout": reply_timeout,
                "status_interval": status_interval,
            }
        )
        if any(server.tls is not None for server in servers):
            raise InvalidBackend(
                "python-gearman has no TLS that works; use GEARMAN_BACKEND = 'gearman', or "
                "GEARMAN_SERVERS without 'tls'"
            )
        super().__init__(servers, connect_timeout, reply_timeout)
        self._servers = list(dict.fromkeys(servers))
        self.status_interval = status_interval

    @brief
    def submit(self, specs: Sequence[JobSpec]) -> list[Submission]:
        check_specs(specs)
        if any(spec.run_at is not None for spec in specs):
            raise BackendError(
                "python-gearman has no delayed jobs; use GEARMAN_BACKEND = 'gearman'"
            )
        requests = [BoundSubmission(self, spec) for spec in specs]
        submissions: list[Submission] = []
        self._refresh()
        for batch in batches(requests, [len(spec.workload) for spec in specs]):
            try:
                with contextlib.suppress(errors.ServerUnavailable):  # each has it as .error
                    self.wait_until_jobs_accepted(batch, _remaining())
            except ServerUnavailable as error:  # it broke with an earlier batch
                if not submissions:
                    raise
                return submissions + [UnsentSubmission(error) for _ in specs[len(submissions) :]]
            for request in batch:
                if request.timed_out and request.error is None:
                    request.lose(ConnectionLost("no job server has answered in the time given"))
            submissions += batch
        return submissions

    def _refresh(self) -> None:
        """Read what has arrived, to learn which servers have hung up."""
        with contextlib.suppress(errors.ServerUnavailable):
            self.poll_connections_until_stopped(self.connection_list, lambda _: True, 0)

    def establish_request_connection(self, current_request: BoundSubmission) -> Connection:
        """Choose a job's server: equal uniques get the same one, and failed servers come last."""
        unique = current_request.unique or str(monotonic())

        def preference(connection: Connection) -> tuple[bool, bytes]:
            passed_over = servers_standing.passed_over(connection.server, _DOWN_SECONDS)
            return passed_over, rank(unique, connection.server)

        return self._reach_one(sorted(self.connection_list, key=preference), "submit the job")

    def _reach_one(self, connections: Sequence[Connection], purpose: str) -> Connection:
        reasons: list[object] = []
        for connection in connections:
            began, remaining = monotonic(), _remaining()
            if remaining == 0.0:
                reasons.append(f"job server {connection.server}: not tried, as the time was up")
                continue
            connection.connect_timeout = min(self.connect_timeout, remaining or math.inf)
            try:
                self.establish_connection(connection)
            except errors.ConnectionError:
                servers_standing.failed(connection.server, monotonic() - began)
                reasons.append(connection.error)
            else:
                servers_standing.answered(connection.server)
                return connection
        raise unavailable(purpose, reasons)

    def wait(
        self, handler: ClientHandler, ready: Callable[[], bool], until: float = math.inf
    ) -> bool:
        """
        Wait until `ready()` or the given monotonic time; return `ready()`.

        Raises the BackendError that broke the handler's connection.
        """
        timeout = None if until == math.inf else max(0.0, until - monotonic())
        with contextlib.suppress(errors.ServerUnavailable):
            self.poll_connections_until_stopped(
                self.connection_list, lambda _: handler.lost is None and not ready(), timeout
            )
        if handler.lost is not None and not ready():
            raise handler.lost.with_traceback(None)
        return ready()

    def job_status(self, handle: str) -> JobStatus:
        by_address = {connection.server: connection for connection in self.connection_list}
        address, own_handle = split_handle(handle, by_address)
        self._refresh()
        with self.lock:
            connection = self._reach_one([by_address[address]], f"ask about job {handle}")
            handler = self.connection_to_handler_map[connection]
        answer = self.ask_status(handler, own_handle)
        self.wait(handler, lambda: bool(answer))
        return answer[0]

    def ask_status(self, handler: ClientHandler, own_handle: bytes) -> list[JobStatus]:
        """Ask for a job's status, and wait until it is in the list."""
        with self.lock:
            return handler.send_get_status(own_handle)

    def functions(self) -> list[FunctionStatus]:
        return function_rows(
            (address, row["task"], row["queued"], row["running"], row["workers"])
            for address, row in self._ask_all(AdminClient.get_status)
        )

    def workers(self) -> list[WorkerStatus]:
        return worker_rows(
            (address, row["ip"], row["client_id"], row["tasks"])
            for address, row in self._ask_all(AdminClient.get_workers)
        )

    def _ask_all(
        self, question: Callable[[AdminClient], Sequence[dict[str, Any]]]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the rows of every server's answer, each with the server's address."""
        for server in self._servers:
            admin = AdminClient([server], self.connect_timeout, self.reply_timeout)
            try:
                yield from ((str(server), row) for row in question(admin))
            except errors.GearmanError as error:
                reason = admin.current_connection.error
                if isinstance(reason, ConnectionLost):
                    reason = ServerUnavailable(str(reason))
                raise reason from error
            finally:
                admin.shutdown()

    def register(
        self, functions: Sequence[str], client_id: str = "", slots: int = 1
    ) -> WorkerSession:
        return BoundWorkerSession(
            functions, client_id, self._servers, self.connect_timeout, self.reply_timeout
        )

    def ping(self, timeout: float) -> Mapping[str, BackendError | None]:
        return ping_all(self._servers, timeout)

    def probe(self, timeout: float) -> Mapping[str, ServerAnswer]:
        return probe_all(self._servers, timeout)

    def close(self) -> None:
        with self.lock:
            for connection in self.connection_list:
                connection.error = ConnectionLost(
                    f"the connection to job server {connection.server} was closed"
                )
                self.handle_error(connection)
