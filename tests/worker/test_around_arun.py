"""Middleware around `async def` jobs that run beside others on the worker's event loop."""

from __future__ import annotations

import asyncio
import threading
import traceback
from typing import Any

import pytest

from django_gearman import RetryJob, current_job
from django_gearman.middleware import Middleware
from django_gearman.signals import job_finished
from django_gearman.worker.worker import GearmanWorker
from tests.app import gearman_jobs as jobs

SEEN: list[Any] = []


class Plain(Middleware):
    def around_run(self, run, proceed):
        SEEN.append(("plain", threading.current_thread().name))
        return proceed()


class OnLoop(Plain):
    async def around_arun(self, run, proceed):
        SEEN.append(("on loop", threading.current_thread().name, run.args))
        ending = await proceed()
        SEEN.append((ending.state, type(ending.exception)))
        return ending


class Answers(Plain):
    async def around_arun(self, run, proceed):
        return run.succeed("answered")


class Returns(Plain):
    async def around_arun(self, run, proceed):
        return "no ending"


class Refuses(Plain):
    async def around_arun(self, run, proceed):
        raise PermissionError("no")


@pytest.fixture
def work(request, settings, monkeypatch):
    """Run a coroutine function as jobs of a worker with several slots; return states and errors."""
    settings.GEARMAN_BACKEND = "memory"
    settings.GEARMAN_OPTIONS = {"name": request.node.nodeid}
    SEEN.clear()

    def run(middleware, func, count=1, threads=4) -> list[tuple[str, str]]:
        settings.GEARMAN_MIDDLEWARE = middleware
        monkeypatch.setattr(jobs.note, "func", func)
        monkeypatch.setattr(jobs.note, "is_async", True)
        for number in range(count):
            jobs.note.do_background(number)
        ended: list[tuple[str, str]] = []

        def receive(sender, state, exception, **named) -> None:
            ended.append((state, str(exception or "")))

        job_finished.connect(receive)
        try:
            GearmanWorker(threads=threads, clean_connections=False).work(burst=True)
        finally:
            job_finished.disconnect(receive)
        return ended

    return run


async def returns(value: int) -> int:
    await asyncio.sleep(0)
    return value


def test_it_runs_on_the_loop_beside_others(work):
    arrived = []

    async def meet(value: int) -> None:
        arrived.append(value)
        async with asyncio.timeout(30):
            while len(arrived) < 4:
                await asyncio.sleep(0.001)

    assert work([OnLoop], meet, count=4) == [("succeeded", "")] * 4
    threads = {name for kind, name, *_ in SEEN if kind == "on loop"}
    assert len(threads) == 1
    assert sorted(args[0][0] for kind, _, *args in SEEN if kind == "on loop") == [0, 1, 2, 3]


def test_one_that_is_not_for_loops_brings_each_job_into_a_thread(work):
    assert work([OnLoop, Plain], returns, count=2) == [("succeeded", "")] * 2
    assert [kind for kind, *_ in SEEN] == ["plain"] * 4


def test_with_one_job_at_a_time_the_plain_method_is_called(work):
    assert work([OnLoop], returns, threads=1) == [("succeeded", "")]
    assert [kind for kind, *_ in SEEN] == ["plain"]


def test_it_sees_a_failure(work):
    async def fail(value: int) -> None:
        raise LookupError("no such value")

    assert work([OnLoop], fail) == [("failed", "no such value")]
    assert SEEN[-1] == ("failed", LookupError)


def test_it_sees_a_retry(work):
    async def ask(value: int) -> None:
        job = current_job()
        assert job is not None
        if job.attempt == 1:
            raise RetryJob(0)

    assert [state for state, _ in work([OnLoop], ask)] == ["retried", "succeeded"]
    assert ("retried", RetryJob) in SEEN


def test_it_may_answer_in_place_of_the_job(work):
    async def never(value: int) -> None:
        raise AssertionError("it is not called")

    assert work([Answers], never) == [("succeeded", "")]


@pytest.mark.parametrize(
    ("middleware", "message"), [(Returns, "around_run returns what proceed"), (Refuses, "no")]
)
def test_a_fault_of_it_fails_the_job(work, middleware, message):
    [(state, error)] = work([middleware], returns)

    assert state == "failed"
    assert message in error


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("middleware", [[], [OnLoop]], ids=["none", "on the loop"])
def test_the_traceback_of_a_failed_coroutine_is_formatted_once(
    work, settings, monkeypatch, middleware, threads
):
    settings.GEARMAN_SEND_TRACEBACKS = True
    formatted = []
    original = traceback.format_exception
    monkeypatch.setattr(
        traceback, "format_exception", lambda error: formatted.append(error) or original(error)
    )

    async def fails(value: int) -> None:
        raise ValueError(value)

    names = [f"{each.__module__}.{each.__name__}" for each in middleware]
    assert work(names, fails, threads=threads) == [("failed", "0")]
    assert [str(error) for error in formatted] == ["0"]
