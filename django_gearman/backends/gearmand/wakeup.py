"""A descriptor that ends the sleep of an idle worker."""

from __future__ import annotations

import socket
from contextlib import suppress


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
