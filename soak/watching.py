"""Waiting with a limit, and views of processes from outside."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")
_TICKS = os.sysconf("SC_CLK_TCK")


class Stuck(Exception):
    """The error of a wait that took much too long."""


def wait_until(condition: Callable[[], _T], what: str, seconds: float = 60.0) -> _T:
    """Poll until `condition()` is true, and return its value; raise Stuck if it never is."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() >= deadline:
            raise Stuck(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
    return value


def children(pid: int) -> list[int]:
    """Return the running children of a process."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(child) for child in listed if _state(int(child)) not in ("", "Z", "X")]


def _fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _state(pid: int) -> str:
    return "".join(_fields(pid)[:1])


def cpu_seconds(pids: Iterable[int]) -> dict[int, float]:
    """Return the total CPU time of each of these processes."""
    used = {pid: _fields(pid)[11:13] for pid in pids}
    return {pid: sum(map(int, ticks)) / _TICKS for pid, ticks in used.items()}
