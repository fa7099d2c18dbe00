"""
The client of the python-gearman bindings, corrected: jobs submitted over one connection.

The bindings hold requests weakly, and one for each handle, so that late results and jobs shared by
their unique are KeyErrors. They understand neither ERROR nor WORK_EXCEPTION packets, nor the NUL
that gearmand leaves behind a handle. Of their admin client, bytes are compared with str, and a
client id with a space is an error.
"""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import gearman  # type: ignore[import-untyped]
from gearman import protocol

from ..exceptions import BackendError, JobLost, ResultUnavailable, ServerError, SubmitUncertain
from .base import (
    JobSpec,
    JobStatus,
    Outcome,
    Priority,
    Submission,
    Update,
    WorkStatus,
    wire_unique,
)
from .python_gearman_bindings import UPDATES, Connection, Manager, to_bytes, to_text

if TYPE_CHECKING:
    from .python_gearman import PythonGearmanBackend


def _number(text: bytes) -> int:
    """Read a progress number; what is no number counts as 0, as in gearmand itself."""
    return int(text) if text.isdigit() and len(text) < 20 else 0


class ClientHandler(gearman.client_handler.GearmanClientCommandHandler):  # type: ignore[misc]
    """What a client expects from one connection, until that is `lost`."""

    lost: BackendError | None = None

    def initial_state(self) -> None:
        self.connection: Connection = self.connection_manager.handler_to_connection_map[self]
        self.handle_to_request_map: dict[bytes, deque[BoundSubmission]] = {}
        self._queries: deque[list[JobStatus]] = deque()

    @property
    def waiting(self) -> bool:
        return bool(self.requests_awaiting_handles or self._queries)

    def send_job_request(self, current_request: BoundSubmission) -> None:
        super().send_job_request(current_request)
        current_request.handler = self
        current_request.job.data = None  # it may be large, and is in the packet

    def send_get_status(self, own_handle: bytes) -> list[JobStatus]:
        """Ask for a job's status, which will be put into the list."""
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
        current_request.handle = f"{self.connection.server}//{to_text(own_handle)}"
        if not current_request.background:
            self.handle_to_request_map.setdefault(own_handle, deque()).append(current_request)

    def recv_error(self, error_code: bytes, error_text: bytes) -> bool:
        code, text = to_text(error_code), to_text(error_text)
        message = f"job server {self.connection.server} refused: {text} ({code})"
        # It takes the place of an answer, and a GET_STATUS is never refused.
        submission = self.requests_awaiting_handles.popleft()
        submission.refuse(ServerError(message, code=code, text=text))
        return True

    def recv_status_res(self, job_handle: bytes, **fields: bytes) -> bool:
        known, running, *progress = map(_number, fields.values())
        self._queries.popleft().append(JobStatus(bool(known), bool(running), *progress))
        return True

    def recv_command(self, cmd_type: int, **cmd_args: bytes) -> Any:
        if cmd_type not in UPDATES:
            return super().recv_command(cmd_type, **cmd_args)
        # gearmand leaves a NUL behind the handle where it makes a WORK_FAIL of an exception
        handle = cmd_args.pop("job_handle").rstrip(b"\0")
        arguments: dict[str, Any] = cmd_args
        if UPDATES[cmd_type] is WorkStatus:
            arguments = {name: _number(value) for name, value in cmd_args.items()}
        self._deliver(handle, UPDATES[cmd_type](**arguments))
        return True

    def _deliver(self, handle: bytes, update: Update) -> None:
        """Hand an update on; gearmand sends it once for each submission of the job, in a row."""
        sharing = self.handle_to_request_map.get(handle)
        if sharing is None:
            return  # of a job that ended already, as after an administrator's "cancel job"
        submission = sharing.popleft()
        submission.deliver(update)
        if not isinstance(update, Outcome):
            sharing.append(submission)
        elif not sharing:
            del self.handle_to_request_map[handle]


