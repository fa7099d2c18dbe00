"""The hand-over of jobs from the thread of a worker to its event loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from django_gearman.backends.base import AssignedJob
from django_gearman.worker.crew import Crew, Steps
from django_gearman.worker.observer import WorkerObserver
from tests.app import gearman_jobs as jobs


class Loop:
    """An event loop that makes its calls when it is told to."""

    def __init__(self) -> None:
        self.calls: deque[Callable[[], object]] = deque()

    def start(self) -> Loop:
        return self

    def call_soon_threadsafe(self, call: Callable[[], object]) -> None:
        self.calls.append(call)

    def turn(self) -> None:
        while self.calls:
            self.calls.popleft()()


class Overtaken(deque[Any]):
    """A queue whose writer is so slow that the loop has made its calls just before, or just after."""

    def __init__(self, loop: Loop, when: str) -> None:
        self._loop = loop
        self._when = when

    def append(self, item: Any) -> None:
        if self._when == "before":
            self._loop.turn()
        super().append(item)
        if self._when == "after":
            self._loop.turn()


@pytest.mark.parametrize("when", ["before", "after", "never"])
def test_each_job_reaches_the_loop_however_fast_that_is(monkeypatch, when):
    monkeypatch.setattr(jobs.note, "is_async", True)
    loop, started = Loop(), []
    steps = Steps(*[lambda *args: None] * 4)
    crew = Crew(10, steps, {"note": jobs.note}, WorkerObserver(), loop, lambda specs: [])
    monkeypatch.setattr(crew, "_waiting", Overtaken(loop, when))
    monkeypatch.setattr(crew, "_start_task", lambda slot, job, assigned: started.append(assigned))
    assigned = [AssignedJob(f"H:{number}", "note", "", b"") for number in range(10)]

    for each in assigned:
        crew.start(each)
    loop.turn()

    assert started == assigned
