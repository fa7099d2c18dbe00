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
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from typing import NamedTuple

from .account import Status
from .process import ASK, Process
from .scoreboard import Scoreboard

_MOST = 200  # descriptors in a message; Linux allows 253
_MOST_BYTES = 1 << 16

#: Seconds that a process waits for an overview.
ANSWER_SECONDS = 5.0


class Seen(NamedTuple):
    """A process as another one sees it; `age` is in seconds."""

    pid: int
    name: str
    is_worker: bool
    age: float
    number: int
    scoreboard: Scoreboard


class Overview(NamedTuple):
    """A supervisor as one of its processes sees it; `deaths` are numbers of processes, by reason."""

    processes: list[Seen]
    status: Status
    deaths: Mapping[str, int]


def send_overview(
    channel: socket.socket,
    processes: Iterable[Process],
    status: Status,
    deaths: Mapping[str, int],
) -> None:
    """Send the scoreboards of all processes, and the rest of the overview, to the other end."""
    listed = list(processes)
    now = time.monotonic()
    parts = [listed[start : start + _MOST] for start in range(0, len(listed), _MOST)]
    for place, part in enumerate(parts):
        rows = [
            [each.pid, each.slot.name if each.slot else "", each.is_worker, now - each.born]
            for each in part
        ]
        answer = {
            "more": place + 1 < len(parts),
            "processes": rows,
            "numbers": [each.number for each in part],
            "status": astuple(status),
            "deaths": deaths,
        }
        message = json.dumps(answer).encode()
        with contextlib.suppress(OSError):  # it asks again
            socket.send_fds(channel, [message], [each.scoreboard.descriptor for each in part])


def ask_overview(channel: socket.socket, seconds: float = ANSWER_SECONDS) -> Overview:
    """Ask the parent for an overview; raise TimeoutError if there is no answer in time."""
    with contextlib.suppress(BlockingIOError):
        while channel.recv(_MOST_BYTES):
            pass  # late answers to earlier questions
    channel.send(ASK)
    seen: list[Seen] = []
    deadline = time.monotonic() + seconds
    poller = select.poll()
    poller.register(channel, select.POLLIN)
    try:
        while True:
            if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError(f"the supervisor has not answered in {seconds:g} s")
            text, descriptors, _, _ = socket.recv_fds(channel, _MOST_BYTES, _MOST)
            answer = json.loads(text)
            rows = zip(answer["processes"], answer["numbers"], descriptors, strict=False)
            for (pid, name, is_worker, age), number, descriptor in rows:
                seen.append(Seen(pid, name, is_worker, age, number, Scoreboard(descriptor)))
            if not answer["more"]:
                return Overview(seen, Status(*answer["status"]), answer["deaths"])
    except BaseException:
        for each in seen:
            each.scoreboard.close()
        raise