class BoundSubmission(gearman.job.GearmanJobRequest, Submission):  # type: ignore[misc]
    """A job submitted by a client; `handler` speaks for the connection that it went over."""

    handler: ClientHandler

    def __init__(self, client: PythonGearmanBackend, spec: JobSpec) -> None:
        function = to_bytes(spec.function)
        if b"\0" in function:
            raise ValueError(f"a NUL byte in the function name {spec.function!r}")
        workload = bytes(memoryview(spec.workload))  # TypeError for what is not bytes
        job = gearman.job.GearmanJob(None, None, function, wire_unique(spec), workload)
        priority = None if spec.priority is Priority.NORMAL else spec.priority.value
        super().__init__(job, priority, spec.background)
        self.unique = spec.unique
        self._client = client
        self._updates: deque[Update] = deque()
        self._finished = False
        self._lost: JobLost | None = None
        self._heard = time.monotonic()
        self._query: list[JobStatus] | None = None

    def refuse(self, error: BackendError) -> None:
        self.state = gearman.JOB_FAILED
        self.error = error

    def lose(self, cause: BackendError) -> None:
        error = SubmitUncertain(
            f"job {to_text(self.job.task)} was sent but not acknowledged, so it may or may not be "
            f"queued ({cause}); submit it again, or pass max_retries, if running it twice does no "
            "harm"
        )
        error.__cause__ = cause
        self.refuse(error)

    def deliver(self, update: Update) -> None:
        self._updates.append(update)
        self._finished = isinstance(update, Outcome)
        self._heard = time.monotonic()

    def next_update(self, timeout: float | None = None) -> Update | None:
        if self.error is not None:
            raise self.error.with_traceback(None)
        if self.background:
            raise ResultUnavailable(f"background job {self.handle} sends no updates")
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while not self._has_news():
            if self._lost is not None:
                raise self._lost.with_traceback(None)
            check_at = self._heard + self._client.status_interval
            if self._client.wait(self.handler, self._has_news, min(deadline, check_at)):
                break
            if time.monotonic() >= check_at:
                self._check_known(deadline)
            if time.monotonic() >= deadline:
                break
        try:
            return self._updates.popleft()
        except IndexError:  # the outcome has been handed out, or the time is up
            return None

    def _has_news(self) -> bool:
        return bool(self._updates) or self._finished

    def _check_known(self, deadline: float) -> None:
        """Ask whether the job still exists: gearmand forgets some without telling who waits."""
        if self._query is None:
            self._query = self._client.ask_status(self.handler, self.job.handle)
        answer = self._query
        if not self._client.wait(self.handler, lambda: bool(answer), deadline):
            return  # the next call goes on waiting for the answer
        self._query, self._heard = None, time.monotonic()
        if not answer[0].known and not self._has_news():
            self._lost = JobLost(
                f"job server {self.handler.connection.server} no longer knows job {self.handle}, "
                "and no worker reported on it; submit it again if running it twice does no harm"
            )


class AdminHandler(gearman.admin_client_handler.GearmanAdminClientCommandHandler):  # type: ignore[misc]
    """The answer to an admin command."""

    @property
    def waiting(self) -> bool:
        return not self.response_ready

    def recv_text_command(self, raw_text: bytes) -> Any:
        return super().recv_text_command(raw_text.decode(errors="replace"))

    def recv_server_workers(self, raw_text: str) -> Any:
        if raw_text == ".":
            return super().recv_server_workers(raw_text)
        about, _, tasks = raw_text.partition(" :")
        _, address, client_id = about.split(" ", 2)
        row = {"ip": address, "client_id": client_id, "tasks": tasks.split()}
        self._workers_response.append(row)
        return True


class AdminClient(Manager, gearman.GearmanAdminClient):  # type: ignore[misc]
    """A client of the admin protocol of one server."""

    command_handler_class = AdminHandler

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.poll_timeout = None  # `Manager` has a time limit, and tells the reason
