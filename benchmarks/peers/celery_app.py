"""Celery on Redis: a background job ignores its result, as its manual advises."""

from __future__ import annotations

import os

from celery import Celery

from benchmarks.marks import note
from benchmarks.peers.client import PeerClient

app = Celery("benchmark", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.broker_connection_retry_on_startup = True


@app.task(ignore_result=True)
def noop(payload: str) -> None:
    note(payload)


@app.task
def echo(payload: str) -> str:
    return payload


class Client(PeerClient):
    def enqueue(self, payload: str) -> object:
        return noop.delay(payload)

    def echo(self, payload: str) -> object:
        return echo.delay(payload).get(timeout=30)
