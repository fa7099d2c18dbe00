"""django-tasks-db on SQLite: an idle worker looks for jobs once a second, its default."""

from __future__ import annotations

import time

import django

django.setup()

from benchmarks.peers.client import PeerClient  # noqa: E402
from benchmarks.peers.tasks_db.tasks import echo, noop  # noqa: E402


class Client(PeerClient):
    def enqueue(self, payload: str) -> object:
        return noop.enqueue(payload)

    def echo(self, payload: str) -> object:
        result = echo.enqueue(payload)
        while not result.is_finished:
            time.sleep(0.005)
            result.refresh()
        return result.return_value
