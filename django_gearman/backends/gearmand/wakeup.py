"""The descriptors that end the sleep of an idle worker."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable
from contextlib import suppress

from ...exceptions import ConnectionLost
from ..connection import milliseconds
from .link import WorkerConnection


class WakeUp:
    """A pair of sockets: `wake` makes the one that the worker polls readable."""

    def __init__(self) -> None:
        self._polled, self._written = socket.socketpair()
        for each in (self._polled, self._written):
            each.setblocking(False)

    def fileno(self) -> int:
        return self._polled.fileno()

    def wake(self) -> None:
        """End the present sleep, or the next one; from any thread, or from a signal handler."""
        with suppress(OSError):  # it is closed, or was woken often enough
            self._written.send(b"\0")

    def clear(self) -> None:
        """Make the next sleep last again."""
        with suppress(OSError):
            self._polled.recv(1024)

    def close(self) -> None:
        self._polled.close()
        self._written.close()

    def __del__(self) -> None:
        if hasattr(self, "_written"):
            self.close()


class Watched:
    """The sleep of a worker, which its connections or a wake-up end. True if there are connections."""

    def __init__(self, wake_up: WakeUp) -> None:
        self._wake_up = wake_up
        self._links: dict[int, WorkerConnection] = {}  # by descriptor
        self.watch(())

    def __bool__(self) -> bool:
        return bool(self._links)

    def watch(self, links: Iterable[WorkerConnection]) -> None:
        """Watch the present connections of these links."""
        self._poller = select.poll()
        self._poller.register(self._wake_up, select.POLLIN)
        self._links = {}
        for link in links:
            if link.connection is not None:
                with suppress(ConnectionLost):  # closed meanwhile
                    self._links[number := link.connection.fileno()] = link
                    self._poller.register(number, select.POLLIN)

    def wait(self, seconds: float) -> list[WorkerConnection]:
        """Sleep up to these seconds; return the links with data."""
        found = []
        for number, _ in self._poller.poll(milliseconds(seconds)):
            if number in self._links:
                found.append(self._links[number])
            else:
                self._wake_up.clear()
        return found
