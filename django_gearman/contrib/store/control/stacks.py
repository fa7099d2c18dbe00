"""The stacks of the threads of another process, which it writes behind its scoreboard."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

from ....supervisor.overview import Seen
from .values import ControlError

_PATIENCE_SECONDS = 0.6  # for the process to write
_STEP_SECONDS = 0.02  # without more text, after which it is complete


def stack_of(seen: Seen) -> str:
    """
    Return the stacks of all threads of a process; raise ControlError if it does not answer.

    The process continues: its signal handler, in C, writes them between two instructions.
    """
    if not handles(seen.pid, signal.SIGQUIT):
        raise ControlError(
            f"process {seen.pid} ({seen.name}) does not handle SIGQUIT now: it is starting or "
            "exiting, or its job has removed the handler"
        )
    board = seen.scoreboard
    with suppress(ProcessLookupError):
        os.kill(seen.pid, signal.SIGQUIT)
    until = time.monotonic() + _PATIENCE_SECONDS
    size = before = 0
    while time.monotonic() < until and not (size and size == before):
        time.sleep(_STEP_SECONDS)
        before, size = size, board.text_size
    if not size:
        raise ControlError(
            f"process {seen.pid} ({seen.name}) has not written its stack: it has ended, is stopped, "
            "or waits inside the kernel"
        )
    return board.take_text()


def handles(pid: int, number: int) -> bool:
    """Return True if a process has a handler for a signal, also if that is not known."""
    if sys.platform != "linux":
        return True
    with suppress(OSError, ValueError), open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False
