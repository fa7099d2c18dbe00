"""The common part of the peers' clients: see `benchmarks.ours.Client`."""

from __future__ import annotations

from abc import ABC, abstractmethod

from benchmarks.agent import timed
from benchmarks.marks import MARK

WARM_UP = 3


class PeerClient(ABC):
    @abstractmethod
    def enqueue(self, payload: str) -> object:
        """Queue a job that does nothing."""

    @abstractmethod
    def echo(self, payload: str) -> object:
        """Queue a job that returns its argument, and wait for the result."""

    def mark(self) -> None:
        self.enqueue(MARK)

    def submit(self, size: int, count: int) -> float:
        payload = "x" * size
        return sum(timed(lambda: self.enqueue(payload), count))

    def round_trip(self, size: int, count: int) -> list[float]:
        payload = "x" * size
        if self.echo(payload) != payload:
            raise RuntimeError("the job did not give its argument back")
        timed(lambda: self.echo(payload), WARM_UP)
        return timed(lambda: self.echo(payload), count)
