"""
The connections of the python-gearman bindings, corrected.

The bindings, pygearman 0.2.6, have these faults. They have no time limits and no IPv6, never ask
for WORK_EXCEPTION packets, copy unsent data again and again, leave forgotten sockets open, wait
forever for a silent server, forget the reason of a lost connection, and support one thread only.
Subclasses correct this with the hooks of the bindings, whose modules stay unchanged.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import struct
import threading
import weakref
from collections.abc import Callable, Collection, Sequence
from typing import Any

import gearman  # type: ignore[import-untyped]
from gearman import errors, protocol

from ...exceptions import BackendError, ConnectionLost, ProtocolError
from ...protocol.address import ServerAddress
from ...utils.clock import monotonic
from ..base import Update, WorkComplete, WorkData, WorkException, WorkFail, WorkStatus, WorkWarning
from ..sharing import close_in_child
from ..sockets import keep_alive

_SLICE_SECONDS = 0.1  # until a thread sees data that another one has read for it

UPDATES: dict[int, type[Update]] = {
    protocol.GEARMAN_COMMAND_WORK_DATA: WorkData,
    protocol.GEARMAN_COMMAND_WORK_WARNING: WorkWarning,
    protocol.GEARMAN_COMMAND_WORK_STATUS: WorkStatus,
    protocol.GEARMAN_COMMAND_WORK_COMPLETE: WorkComplete,
    protocol.GEARMAN_COMMAND_WORK_EXCEPTION: WorkException,
    protocol.GEARMAN_COMMAND_WORK_FAIL: WorkFail,
}


_NOISE = (LookupError, ValueError, struct.error)  # the bindings' form of it


class Connection(gearman.connection.GearmanConnection):  # type: ignore[misc]
    """A socket to one server; `error` is the reason if there is none."""

    error: BackendError
    connect_timeout = 5.0
    heard = 0.0  # the time when bytes moved last, or a command was queued
    _outgoing_buffer: Any

    @property
    def server(self) -> str:
        return str(ServerAddress(self.gearman_host, self.gearman_port))

    def _create_client_socket(self) -> None:
        option = {"option_name": b"exceptions"}
        greeting = protocol.pack_binary_command(protocol.GEARMAN_COMMAND_OPTION_REQ, option)
        try:
            opened = socket.create_connection(self.get_address(), self.connect_timeout)
            # Not __del__: in a reference cycle the socket may go first, with a ResourceWarning.
            self._close_socket = weakref.finalize(self, opened.close)
            self.process = os.getpid()
            close_in_child(self)
            keep_alive(opened)
            # Only an answer proves the server alive: the kernel connects to a stopped process.
            opened.sendall(greeting)
            answer = opened.recv(4096)
            self.set_socket(opened)
        except TimeoutError:
            self.throw_exception(f"no answer in {self.connect_timeout:.3g} s")
        except (OSError, UnicodeError) as error:  # UnicodeError: an impossible host name
            self.throw_exception(exception=error)
        if not answer.startswith(protocol.MAGIC_RES_STRING):
            self.throw_exception(f"it answers {answer[:20]!r}, which is not Gearman's protocol")

    def read_data_from_socket(self, bytes_to_read: int = 16384) -> None:
        super().read_data_from_socket(bytes_to_read)
        self.heard = monotonic()

    def send_command(self, cmd_type: int, cmd_args: dict[str, Any]) -> None:
        super().send_command(cmd_type, cmd_args)
        self.heard = monotonic()

    def send_data_to_socket(self) -> None:
        self._outgoing_buffer = memoryview(self._outgoing_buffer)  # cut without a copy
        super().send_data_to_socket()
        self.heard = monotonic()

    def throw_exception(self, message: object = None, exception: Exception | None = None) -> None:
        self.connected = False
        self.error = ConnectionLost(f"job server {self.server}: {exception or message}")
        raise errors.ConnectionError(str(self.error)) from exception

    def close(self) -> None:
        if hasattr(self, "_close_socket"):
            if self.connected and os.getpid() == self.process:
                with contextlib.suppress(OSError):  # for duplicates of the socket too
                    self.gearman_socket.shutdown(socket.SHUT_RDWR)
            self._close_socket()
        super().close()


class Manager(gearman.connection_manager.GearmanConnectionManager):  # type: ignore[misc]
    """
    The connections of a client, a worker or an administrator.

    While a handler is `waiting` for an answer, a server that is silent for `reply_timeout` seconds
    is given up.
    """

    connection_class = Connection

    def __init__(
        self, servers: Sequence[ServerAddress], connect_timeout: float, reply_timeout: float
    ) -> None:
        super().__init__(list(dict.fromkeys((server.host, server.port) for server in servers)))
        self.connect_timeout = connect_timeout
        self.reply_timeout = reply_timeout
        self._process = os.getpid()
        self._lock = threading.Lock()
        for connection in self.connection_list:
            connection.connect_timeout = connect_timeout

    @property
    def lock(self) -> threading.Lock:
        """The lock of all state; released while polling."""
        if os.getpid() != self._process:  # the fork may have left it locked
            self._lock, self._process = threading.Lock(), os.getpid()
        return self._lock

    def establish_connection(self, current_connection: Connection) -> Connection:
        try:
            super().establish_connection(current_connection)
        except errors.ConnectionError:
            self.handle_error(current_connection)
            raise
        return current_connection

    def poll_connections_until_stopped(
        self,
        submitted_connections: Collection[Connection],
        callback_fxn: Callable[[bool], bool],
        timeout: float | None = None,
    ) -> bool:
        """Send and receive until the callback returns False; return True if the time is over."""
        until = math.inf if timeout is None else monotonic() + timeout
        active = False
        while True:
            with self.lock:
                if not callback_fxn(active):
                    return False
                live, poller = {}, select.poll()
                for connection in submitted_connections:
                    self._guard(connection, self._check)
                    if connection.connected:
                        live[connection.fileno()] = connection
                        writing = select.POLLOUT if connection.writable() else 0
                        poller.register(connection, select.POLLIN | writing)
            if not live:
                raise errors.ServerUnavailable("no connection is left")
            remaining = max(0.0, until - monotonic())
            active = bool(poller.poll(min(remaining, _SLICE_SECONDS) * 1000))
            with self.lock:
                for number, events in poller.poll(0):  # another thread may have been faster
                    if events & select.POLLOUT:
                        self._guard(live[number], self.handle_write)
                    if events & ~select.POLLOUT:
                        self._guard(live[number], self.handle_read)
            if not active and monotonic() >= until:
                return True

    def _guard(self, connection: Connection, action: Callable[[Connection], None]) -> None:
        """Use a live connection; any failure halfway closes it."""
        if not connection.connected:
            return
        try:
            action(connection)
        except errors.ConnectionError:
            self.handle_error(connection)
        except (errors.GearmanError, ProtocolError, *_NOISE) as error:
            connection.error = ProtocolError(
                f"job server {connection.server}: {error}; is it really a job server?"
            )
            self.handle_error(connection)
        except MemoryError:  # for a large job: closing the connection gives it to other workers
            raise
        except BaseException:  # from a signal handler
            connection.error = ConnectionLost(f"job server {connection.server}: interrupted")
            self.handle_error(connection)
            raise

    def _check(self, connection: Connection) -> None:
        """Detect conditions that reading does not: a fork, and a server that does not answer."""
        if os.getpid() != connection.process:
            connection.throw_exception(
                "the connection belongs to the parent process; open another one after a fork"
            )
        waiting = self.connection_to_handler_map[connection].waiting or connection.writable()
        if waiting and monotonic() - connection.heard >= self.reply_timeout:
            connection.throw_exception(
                f"it has not answered for {self.reply_timeout:g} s "
                "(GEARMAN_OPTIONS['reply_timeout'] sets the limit)"
            )
