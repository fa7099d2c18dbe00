"""The client that enqueues tasks, whatever their backend."""

from __future__ import annotations

import django

django.setup()

from benchmarks.agent import timed  # noqa: E402
from benchmarks.django_tasks.work import noop  # noqa: E402
from benchmarks.marks import MARK  # noqa: E402


class Client:
    def mark(self) -> None:
        noop.enqueue(MARK)

    def submit(self, size: int, count: int) -> float:
        payload = "x" * size
        return sum(timed(lambda: noop.enqueue(payload), count))
