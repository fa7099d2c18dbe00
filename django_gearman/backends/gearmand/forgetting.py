"""
Abandoned jobs: servers drop foreground jobs without a waiting client.

gearmand drops a queued foreground job when the connection of its last client closes, and a worker
of the function looks at its queue. So the connection is closed as soon as nothing else needs it.
Then PRE_SLEEP looks at the queue without taking a job.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from contextlib import closing, suppress
from queue import Empty, SimpleQueue
from typing import Protocol

from ...exceptions import BackendError
from ...protocol.address import ServerAddress
from ...protocol.packets import PacketType, encode, to_bytes
from ...utils.clock import monotonic
from ..base import Update
from ..connection import Connection
from ..remote import WaitingSubmission
from .options import GearmandOptions

_AGAIN_SECONDS = 0.5  # until a connection that is still needed is checked again
_LOOKS = 5  # checks of a queue, until gearmand has noticed that the client has gone
_PATIENCE_SECONDS = 2.0  # limit for a server's answers


class ClientConnection(Protocol):
    """A client's connection, as this module needs it."""

    @property
    def server(self) -> ServerAddress: ...

    @property
    def options(self) -> GearmandOptions: ...

    def leave_dropped(self) -> dict[bytes, str] | None:
        """Close if only dropped jobs need it; return these: functions by handles."""


class Released:
    """
    A stand-in for a submission whose wait ended without an outcome, while the submitter may wait
    again.

    It receives the updates of the job. `on_drop` is called when no reference to the submission is
    left.
    """

    def __init__(
        self, function: str, submission: WaitingSubmission | None, channel: ClientConnection
    ) -> None:
        self.function = function
        self.is_dropped = submission is None
        self._channel = weakref.ref(channel)
        self._submission = None if submission is None else weakref.ref(submission, self._drop)

    def receive(self, update: Update) -> None:
        submission = self._submission() if self._submission is not None else None
        if submission is not None:
            submission.receive(update)

    def _drop(self, _: object) -> None:
        # Called anywhere, also in the middle of the channel's own work.
        self.is_dropped = True
        if (channel := self._channel()) is not None:
            forget_soon(channel)


_channels: SimpleQueue[ClientConnection] = SimpleQueue()  # other threads may add to it at any time
_thread: threading.Thread | None = None
_process = 0


def begin() -> None:
    """Start the thread for abandoned jobs, before `forget_soon` is called."""
    global _thread, _process, _channels
    if _thread is None or _process != os.getpid():
        _process, _channels = os.getpid(), SimpleQueue()
        _thread = threading.Thread(
            target=_work, args=[_channels], name="gearman-forget", daemon=True
        )
        _thread.start()


def forget_soon(channel: ClientConnection) -> None:
    """Close the channel when it is no longer needed, and make its server drop the jobs."""
    _channels.put(channel)


def _work(channels: SimpleQueue[ClientConnection]) -> None:
    waiting: set[ClientConnection] = set()
    while True:
        with suppress(Empty):
            waiting.add(channels.get(timeout=_AGAIN_SECONDS if waiting else None))
            while True:  # jobs that were dropped together are handled together
                waiting.add(channels.get_nowait())
        waiting = {channel for channel in waiting if not _leave(channel)}


def _leave(channel: ClientConnection) -> bool:
    """Return True if the channel is finished."""
    dropped = channel.leave_dropped()
    if dropped:
        with suppress(BackendError):  # a server that is down drops them itself
            _sweep(channel, dropped)
    return dropped is not None


def _sweep(channel: ClientConnection, dropped: dict[bytes, str]) -> None:
    """Make gearmand look at the queues of these jobs, which it finds by their handles."""
    until = monotonic() + _PATIENCE_SECONDS
    with closing(channel.options.connect(channel.server, until)) as connection:
        names = {to_bytes(function) for function in dropped.values()}
        # At once, so that no list of workers contains it, and no job wakes it in vain.
        look = b"".join(
            encode(PacketType.CAN_DO, name)
            + encode(PacketType.PRE_SLEEP)
            + encode(PacketType.CANT_DO, name)
            for name in names
        )
        questions = [encode(PacketType.GET_STATUS, handle) for handle in dropped]
        for number in range(_LOOKS):
            connection.send(look, *questions)
            known = [_is_queued(connection, until) for _ in questions]
            if not any(known):
                return
            time.sleep(0.02 * 2**number)


def _is_queued(connection: Connection, until: float) -> bool:
    """Return True if the next status is that of a queued job."""
    while (packet := connection.receive(max(0.0, until - monotonic()))) is not None:
        if packet.type is PacketType.STATUS_RES:
            return packet.args[1] == b"1" and packet.args[2] == b"0"
    return False
