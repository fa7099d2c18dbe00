"""
A worker's link for delayed jobs.

gearmand 1.1 wakes no worker when a delayed job is due, so this link asks again and again, and does
not sleep. For each request the server looks through all delayed jobs. It would do that for every
other job as well, if one connection served both.

Nearly every answer is "no job", and would wake up an idle worker for nothing. So that lets the answer
wait in the socket until the next request. Only a longer packet wakes it, which brings a job.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from ...protocol.names import delayed_function, delayed_lane
from ...protocol.packets import PacketType, encode
from ...utils.clock import monotonic
from .link import WAKE_SECONDS, WorkerConnection

#: Seconds between two requests for delayed jobs.
POLL_SECONDS = 1.3

_NO_JOB_BYTES = len(encode(PacketType.NO_JOB))


class DelayedConnection(WorkerConnection):
    """The link for the delayed jobs of these functions, beside another link."""

    is_delayed = True
    sleep_seconds, early_seconds = POLL_SECONDS, 0.0

    def __init__(self, link: WorkerConnection, functions: Iterable[str]) -> None:
        name = delayed_lane(link.name)
        super().__init__(link.server, name, link.client_id, functions, link.options)
        self.has_slots = link.has_slots
        #: Called before a request: False leaves that to another worker.
        self.may_poll: Callable[[], bool] = lambda: True
        self._polled_at = 0.0

    @property
    def next_event(self) -> float:
        return self._polled_at + self.sleep_seconds if self.is_quiet else super().next_event

    def _packets(self, kind: PacketType, functions: Sequence[str]) -> bytes:
        return super()._packets(kind, [*map(delayed_function, functions)])

    def tend(self, on_connect: Callable[[str, socket.socket], object] | None) -> None:
        self.hear()
        super().tend(on_connect)

    def asking(self, number: int) -> bytes:
        self._polled_at = monotonic()
        return super().asking(number)

    def _fall_asleep(self) -> None:
        self.asleep_since = self._polled_at

    def _wake(self) -> None:
        now = monotonic()
        if now >= self._polled_at + WAKE_SECONDS or self.may_poll():
            super()._wake()
        else:
            self.asleep_since = now

    def be_quiet(self) -> None:
        """Let only a job wake the worker, as the answer to the present request."""
        self.is_quiet = self._wake_from(_NO_JOB_BYTES + 1)

    def hear(self) -> None:
        if self.is_quiet:
            self.is_quiet = False
            self._wake_from(1)
            self.read()

    def _wake_from(self, least: int) -> bool:
        """Make the socket readable only with this number of bytes; return False if it cannot."""
        opened = None if self.connection is None else self.connection.plain_socket
        if opened is not None:  # the number of bytes is unknown with TLS
            with suppress(OSError):  # it was closed, or the platform lacks this
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
                return True
        return False

    def retire(self, successor: WorkerConnection, running: Iterable[str]) -> None:
        self.may_poll = lambda: False
        super().retire(successor, running)
        self.hear()


def sleeps_until_job(asked: WorkerConnection, links: Iterable[WorkerConnection]) -> bool:
    """Return True if an idle worker need not wait for the answer to its last request."""
    if not isinstance(asked, DelayedConnection) or not asked.asked:
        return False
    if not any(link.is_idle for link in links):  # such a link asks after the answer
        asked.be_quiet()
    return asked.is_quiet
