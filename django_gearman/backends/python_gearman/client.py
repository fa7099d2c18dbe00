"""
The client of the python-gearman bindings, corrected: jobs submitted over one connection.

The bindings hold requests weakly, and one for each handle, so late results and merged jobs raise
KeyError. They do not understand ERROR and WORK_EXCEPTION packets, nor the NUL that gearmand adds to
a handle. Their admin client compares bytes with str, and fails for a client id with a space.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import gearman  # type: ignore[import-untyped]
from gearman import protocol

from ...exceptions import BackendError
from ...protocol.admin import parse_status, parse_workers
from ...protocol.names import full_handle, wire_unique
from ...protocol.packets import to_bytes, to_number, to_text
from ..base import JobSpec, JobStatus, Priority, WorkStatus, refusal
from ..remote import WaitingSubmission, deliver_update
from .bindings import UPDATES, Connection, Manager


class Client(Protocol):
    """The backend, as a submission needs it."""

    status_interval: float

    def ask_status(self, handler: ClientHandler, own_handle: bytes) -> list[JobStatus]: ...

    def wait(self, handler: ClientHandler, ready: Callable[[], bool], until: float) -> bool: ...


class ClientHandler(gearman.client_handler.GearmanClientCommandHandler):  # type: ignore[misc]
    """The expectations of a client from one connection, until that is `lost`."""

    lost: BackendError | None = None

    def initial_state(self) -> None:
        self.connection: Connection = self.connection_manager.handler_to_connection_map[self]
        self.handle_to_request_map: dict[bytes, list[BoundSubmission]] = {}
        self._queries: deque[list[JobStatus]] = deque()

    @property
    def waiting(self) -> bool:
        return bool(self.requests_awaiting_handles or self._queries)

    def send_job_request(self, current_request: BoundSubmission) -> None:
        super().send_job_request(current_request)
        current_request.handler = self
        current_request.job.data = None  # it may be large, and is in the packet

    def send_get_status(self, own_handle: bytes) -> list[JobStatus]:
        """Ask for a job's status, which will be added to the list."""
        answer: list[JobStatus] = []
        if self.lost is None:
            self.send_command(protocol.GEARMAN_COMMAND_GET_STATUS, job_handle=own_handle)
            self._queries.append(answer)
        return answer

    def on_io_error(self) -> None:
        self.lost = self.connection.error
        for submission in self.requests_awaiting_handles:
            submission.lose(self.lost)

    def _register_request(self, current_request: BoundSubmission) -> None:
        own_handle = current_request.job.handle
        if current_request.error is None:  # otherwise the answer comes too late
            current_request.handle = full_handle(self.connection.server, own_handle)
        if not current_request.background:
            self.handle_to_request_map.setdefault(own_handle, []).append(current_request)

    def recv_error(self, error_code: bytes, error_text: bytes) -> bool:
        code, text = to_text(error_code), to_text(error_text)
        # It replaces an answer, and a GET_STATUS is never refused.
        submission = self.requests_awaiting_handles.popleft()
        submission.refuse(refusal(self.connection.server, code, text))
        return True

    def recv_status_res(self, job_handle: bytes, **fields: bytes) -> bool:
        known, running, *progress = map(to_number, fields.values())
        self._queries.popleft().append(JobStatus(bool(known), bool(running), *progress))
        return True

    def recv_command(self, cmd_type: int, **cmd_args: bytes) -> Any:
        if cmd_type not in UPDATES:
            return super().recv_command(cmd_type, **cmd_args)
        # gearmand adds a NUL to the handle when it converts an exception to a WORK_FAIL
        handle = cmd_args.pop("job_handle").rstrip(b"\0")
        arguments: dict[str, Any] = cmd_args
        if UPDATES[cmd_type] is WorkStatus:
            arguments = {name: to_number(value) for name, value in cmd_args.items()}
        deliver_update(self.handle_to_request_map, handle, UPDATES[cmd_type](**arguments))
        return True


class BoundSubmission(gearman.job.GearmanJobRequest, WaitingSubmission):  # type: ignore[misc]
    """A job submitted by a client; `handler` belongs to its connection."""

    handler: ClientHandler

    def __init__(self, client: Client, spec: JobSpec) -> None:
        function, workload = to_bytes(spec.function), spec.workload
        job = gearman.job.GearmanJob(None, None, function, wire_unique(spec), workload)
        priority = None if spec.priority is Priority.NORMAL else spec.priority.value
        gearman.job.GearmanJobRequest.__init__(self, job, priority, spec.background)
        WaitingSubmission.__init__(self, spec)
        self.unique = spec.unique
        self._client = client
        self._query: list[JobStatus] | None = None

    @property
    def _status_interval(self) -> float:
        return self._client.status_interval

    def refuse(self, error: BackendError) -> None:
        self.state = gearman.JOB_FAILED
        self.error = error

    def lose(self, cause: BackendError) -> None:
        self.state = gearman.JOB_FAILED
        super().lose(cause)

    def _wait(self, ready: Callable[[], bool], until: float) -> bool:
        return self._client.wait(self.handler, ready, until)

    def _ask_known(self, until: float) -> JobStatus | None:
        if self._query is None:
            self._query = self._client.ask_status(self.handler, self.job.handle)
        answer = self._query
        if not self._client.wait(self.handler, lambda: bool(answer), until):
            return None
        self._query = None
        return answer[0]


class AdminHandler(gearman.admin_client_handler.GearmanAdminClientCommandHandler):  # type: ignore[misc]
    """The answer to an admin command."""

    _status_response: list[Any]
    _workers_response: list[Any]

    @property
    def waiting(self) -> bool:
        return not self.response_ready

    def recv_text_command(self, raw_text: bytes) -> Any:
        return super().recv_text_command(raw_text.decode(errors="replace"))

    # Lines until the one that ends the answer, then rows: a name may take several lines.

    def recv_server_status(self, raw_text: str) -> Any:
        if raw_text == ".":
            self._status_response = [
                {"task": name, "queued": total, "running": running, "workers": workers}
                for name, total, running, workers in parse_status(
                    "\n".join(self._status_response), strict=False
                )
            ]
            return super().recv_server_status(raw_text)
        self._status_response.append(raw_text)
        return True

    def recv_server_workers(self, raw_text: str) -> Any:
        if raw_text == ".":
            self._workers_response = [
                {"ip": address, "client_id": client_id, "tasks": functions}
                for address, client_id, functions in parse_workers(
                    "\n".join(self._workers_response), strict=False
                )
            ]
            return super().recv_server_workers(raw_text)
        self._workers_response.append(raw_text)
        return True


class AdminClient(Manager, gearman.GearmanAdminClient):  # type: ignore[misc]
    """A client of the admin protocol of one server."""

    command_handler_class = AdminHandler

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.poll_timeout = None  # `Manager` has a time limit, and gives the reason
