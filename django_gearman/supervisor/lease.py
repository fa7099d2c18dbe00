"""A lease: a task that one of several processes does for all."""

from __future__ import annotations

import fcntl
import os

from .scoreboard import memory_file


class Lease:
    """
    A lease that one process at a time has, until it gives it up or dies.

    It is made before the processes are forked.
    """

    def __init__(self) -> None:
        self._descriptor = memory_file("lease")
        self._holder = 0

    @property
    def is_held(self) -> bool:
        """True if this process has the lease."""
        return self._holder != 0

    def take(self) -> bool:
        """Return True if this process has the lease now."""
        process = os.getpid()
        if self._holder != process:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # another process has it
                return False
            self._holder = process
        return True

    def give_up(self) -> None:
        """Let another process have the lease."""
        if self._holder:
            if self._holder == os.getpid():
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
            self._holder = 0

    def close(self) -> None:
        os.close(self._descriptor)
