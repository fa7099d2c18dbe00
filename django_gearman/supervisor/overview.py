"""
A view of all processes of a supervisor, for one of them: it asks, and gets their scoreboards.

A process is forked with copies of the scoreboards of that time. Those of later processes exist only in
the parent. So the parent sends the descriptors of all of them, as often as it is asked.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections.abc import Iterable
from typing import NamedTuple

from .process import ASK, Process
from .scoreboard import Scoreboard

_MOST = 200  # descriptors in a message; Linux allows 253
_MOST_BYTES = 1 << 16
_ANSWER_SECONDS = 5.0


class Seen(NamedTuple):
    """A process as another one sees it; `age` is in seconds."""

    pid: int
    name: str
    is_worker: bool
    age: float
    scoreboard: Scoreboard


def send_overview(channel: socket.socket, processes: Iterable[Process]) -> None:
    """Send the scoreboards of all processes to the one at the other end."""
    listed = list(processes)
    now = time.monotonic()
    parts = [listed[start : start + _MOST] for start in range(0, len(listed), _MOST)]
    for place, part in enumerate(parts):
        rows = [
            [each.pid, each.slot.name if each.slot else "", each.is_worker, now - each.born]
            for each in part
        ]
        message = json.dumps({"more": place + 1 < len(parts), "processes": rows}).encode()
        with contextlib.suppress(OSError):  # it asks again
            socket.send_fds(channel, [message], [each.scoreboard.descriptor for each in part])


def ask_overview(channel: socket.socket) -> list[Seen]:
    """Ask the parent for all processes; raise TimeoutError if there is no answer."""
    with contextlib.suppress(BlockingIOError):
        while channel.recv(_MOST_BYTES):
            pass  # late answers to earlier questions
    channel.send(ASK)
    seen: list[Seen] = []
    deadline = time.monotonic() + _ANSWER_SECONDS
    poller = select.poll()
    poller.register(channel, select.POLLIN)
    try:
        while True:
            if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError(f"the supervisor has not answered in {_ANSWER_SECONDS:g} s")
            text, descriptors, _, _ = socket.recv_fds(channel, _MOST_BYTES, _MOST)
            answer = json.loads(text)
            for row, descriptor in zip(answer["processes"], descriptors, strict=False):
                pid, name, is_worker, age = row
                seen.append(Seen(pid, name, is_worker, age, Scoreboard(descriptor)))
            if not answer["more"]:
                return seen
    except BaseException:
        for each in seen:
            each.scoreboard.close()
        raise
