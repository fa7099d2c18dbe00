"""
The counter of jobs: an optional part that counts their outcomes. The core knows none.

`gearman_worker --metrics` installs one. Without one, nothing is counted, and nothing is called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any


class JobCounter(ABC):
    """
    A counter of submissions and of runs. Its methods never raise.

    Each request is a `JobRequest`, `job` a `JobDefinition`, `run` a `worker.execution.Run`, and
    `ending` a `worker.runs.Ending`.
    """

    @abstractmethod
    def submitted(self, requests: Iterable[Any]) -> None:
        """Count the requests that a job server has accepted."""

    @abstractmethod
    def submitted_batch(self, job: Any, number: int) -> None:
        """Count this number of submissions of one job."""

    @abstractmethod
    def started(self, run: Any) -> None:
        """Note that the run begins now."""

    @abstractmethod
    def ended(self, run: Any, ending: Any) -> None:
        """Count a run that this process has reported."""

    @abstractmethod
    def ended_unseen(self, job: Any, state: str) -> None:
        """
        Count a run of which only the state of its ending is known, for example of a dead process.

        `job` is None for a function that no job of this process has.
        """


#: The counter of this process.
counter: JobCounter | None = None


def install_counter(made: JobCounter | None) -> None:
    """Make this the counter of this process; None for none."""
    global counter
    counter = made
