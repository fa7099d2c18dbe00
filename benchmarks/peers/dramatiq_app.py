"""Dramatiq on Redis: eight threads in one process, its default."""

from __future__ import annotations

import os
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.marks import note
from benchmarks.peers.client import NAP_SECONDS, ThreadsClient

broker = RedisBroker(url=os.environ["REDIS_URL"])
broker.add_middleware(Results(backend=RedisBackend(url=os.environ["REDIS_URL"])))
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(payload: str) -> None:
    note(payload)


@dramatiq.actor(store_results=True)
def echo(payload: str) -> str:
    return payload


@dramatiq.actor
def nap(payload: str) -> None:
    note(payload)
    time.sleep(NAP_SECONDS)
    note(payload)


class Client(ThreadsClient):
    def enqueue(self, payload: str) -> object:
        return noop.send(payload)

    def echo(self, payload: str) -> object:
        return echo.send(payload).get_result(block=True, timeout=30_000)

    def nap(self, payload: str) -> object:
        return nap.send(payload)
