"""RQ: its worker forks a process for each job."""

from __future__ import annotations

import os

from redis import Redis
from rq import Queue

from benchmarks.marks import note
from benchmarks.peers.client import PeerClient


def noop(payload: str) -> None:
    note(payload)


def echo(payload: str) -> str:
    return payload


class Client(PeerClient):
    def __init__(self) -> None:
        self._queue = Queue(connection=Redis.from_url(os.environ["REDIS_URL"]))

    def enqueue(self, payload: str) -> object:
        return self._queue.enqueue(noop, payload)

    def echo(self, payload: str) -> object:
        result = self._queue.enqueue(echo, payload).latest_result(timeout=30)
        return result.return_value if result is not None else None
