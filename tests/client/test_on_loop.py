"""`ado`, its variants and `await request` on an event loop, over a real job server."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import pytest

from django_gearman import JOB_COMPLETE, JOB_CREATED, GearmanClient, JobRequest
from django_gearman.backends import get_backend
from django_gearman.backends.base import (
    WorkComplete,
    WorkData,
    WorkerSession,
    WorkFail,
    WorkStatus,
    WorkWarning,
)
from django_gearman.client import lookout
from django_gearman.exceptions import (
    ConnectionLost,
    JobFailed,
    JobTimeout,
    ResultUnavailable,
    ServerUnavailable,
)
from django_gearman.middleware import Middleware
from django_gearman.signals import job_submitted
from tests.app import gearman_jobs as jobs
from tests.support.gearmand import wait_until

pytestmark = pytest.mark.gearmand


@pytest.fixture(autouse=True)
def on_gearmand(settings, own_gearmand) -> None:
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [own_gearmand.address]


@pytest.fixture
def worker() -> Iterator[WorkerSession]:
    session = get_backend().register(["tests.app.echo"], "by-hand")
    yield session
    session.close()


@pytest.fixture
def echoes(own_gearmand) -> Iterator[None]:
    """Run a worker in a thread that returns the argument of each job, and fails for "fail"."""
    stop = threading.Event()

    def work() -> None:
        session = get_backend().register(["tests.app.echo"], "echoes")
        while not stop.is_set():
            if (job := session.grab_job(0.05)) is None:
                continue
            [value] = json.loads(job.workload)["args"]
            outcome = WorkFail() if value == "fail" else WorkComplete(json.dumps(value).encode())
            with suppress(ConnectionLost):
                session.send(job, outcome)
        session.close()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join()


def run(act: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(asyncio.wait_for(act(), 60))


# Results


def test_results_and_failures_are_those_of_do(echoes):
    async def act() -> None:
        assert await jobs.echo.ado({"width": 3}) == {"width": 3}
        with pytest.raises(JobFailed, match=r"job tests\.app\.echo .*failed"):
            await jobs.echo.ado("fail")
        with pytest.raises(TypeError, match="echo"):
            await jobs.echo.ado(1, colour="red")

    run(act)


def test_hundreds_of_jobs_are_waited_for_without_a_thread(echoes):
    async def act() -> set[str]:
        before = threading.enumerate()
        calls = [asyncio.create_task(jobs.echo.ado(number)) for number in range(300)]
        new: set[threading.Thread] = set()
        while not all(call.done() for call in calls):
            new.update(threading.enumerate())
            await asyncio.sleep(0)
        assert [call.result() for call in calls] == list(range(300))
        return {thread.name for thread in new.difference(before)}

    assert run(act) <= {"gearman-connect"}  # the worker is in this process, and connects again


def test_one_connection_serves_all_tasks_and_ends_with_the_loop(own_gearmand, echoes):
    def wait_for(clients: int) -> None:
        wait_until(lambda: own_gearmand.clients() == clients, f"{clients} clients are connected")

    wait_for(clients=0)

    async def act() -> None:
        await asyncio.gather(*(jobs.echo.ado(number) for number in range(20)))
        wait_for(clients=1)

    run(act)
    wait_for(clients=0)


def test_a_background_job_is_queued(worker):
    async def act() -> JobRequest[Any]:
        return await jobs.echo.ado_background("x")

    request = run(act)

    assert (request.state, request.background) == (JOB_CREATED, True)
    assert GearmanClient().get_job_status(request).status.known
    assert worker.grab_job(20).handle in request.handle


def test_amap_keeps_the_order_and_raises_the_first_failure(echoes):
    async def act() -> None:
        assert await jobs.echo.amap(range(100)) == list(range(100))
        assert await jobs.echo.amap([]) == []
        with pytest.raises(JobFailed):
            await jobs.echo.amap([1, "fail", 3])
        with pytest.raises(TypeError, match="not one item"):
            await jobs.echo.amap("abc")

    run(act)


# Time


@pytest.mark.parametrize("call", ["ado", "amap", "asubmit_job"])
def test_time_counts_from_the_call(call):
    async def act() -> float:
        began = time.monotonic()
        with pytest.raises(JobTimeout, match="has not finished in the time given"):
            if call == "ado":
                await jobs.echo.using(wait=2.5).ado(1)
            elif call == "amap":
                await jobs.echo.amap([1, 2, 3], timeout=2.5)
            else:
                _ = (
                    await GearmanClient().asubmit_job("tests.app.echo", 1, poll_timeout=2.5)
                ).result
        return time.monotonic() - began

    assert 2.4 < run(act) < 7  # three times as long, if each had it


def test_a_cancelled_call_takes_its_queued_job_along(worker):
    async def act() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(jobs.echo.ado("left"), 0.2)
        gc.collect()
        await asyncio.sleep(2)  # until the server has seen the end of the connection
        assert worker.grab_job(0.2) is None, "nobody waits for this job"

    run(act)


def test_a_cancelled_call_does_not_disturb_the_others(worker):
    async def act() -> Any:
        calls = [asyncio.create_task(jobs.echo.ado(number)) for number in range(3)]
        await asyncio.sleep(0.2)
        calls[0].cancel()
        for _ in calls:
            job = worker.grab_job(20)
            [number] = json.loads(job.workload)["args"]
            worker.send(job, WorkComplete(b"%d" % number))
        return await asyncio.gather(*calls[1:])

    assert run(act) == [1, 2]


# Requests


def test_a_request_is_awaited_and_may_be_awaited_again(worker):
    async def act() -> None:
        request = await GearmanClient().asubmit_job(jobs.echo, "x", wait_until_complete=False)
        assert request.state == JOB_CREATED
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(request, 0.1)
        worker.send(worker.grab_job(20), WorkComplete(b'"done"'))
        assert await asyncio.gather(request, request) == ["done", "done"]
        assert await request == "done"
        assert (request.state, request.timed_out) == (JOB_COMPLETE, False)

    run(act)


def test_updates_are_followed_on_the_loop(worker):
    async def act() -> list[str]:
        request = await GearmanClient().asubmit_job(jobs.echo, "x", wait_until_complete=False)
        job = worker.grab_job(20)
        for update in (WorkStatus(1, 4), WorkData(b'"a"'), WorkWarning(b'"b"')):
            worker.send(job, update)
        worker.send(job, WorkComplete(b'"c"'))
        followed = [update async for update in request.updates(20)]
        assert followed == [WorkStatus(1, 4), WorkData("a"), WorkWarning("b"), WorkComplete("c")]
        assert (request.status.numerator, request.status.denominator) == (1, 4)
        return [*request.data_updates, *request.warning_updates, request.result]

    assert run(act) == ["a", "b", "c"]


def test_updates_end_in_time():
    async def act() -> None:
        request = await GearmanClient().asubmit_job(jobs.echo, "x", wait_until_complete=False)
        assert [update async for update in request.updates(0.1)] == []
        assert request.timed_out

    run(act)


def test_the_loop_is_not_blocked_by_mistake_and_another_thread_may_wait(worker):
    async def act() -> Any:
        request = await GearmanClient().asubmit_job(jobs.echo, "x", wait_until_complete=False)
        with pytest.raises(ResultUnavailable, match="write `await request`"):
            request.wait(1)
        waiting = asyncio.create_task(asyncio.to_thread(request.wait, 20))
        worker.send(worker.grab_job(20), WorkComplete(b'"done"'))
        return (await waiting).result

    assert run(act) == "done"


def test_a_request_outlives_its_loop_and_says_so():
    async def act() -> JobRequest[Any]:
        return await GearmanClient().asubmit_job(jobs.echo, "x", wait_until_complete=False)

    request = run(act)

    with pytest.raises(ConnectionLost, match="an event loop that has ended"):
        request.wait(1)


def test_a_request_of_a_thread_can_be_awaited_too(worker):
    request = GearmanClient().submit_job(jobs.echo, "x", wait_until_complete=False)

    async def act() -> Any:
        waiting = asyncio.ensure_future(request)
        updates = asyncio.create_task(anext(request.updates(20)))
        worker.send(worker.grab_job(20), WorkComplete(b'"done"'))
        with suppress(StopAsyncIteration):  # one of the two gets the outcome
            assert await updates == WorkComplete("done")
        return await waiting

    assert run(act) == "done"


def test_a_background_request_has_no_result_to_await(worker):
    async def act() -> None:
        request = await jobs.echo.ado_background("x")
        with pytest.raises(ResultUnavailable, match="runs in the background"):
            await request
        assert [update async for update in request.updates(1)] == []

    run(act)


# Around a submission


def test_receivers_of_signals_are_called(worker, db):
    told: list[object] = []

    async def note(*, request: JobRequest[Any], **_: Any) -> None:
        told.append((request.task, request.state))

    job_submitted.connect(note)
    try:
        run(lambda: jobs.echo.ado_background("x"))
    finally:
        job_submitted.disconnect(note)

    assert told == [("tests.app.echo", JOB_CREATED)]


# Many jobs, progress and waiting


def test_jobs_of_several_kinds_are_submitted_together(echoes):
    async def act() -> list[Any]:
        entries = [{"task": "tests.app.echo", "data": n} for n in range(5)]
        requests = await GearmanClient().asubmit_multiple_jobs(entries)
        assert await GearmanClient().asubmit_multiple_jobs([]) == []
        return [request.result for request in requests]

    assert run(act) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "entries", [[5], [{"data": 1}], [{"task": "tests.app.echo", "colour": 1}], ["tests.app.echo"]]
)
def test_a_wrong_element_is_named_before_anything_is_sent(own_gearmand, entries):
    with pytest.raises(TypeError, match=r"jobs_to_submit\[1\]"):
        right = {"task": "tests.app.echo", "data": 1}
        run(lambda: GearmanClient().asubmit_multiple_jobs([right, *entries], background=True))
    assert own_gearmand.totals() == {}


def test_many_background_jobs_are_queued_and_each_is_found(worker):
    async def act() -> list[bool | None]:
        batch = await jobs.echo.aenqueue_many(range(3))
        assert (len(batch), batch.refused) == (3, [])
        client = GearmanClient()
        found = [await client.aget_job_status(request) for request in batch]
        by_handle = await client.aget_job_status(batch[0].handle)
        return [request.status.known for request in (*found, by_handle)]

    assert run(act) == [True] * 4
    assert [json.loads(worker.grab_job(20).workload)["args"] for _ in range(3)] == [[0], [1], [2]]


def test_nothing_is_queued_for_no_items(own_gearmand):
    assert len(run(lambda: jobs.echo.aenqueue_many([]))) == 0
    assert own_gearmand.totals() == {}


def test_requests_are_awaited_together_up_to_a_time(echoes):
    client = GearmanClient()

    async def act() -> list[Any]:
        started = [
            await client.asubmit_job("tests.app.echo", value, wait_until_complete=False)
            for value in ("a", "fail", "b")
        ]
        done = await client.await_until_jobs_completed(started, poll_timeout=20)
        assert done == started
        return [(request.state, request.timed_out) for request in done]

    assert run(act) == [(JOB_COMPLETE, False), ("FAILED", False), (JOB_COMPLETE, False)]


def test_requests_that_do_not_end_are_timed_out(worker):
    client = GearmanClient()

    async def act() -> list[bool]:
        started = [
            await client.asubmit_job("tests.app.echo", n, wait_until_complete=False) for n in "ab"
        ]
        started.append(client.submit_job("tests.app.echo", "c", wait_until_complete=False))
        await client.await_until_jobs_completed(started, poll_timeout=0.05)
        return [request.timed_out for request in started]

    assert run(act) == [True] * 3


def test_wrong_arguments_of_the_methods_for_loops_are_refused(own_gearmand):
    client = GearmanClient()
    wrong: list[tuple[Any, type[Exception]]] = [
        (lambda: client.aget_job_status(5), TypeError),
        (lambda: client.aget_job_status("no handle"), ValueError),
        (lambda: client.aget_result(""), TypeError),
        (lambda: client.aget_result("0" * 32, timeout="soon"), TypeError),
        (lambda: client.await_until_jobs_completed(["x"]), TypeError),
        (lambda: client.asubmit_multiple_jobs([], background="yes"), TypeError),
    ]
    for act, kind in wrong:
        with pytest.raises(kind):
            run(act)


def test_the_status_of_a_server_that_is_down_is_an_error(own_gearmand):
    own_gearmand.kill()

    with pytest.raises(ServerUnavailable, match="ask about job"):
        run(lambda: GearmanClient().aget_job_status(f"{own_gearmand.address}//H:x:1"))


class Waiting(Middleware):
    """A middleware that blocks."""

    threads: list[str] = []  # noqa: RUF012

    def around_submit(self, requests, submit):
        self.threads.append(threading.current_thread().name)
        submit(requests)


def test_middleware_may_block_for_it_runs_in_a_thread(settings, echoes):
    settings.GEARMAN_MIDDLEWARE = [f"{__name__}.Waiting"]
    Waiting.threads.clear()

    assert run(lambda: jobs.echo.ado("x")) == "x"
    assert Waiting.threads[0].startswith("gearman-wait-")


class Awaiting(Waiting):
    """A middleware that adds to the context, and waits on the loop."""

    async def around_asubmit(self, requests, submit):
        self.threads.append(threading.current_thread().name)
        for request in requests:
            request.context["tenant"] = "acme"
        await asyncio.sleep(0)
        await submit(requests)


class Refusing(Waiting):
    async def around_asubmit(self, requests, submit):
        raise PermissionError("no")


class Keeping(Waiting):
    async def around_asubmit(self, requests, submit):
        await submit([])


def test_middleware_for_loops_runs_there_without_a_thread(settings, worker):
    settings.GEARMAN_MIDDLEWARE = [f"{__name__}.Awaiting"]
    Waiting.threads.clear()

    request = run(lambda: jobs.echo.ado_background("x"))

    assert Waiting.threads == ["MainThread"]
    assert request.context == {"tenant": "acme"}
    assert json.loads(worker.grab_job(20).workload)["context"] == {"tenant": "acme"}


def test_one_middleware_that_is_not_for_loops_brings_all_into_a_thread(settings, echoes):
    settings.GEARMAN_MIDDLEWARE = [f"{__name__}.Awaiting", f"{__name__}.Waiting"]
    Waiting.threads.clear()

    assert run(lambda: jobs.echo.amap(["x", "y"])) == ["x", "y"]
    assert len(Waiting.threads) == 2
    assert all(name.startswith("gearman-wait-") for name in Waiting.threads)


def test_middleware_for_loops_may_refuse_or_keep_a_job(settings, own_gearmand):
    settings.GEARMAN_MIDDLEWARE = [f"{__name__}.Refusing"]
    with pytest.raises(PermissionError):
        run(lambda: jobs.echo.ado("x"))

    settings.GEARMAN_MIDDLEWARE = [f"{__name__}.Keeping"]
    with pytest.raises(ResultUnavailable):
        run(lambda: jobs.echo.ado("x"))
    assert own_gearmand.totals() == {}


def test_a_job_that_waits_for_a_commit_is_sent_by_its_thread(worker, db):
    request = run(lambda: jobs.echo.using(on_commit=True).ado_background("x"))

    assert request.background


def test_a_caller_is_warned_when_no_worker_serves_the_job(own_gearmand, monkeypatch, caplog):
    monkeypatch.setattr(lookout, "PATIENCE", 0.2)
    monkeypatch.setattr(lookout, "_told", {})
    lookout.environment.current().workers_are_here = False
    try:
        with pytest.raises(JobTimeout):
            run(lambda: jobs.echo.using(wait=1).ado("x"))
    finally:
        lookout.environment.current().workers_are_here = True

    [record] = [r for r in caplog.records if "no worker serves function" in r.getMessage()]
    assert "tests.app.echo" in record.getMessage()


def test_the_looks_for_a_worker_become_rarer_although_updates_arrive(worker, monkeypatch):
    # Given a job that sends an update after each look
    monkeypatch.setattr(lookout, "PATIENCE", 0.05)
    periods: list[float] = []
    seconds_on_loop = lookout.Lookout.seconds_on_loop
    is_due = lookout.Lookout._is_due
    updates: Iterator[Any] = iter([*(WorkStatus(n, 4) for n in range(4)), WorkComplete(b"null")])

    def period(self: lookout.Lookout, seconds: float | None) -> float:
        periods.append(seconds_on_loop(self, seconds))
        return periods[-1]

    def look(self: lookout.Lookout, function: str) -> bool:
        worker.send(job, next(updates))
        return is_due(self, function)

    monkeypatch.setattr(lookout.Lookout, "seconds_on_loop", period)
    monkeypatch.setattr(lookout.Lookout, "_is_due", look)

    # When a caller follows it
    async def act() -> int:
        nonlocal job
        request = await GearmanClient().asubmit_job(jobs.echo, "x", wait_until_complete=False)
        job = worker.grab_job(20)
        return len([update async for update in request.updates()])

    job: Any = None
    assert run(act) == 5

    # Then the time until the next look has grown
    assert max(periods) >= 0.2


# Servers


def test_a_server_that_is_down_is_an_error_that_says_what_to_do(own_gearmand):
    own_gearmand.kill()

    with pytest.raises(ServerUnavailable, match=r"no job server to submit the job.*refused"):
        run(lambda: jobs.echo.ado("x"))
    with pytest.raises(ServerUnavailable):
        run(lambda: jobs.echo.using(resubmit=1, wait=1).ado("x"))


def test_a_lost_connection_is_an_error_for_all_and_the_next_call_opens_another(own_gearmand):
    async def act() -> None:
        calls = [asyncio.create_task(jobs.echo.ado(number)) for number in range(3)]
        await asyncio.sleep(0.3)
        own_gearmand.kill()
        own_gearmand.start()
        for call in calls:
            with pytest.raises(ConnectionLost):
                await call
        assert (await jobs.echo.ado_background("again")).state == JOB_CREATED

    run(act)
