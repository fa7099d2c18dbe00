"""Celery on Redis: a background job ignores its result, as its manual advises."""

from __future__ import annotations

import os
import time

from celery import Celery

from benchmarks.marks import note
from benchmarks.peers.client import NAP_SECONDS, ThreadsClient

app = Celery("benchmark", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.broker_connection_retry_on_startup = True


@app.task(ignore_result=True)
def noop(payload: str) -> None:
    note(payload)


@app.task
def echo(payload: str) -> str:
    return payload


@app.task(ignore_result=True)
def nap(payload: str) -> None:
    note(payload)
    time.sleep(NAP_SECONDS)
    note(payload)


class Client(ThreadsClient):
    def enqueue(self, payload: str) -> object:
        return noop.delay(payload)

    def echo(self, payload: str) -> object:
        return echo.delay(payload).get(timeout=30)

    def nap(self, payload: str) -> object:
        return nap.delay(payload)
