"""Requests to cancel the job of a process with one job at a time."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from django_gearman import current_job
from django_gearman.signals import job_finished
from django_gearman.supervisor import CANCEL_SIGNAL, Scoreboard
from django_gearman.utils.interrupts import brief, undisturbed
from django_gearman.worker.cancelling import Cancelling
from django_gearman.worker.process import Limits, SupervisedObserver
from django_gearman.worker.worker import GearmanWorker
from tests.app import gearman_jobs as jobs

PATIENCE = 60  # seconds


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    made = Scoreboard()
    before = signal.getsignal(CANCEL_SIGNAL)
    Cancelling(made).install()
    yield made
    signal.signal(CANCEL_SIGNAL, before)
    made.close()


@pytest.fixture
def run(request, settings, monkeypatch, board, production) -> Iterator[Callable[..., list[str]]]:
    """Run functions as jobs, and ask to cancel the first one all the time; return their states."""
    settings.GEARMAN_BACKEND = "memory"
    settings.GEARMAN_OPTIONS = {"name": request.node.nodeid}
    states: list[str] = []

    def receive(sender: Any, state: str, **named: Any) -> None:
        states.append(state)

    job_finished.connect(receive)
    channel, parent = socket.socketpair()
    over = threading.Event()

    def ask(aim: str) -> None:
        while not over.is_set():
            if board.task and board.request is None:
                board.ask(board.began_at, aim)
            os.kill(os.getpid(), CANCEL_SIGNAL)
            time.sleep(0.01)

    def run(*functions: Callable[[], Any], aim: str | None = None) -> list[str]:
        left = [*functions]
        if asyncio.iscoroutinefunction(functions[0]):

            async def act(value: Any) -> Any:
                return await left.pop(0)()
        else:

            def act(value: Any) -> Any:
                return left.pop(0)()

        monkeypatch.setattr(jobs.note, "func", act)
        monkeypatch.setattr(jobs.note, "is_async", asyncio.iscoroutinefunction(act))
        ids = [jobs.note.do_background(n).id for n in range(len(functions))]
        asking = threading.Thread(target=ask, args=[ids[0] if aim is None else aim])
        asking.start()
        try:
            observer = SupervisedObserver(board, channel, Limits(), None)
            worker = GearmanWorker(clean_connections=False)
            assert worker.work(burst=True, observer=observer) == len(functions)
        finally:
            over.set()
            asking.join()
        return states

    yield run
    job_finished.disconnect(receive)
    channel.close()
    parent.close()


def wait(seconds: float = PATIENCE) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)


def test_the_job_is_interrupted_once_and_the_next_one_is_not(run):
    cleaned = []

    def cleans_up() -> None:
        try:
            wait()
        finally:
            wait(0.2)
            cleaned.append(current_job().attempt)

    assert run(cleans_up, lambda: wait(0.2)) == ["cancelled", "succeeded"]
    assert cleaned == [1]


def test_a_sleep_is_interrupted(run):
    assert run(lambda: time.sleep(PATIENCE)) == ["cancelled"]


def test_a_coroutine_is_cancelled(run):
    async def sleeps() -> None:
        await asyncio.sleep(PATIENCE)

    async def goes_on() -> None:
        await asyncio.sleep(0.2)

    assert run(sleeps, goes_on) == ["cancelled", "succeeded"]


@pytest.mark.parametrize("aim", ["0" * 32, "", "another"])
def test_a_request_for_another_job_does_nothing(run, aim):
    assert run(lambda: wait(0.3), aim=aim) == ["succeeded"]


def test_a_job_that_catches_exceptions_is_interrupted(run):
    def careless() -> None:
        while True:
            with suppress(Exception):
                wait()

    assert run(careless) == ["cancelled"]


def test_a_job_may_end_well_all_the_same(run):
    def stubborn() -> str:
        try:
            wait()
        except BaseException:
            return "done"
        return "not interrupted"

    assert run(stubborn) == ["succeeded"]


@pytest.mark.parametrize("mark", [undisturbed, brief])
def test_work_that_would_be_left_half_done_is_finished_first(run, mark):
    steps = []

    @mark
    def protected() -> None:
        wait(0.3)
        steps.append("finished")

    def job() -> None:
        protected()
        wait()

    assert run(job) == ["cancelled"]
    assert steps == ["finished"]


def test_the_code_around_jobs_is_not_interrupted(run, monkeypatch):
    real = GearmanWorker._clean

    def cleans(worker: GearmanWorker) -> None:
        wait(0.1)
        real(worker)

    monkeypatch.setattr(GearmanWorker, "_clean", cleans)

    assert run(*[lambda: None] * 3) == ["succeeded"] * 3


def test_a_signal_without_a_request_does_nothing(board):
    os.kill(os.getpid(), CANCEL_SIGNAL)
    wait(0.05)
    assert board.request is None
