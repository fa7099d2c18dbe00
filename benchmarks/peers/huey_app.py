"""
Huey on Redis: one thread, its default.

A client polls for its result, the first time after 0.1 s, unless `notify_result` is on. It is on
here, as a user who waits would choose.
"""

from __future__ import annotations

import os
import time

from huey import RedisHuey

from benchmarks.marks import note
from benchmarks.peers.client import NAP_SECONDS, ThreadsClient

huey = RedisHuey("benchmark", url=os.environ["REDIS_URL"], notify_result=True)


@huey.task()
def noop(payload: str) -> None:
    note(payload)


@huey.task()
def echo(payload: str) -> str:
    return payload


@huey.task()
def nap(payload: str) -> None:
    note(payload)
    time.sleep(NAP_SECONDS)
    note(payload)


class Client(ThreadsClient):
    def enqueue(self, payload: str) -> object:
        return noop(payload)

    def echo(self, payload: str) -> object:
        return echo(payload)(blocking=True, timeout=30)

    def nap(self, payload: str) -> object:
        return nap(payload)
