"""Reports on orphaned jobs, whose worker process has died, over the sockets that it had."""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
from collections.abc import Iterable, Sequence

from ...exceptions import ConnectionLost
from ...protocol.names import own_handle
from ...protocol.packets import PacketType, encode, to_bytes
from ...utils.clock import monotonic
from ..base import AssignedJob, Update, WorkerSession
from .awaiting import ask_awaited
from .updates import encode_update

_SECONDS = 10.0  # for the server to process the report
_STATUS = rb"\x00\d\0\d\0\d+\0(\d+)\0(\d+)"  # the rest of a STATUS_RES_UNIQUE
_KEPT = 512  # bytes of earlier data, in which an answer may have begun


class OrphanSession(WorkerSession):
    """
    The registration of a dead worker with one server: while its sockets are open, it still has its
    jobs.

    A report over the wrong socket has no effect. Remaining data of the server cannot be parsed,
    because the dead process may have read a part of a packet. So closing waits for echoes with
    unique content.

    If `hangs_up` is False, the sockets stay open, for reports on other jobs of the dead worker.
    """

    def __init__(self, sockets: Sequence[socket.socket], *, hangs_up: bool = True) -> None:
        self._sockets = list(sockets)
        self._hangs_up = hangs_up
        for opened in sockets:
            opened.settimeout(_SECONDS)

    def grab_job(self, timeout: float | None = None) -> AssignedJob | None:
        return None

    def send(self, job: AssignedJob, update: Update) -> None:
        packet = b"".join(encode_update(own_handle(job.handle), update))
        reason: OSError | None = None
        for opened in list(self._sockets):
            try:
                opened.sendall(packet)
            except OSError as error:
                reason = error
                self._sockets.remove(opened)
                opened.close()
        if not self._sockets:
            raise ConnectionLost(
                f"the connection of job {job.handle} is lost: {reason}"
            ) from reason

    def give_back(self, job: AssignedJob) -> bool:
        if self._hangs_up:
            hang_up(self._sockets)
        return True

    def has(self, job: AssignedJob) -> bool:
        """
        Return True if the server still waits for the outcome; raise ConnectionLost if it does not
        answer.
        """
        handle = own_handle(job.handle)
        ask = encode(PacketType.GET_STATUS, handle)
        answer = re.compile(
            rb"\0RES\0\0\0\x14.{4}" + re.escape(handle) + rb"\x00([01])\0", re.DOTALL
        )
        found: list[bytes] = []
        for opened in self._sockets:
            found += answer.findall(_hear(opened, ask))
        return b"1" in found

    def is_awaited(self, job: AssignedJob) -> bool | None:
        if not job.workload:
            return None  # it was too large to be kept, and cannot be submitted again
        answer = re.compile(
            rb"\0RES\0\0\0\x2a.{4}" + re.escape(to_bytes(job.unique)) + _STATUS, re.DOTALL
        )

        def ask(packets: bytes) -> list[tuple[int, int]]:
            found = [answer.findall(_hear(opened, packets)) for opened in self._sockets]
            return [(int(clients), int(total)) for each in found for total, clients in each]

        return ask_awaited(job, ask)

    def close(self) -> None:
        """Wait until the server has read the report; raise ConnectionLost if that is unknown."""
        try:
            for opened in self._sockets:
                _hear(opened)
        finally:
            if self._hangs_up:
                hang_up(self._sockets)


def hang_up(sockets: Iterable[socket.socket]) -> None:
    """
    Shut down connections, so that the server gives the jobs of a dead worker to others.

    Closing these duplicates is not enough, because a process that a job started may have another
    one.
    """
    for opened in sockets:
        with contextlib.suppress(OSError):  # the server has closed it
            opened.shutdown(socket.SHUT_RDWR)
        opened.close()


def _hear(opened: socket.socket, ask: bytes = b"") -> bytes:
    """Send a question and an echo; return the end of the data before the echo."""
    token = secrets.token_bytes(16).replace(b"\0", b"0")
    deadline = monotonic() + _SECONDS
    heard = b""
    try:
        opened.sendall(ask + encode(PacketType.ECHO_REQ, token))
        while token not in heard:
            opened.settimeout(max(0.001, deadline - monotonic()))
            data = opened.recv(65536)
            if not data:
                raise ConnectionLost("the job server has closed the connection")
            deadline = monotonic() + _SECONDS  # it may be the rest of a large job
            heard = heard[-_KEPT:] + data
    except OSError as error:
        raise ConnectionLost(f"the job server does not answer: {error}") from error
    return heard
