"""The ends of processes: their meaning, and the delay until the next one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection

from .forking import delay_after
from .process import UNKNOWN_CODE, Process, Slot
from .scoreboard import Scoreboard

_QUICK_SECONDS = 5.0  # a process that ends sooner counts as a quick death


def reap_strangers(known: Collection[int]) -> None:
    """
    Reap children that this program has not forked.

    The first process of a container inherits processes whose parents have died, and must reap them.
    """
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in known:
            return
        os.waitpid(found.si_pid, 0)


def replacement_delay(slot: Slot, process: Process, code: int, had_tasks: bool) -> float:
    """
    Return the seconds until a process is replaced: more if processes end quickly one after another.
    """
    lived = time.monotonic() - process.born
    if not code or lived >= _QUICK_SECONDS:
        slot.quick_deaths = 0
        return 0.0
    slot.quick_deaths = 1 if had_tasks else slot.quick_deaths + 1
    return delay_after(slot.quick_deaths)


def reason_of_death(code: int, scoreboard: Scoreboard, is_overdue: bool) -> str:
    """Return a short name for an unexpected end, for statistics."""
    is_late = scoreboard.leave_by <= time.monotonic()
    if code == -signal.SIGKILL and (is_overdue or is_late):
        return "time_limit" if is_overdue else "late_exit"
    if code == UNKNOWN_CODE:
        return "unknown"
    if code > 0:
        return "exit"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return "signal"


def how_ended(code: int) -> str:
    """Describe the end of a process by its exit code."""
    if code == UNKNOWN_CODE:
        return "has ended; another program took its exit code"
    if code >= 0:
        return f"exited with {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
