"""The common part of the peers' clients: see `benchmarks.ours.Client`."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from benchmarks.agent import timed
from benchmarks.marks import MARK

WARM_UP = 3
NAP_SECONDS = 0.05


def marked(count: int) -> list[str]:
    """Return the payloads of a number of jobs, of which the first and the last are marked."""
    return [MARK, *["x"] * (count - 2), MARK]


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


class ThreadsClient(PeerClient):
    """A client of a peer whose worker runs jobs in threads."""

    @abstractmethod
    def nap(self, payload: str) -> object:
        """Queue a job that sleeps for 50 ms."""

    def fill(self, job: int, count: int) -> None:
        for payload in marked(count):
            self.nap(payload)


class CoroutinesClient(ABC):
    """A client of a peer whose worker runs jobs as coroutines."""

    @abstractmethod
    async def doze(self, payloads: list[str]) -> None:
        """Queue jobs that sleep for 50 ms, in this order."""

    def fill(self, job: int, count: int) -> None:
        asyncio.run(self.doze(marked(count)))
