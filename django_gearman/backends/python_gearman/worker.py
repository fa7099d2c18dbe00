"""
The worker of the python-gearman bindings, corrected: its registration with all servers.

The bindings run a job while they read packets, and take the next one meanwhile. They sleep until
the server wakes them, but gearmand 1.1 sends nothing when a delayed job becomes due. They end when
a connection is lost. Here at most one GRAB_JOB is open at a time, so no job is assigned while
another one runs, unless a server does not answer at once.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from typing import Any

import gearman  # type: ignore[import-untyped]
from gearman import errors, protocol

from ...exceptions import ConnectionLost
from ...protocol.names import (
    assigned_job,
    handle_prefix,
    is_old_background,
    own_handle,
    served_functions,
)
from ...protocol.packets import MOST_HEAD, PacketType, parse_head, to_bytes, to_text
from ...utils.clock import monotonic
from ...utils.interrupts import undisturbed
from ...utils.records import get_logger, log
from ..base import LARGE_WORKLOAD, AssignedJob, Outcome, Update, WorkerSession, refusal
from ..remote import PATIENCE_SECONDS, Downtime, JobsInHand
from .bindings import UPDATES, Connection, Manager

logger = get_logger(__name__)

# Seconds of sleep until it asks unprompted: gearmand 1.1 wakes no worker for a delayed job.
_REGRAB_SECONDS = 1.0
_CONNECT_SECONDS = 1.0  # for a server to return, while another one serves
_REST_SECONDS = 0.1  # while no server is connected
_COMMANDS = {update: command for command, update in UPDATES.items()}


class WorkerHandler(gearman.worker_handler.GearmanWorkerCommandHandler):  # type: ignore[misc]
    """A worker's state with one server: waiting for the answer to a GRAB_JOB, asleep or idle."""

    waiting = False
    has_answered = False
    echoed = False
    asleep_since = -math.inf

    @property
    def idle(self) -> bool:
        return not self.waiting and monotonic() - self.asleep_since >= _REGRAB_SECONDS

    def initial_state(self, abilities: Collection[bytes], client_id: bytes | None) -> None:
        self.connection: Connection = self.connection_manager.handler_to_connection_map[self]
        self.set_client_id(client_id)
        self.set_abilities(abilities)

    def grab(self) -> None:
        self._grab_job()
        self.waiting = True

    def _answered(self) -> None:
        self.waiting = False
        self.has_answered = True
        self.connection_manager.downtimes[self.connection].end(self.connection.server)

    def recv_noop(self) -> bool:
        self.asleep_since = -math.inf
        return True

    def recv_no_job(self) -> bool:
        self._answered()
        self._sleep()
        self.asleep_since = monotonic()
        return True

    def recv_job_assign_uniq(self, **fields: bytes) -> bool:
        self._answered()
        self.connection_manager.on_job_execute(self.connection_manager.create_job(self, **fields))
        return True

    def recv_echo_res(self, data: bytes) -> bool:
        self.echoed = True
        return True

    def recv_error(self, error_code: bytes, error_text: bytes) -> bool:
        error = refusal(self.connection.server, to_text(error_code), to_text(error_text))
        log(logger, logging.WARNING, "%s", error)
        return True


