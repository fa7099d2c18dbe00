"""
Have servers forget the foreground jobs that nobody waits for any more.

gearmand drops a queued foreground job when the connection of its last client closes, and not before
somebody who serves the function looks at its queue. So the connection is closed as soon as nothing
else needs it, and the queue is looked at: by PRE_SLEEP, which assigns no job.
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

_AGAIN_SECONDS = 0.5  # until a connection that something else needs is looked at again
_LOOKS = 5  # at a queue, until gearmand has noticed that the client has gone
_PATIENCE_SECONDS = 2.0  # for a server's answers


class Channel(Protocol):
    """A client's connection, as far as it matters here."""

    @property
    def server(self) -> ServerAddress: ...

    @property
    def options(self) -> GearmandOptions: ...

    def leave_dropped(self) -> dict[bytes, str] | None:
        """Close, if nothing but dropped jobs needs it; return these: functions by handles."""


class Released:
    """
    Stands for a submission whose wait ended in vain, as long as somebody may wait for it again.

    It receives what is said of the job, and `on_drop` is told once nobody has the submission.
    """

    def __init__(
        self, function: str, submission: WaitingSubmission | None, channel: Channel
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


_channels: SimpleQueue[Channel] = SimpleQueue()  # it may be put into at any time
_thread: threading.Thread | None = None
_process = 0


def begin() -> None:
    """Start the thread that forgets, for whoever will call `forget_soon`."""
    global _thread, _process, _channels
    if _thread is None or _process != os.getpid():
        _process, _channels = os.getpid(), SimpleQueue()
        _thread = threading.Thread(
            target=_work, args=[_channels], name="gearman-forget", daemon=True
        )
        _thread.start()


def forget_soon(channel: Channel) -> None:
    """Close the channel, and have its server forget, once all that it is needed for was dropped."""
    _channels.put(channel)


def _work(channels: SimpleQueue[Channel]) -> None:
    waiting: set[Channel] = set()
    while True:
        with suppress(Empty):
            waiting.add(channels.get(timeout=_AGAIN_SECONDS if waiting else None))
            while True:  # what was dropped together is forgotten together
                waiting.add(channels.get_nowait())
        waiting = {channel for channel in waiting if not _leave(channel)}


def _leave(channel: Channel) -> bool:
    """Return whether the channel is done with."""
    dropped = channel.leave_dropped()
    if dropped:
        with suppress(BackendError):  # a server that is down forgets by itself
            _sweep(channel, dropped)
    return dropped is not None


def _sweep(channel: Channel, dropped: dict[bytes, str]) -> None:
    """Have gearmand look at the queues of the functions of jobs, given by their handles."""
    until = monotonic() + _PATIENCE_SECONDS
    with closing(channel.options.connect(channel.server, until)) as connection:
        names = {to_bytes(function) for function in dropped.values()}
        # At once: whoever counts workers sees none here, and no job wakes this one in vain.
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
    """Return whether the next status told is that of a queued job."""
    while (packet := connection.receive(max(0.0, until - monotonic()))) is not None:
        if packet.type is PacketType.STATUS_RES:
            return packet.args[1] == b"1" and packet.args[2] == b"0"
    return False
