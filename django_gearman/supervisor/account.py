"""The account of a supervisor: the state of its processes, and the counts of their jobs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .process import Process
from .scoreboard import Tally


@dataclass(frozen=True)
class Status:
    """The status of all processes: `serving` of `wanted` processes do their work."""

    wanted: int
    serving: int
    is_stopping: bool

    @property
    def is_ready(self) -> bool:
        return self.serving >= self.wanted and not self.is_stopping

    def __str__(self) -> str:
        if self.is_stopping:
            return "stopping"
        if self.serving < self.wanted:
            return f"{self.serving} of {self.wanted} processes are serving"
        return (
            "1 process is serving" if self.wanted == 1 else f"{self.wanted} processes are serving"
        )


class Account:
    """
    The ended tasks of all processes: also of those that were replaced, and of earlier programs.

    `interrupted` tasks were killed with their process when the supervisor stopped. `deaths` are the
    unexpected ends of processes, by their reason.
    """

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.tally = Tally()
        self.interrupted = 0
        self.deaths: Counter[str] = Counter()

    def close(self, process: Process) -> None:
        """Count the tasks of a process that has ended, and close all that connects to it."""
        self.tally = self.tally.plus(process.scoreboard.tally)
        process.hang_up()
        process.forget()

    @property
    def seconds(self) -> float:
        """The time since the first program began."""
        return time.monotonic() - self.began

    def dump(self) -> dict[str, Any]:
        """Return the account for the next program, after a reload."""
        return {"began": self.began, "tally": self.tally, "deaths": self.deaths}

    def load(self, left: Mapping[str, Any]) -> None:
        """Continue the account of the previous program; an older release has left none."""
        self.began = left.get("began", self.began)
        self.tally = Tally(*left.get("tally", ()))
        self.deaths = Counter(left.get("deaths", {}))