class BoundWorkerSession(Manager, gearman.GearmanWorker, WorkerSession):  # type: ignore[misc]
    """
    A worker of real job servers.

    gearmand 1.1 serves the jobs of the first of `functions` first, and 2.0 the functions in turn.
    """

    command_handler_class = WorkerHandler

    def __init__(self, functions: Sequence[str], client_id: str, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._assigned: deque[Any] = deque()
        self._in_hand = JobsInHand[Connection]()
        self.downtimes = {connection: Downtime() for connection in self.connection_list}
        self._is_arriving = False  # a large job, which was announced
        for name in served_functions(functions):
            self.register_task(name, None)
        if client_id:
            self.set_client_id(to_bytes(client_id))

    @property
    def is_known(self) -> bool:
        handlers = self.connection_to_handler_map.values()
        return any(handler.has_answered for handler in handlers)

    def on_job_execute(self, current_job: Any) -> None:
        self._assigned.append(current_job)

    def grab_job(self, timeout: float | None = None) -> AssignedJob | None:
        deadline = math.inf if timeout is None else monotonic() + timeout
        while True:
            for connection in self.establish_worker_connections():
                self._ask_for_job(connection)
            if self._assigned:
                return self._take(self._assigned.popleft())
            self._poll(self._at_rest, max(0.0, deadline - monotonic()))
            if monotonic() >= deadline and not self._may_go_on():
                return None

    def establish_worker_connections(self) -> list[Connection]:
        for connection in self.connection_list:
            if connection.connected or monotonic() < self.downtimes[connection].retry_at:
                continue
            # A server that cannot be reached must not delay the others.
            others = any(other.connected for other in self.connection_list)
            limit = _CONNECT_SECONDS if others else math.inf
            connection.connect_timeout = min(self.connect_timeout, limit)
            with contextlib.suppress(errors.ConnectionError):
                self.establish_connection(connection)
                if self.on_connect is not None:
                    self.on_connect(connection.server, connection.gearman_socket)
        return [connection for connection in self.connection_list if connection.connected]

    def _ask_for_job(self, connection: Connection) -> None:
        handler = self.connection_to_handler_map.get(connection)
        if handler is not None and handler.idle and not self._assigned:
            handler.grab()
            self._poll(
                lambda: connection.writable() or (handler.waiting and not self._assigned),
                PATIENCE_SECONDS,
            )

    def _poll(self, unfinished: Callable[[], bool], timeout: float) -> None:
        limit = None if timeout == math.inf else timeout
        try:
            self.poll_connections_until_stopped(self.connection_list, lambda _: unfinished(), limit)
        except errors.ServerUnavailable:
            time.sleep(min(timeout, _REST_SECONDS))

    def _may_go_on(self) -> bool:
        handlers = self.connection_to_handler_map.values()
        return bool(self._assigned) or any(handler.idle for handler in handlers)

    def _at_rest(self) -> bool:
        """Return True if there is no work until a server sends something."""
        now, downtimes = monotonic(), self.downtimes.items()
        reconnect = any(not each.connected and down.retry_at <= now for each, down in downtimes)
        return not reconnect and not self._may_go_on()

    def _take(self, job: Any) -> AssignedJob:
        self.connection_list.remove(job.connection)  # to the end: the other servers take their turn
        self.connection_list.append(job.connection)
        assigned = self._job(job.connection, job.handle, job.task, job.unique or b"", job.data)
        self._in_hand.take(assigned, job.connection)
        return assigned

    @undisturbed
    def send(self, job: AssignedJob, update: Update) -> None:
        if type(update) not in _COMMANDS:
            raise TypeError(f"{update!r} is not an update of a job")
        connection = self._in_hand.connection_of(job)
        fields = {
            name: b"%d" % value if isinstance(value, int) else bytes(memoryview(value))
            for name, value in asdict(update).items()
        }
        handler = self.connection_to_handler_map[connection]
        handler.send_command(_COMMANDS[type(update)], job_handle=own_handle(job.handle), **fields)
        with contextlib.suppress(errors.ServerUnavailable):
            self.poll_connections_until_stopped([connection], lambda _: connection.writable())
        if self._in_hand.find(job) is None:
            raise connection.error
        if isinstance(update, Outcome):
            self._in_hand.end(job)

    def is_awaited(self, job: AssignedJob) -> bool | None:
        return False if is_old_background(job.unique) else None  # these bindings cannot ask

    def give_back(self, job: AssignedJob) -> bool:
        connection = self._in_hand.find(job)
        if connection is not None:
            connection.error = ConnectionLost(f"job {job.handle} is given back")
            self.handle_error(connection)
        return True  # otherwise it is no longer current anyway

    def handle_read(self, current_connection: Connection) -> None:
        super().handle_read(current_connection)
        arriving = self._arriving(current_connection)
        if self.on_arriving is not None and (arriving is not None or self._is_arriving):
            self.on_arriving(arriving)
        self._is_arriving = arriving is not None

    def _arriving(self, connection: Connection) -> AssignedJob | None:
        """Return a large job that has arrived in part, without its workload."""
        head = parse_head(connection._incoming_buffer[:MOST_HEAD].tobytes())
        if head is None or head[0].type is not PacketType.JOB_ASSIGN_UNIQ:
            return None
        (_, (handle, function, unique)), size = head
        return (
            self._job(connection, handle, function, unique, b"") if size > LARGE_WORKLOAD else None
        )

    def _job(
        self, connection: Connection, handle: bytes, function: bytes, unique: bytes, workload: bytes
    ) -> AssignedJob:
        return assigned_job(handle_prefix(connection.server), handle, function, unique, workload)

    def handle_error(self, current_connection: Connection) -> None:
        """Forget the connection's jobs, which the server gives to others; connect again later."""
        super().handle_error(current_connection)
        lost = current_connection
        self._assigned = deque(job for job in self._assigned if job.connection is not lost)
        self._in_hand.lose(lost)
        self.downtimes[lost].begin(lost.error)

    def close(self) -> None:
        """Disconnect, with an ECHO to each server before: closing at once can lose a result."""
        handlers = self.connection_to_handler_map.values()
        for handler in handlers:
            handler.send_command(protocol.GEARMAN_COMMAND_ECHO_REQ, data=b"bye")
        with contextlib.suppress(errors.ServerUnavailable):
            self.poll_connections_until_stopped(
                self.connection_list,
                lambda _: not all(handler.echoed for handler in handlers),
                self.reply_timeout,
            )
        self.shutdown()
        self.connection_to_handler_map.clear()
        self.handler_to_connection_map.clear()
        self._assigned.clear()
        self._in_hand.clear()
