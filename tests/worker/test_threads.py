"""A worker with several jobs at a time, over the memory transport."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections import Counter
from functools import partial

import pytest
from asgiref.sync import sync_to_async
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections, transaction
from django.utils import timezone, translation

from django_gearman import current_job
from django_gearman.exceptions import BackendError, JobTimeLimitExceeded
from django_gearman.signals import job_failed, job_finished, job_started, worker_stopping
from django_gearman.supervisor import CANCEL_SIGNAL, Scoreboard
from django_gearman.worker.cancelling import Cancelling
from django_gearman.worker.observer import WorkerObserver
from django_gearman.worker.process import Limits, SupervisedObserver
from django_gearman.worker.routing import MOST_THREADS
from django_gearman.worker.worker import GearmanWorker
from tests.app import gearman_jobs as jobs

PATIENCE = 60


class Limited(WorkerObserver):
    """An observer that gives each job a time limit."""

    def time_limit(self, timeout):
        return 0.1


@pytest.fixture(params=["def", "async def"])
def kind(request):
    return request.param


@pytest.fixture
def run(request, settings, monkeypatch):
    """Run functions as jobs of one worker at the same time; return results and errors by number."""
    settings.GEARMAN_BACKEND = "memory"
    settings.GEARMAN_OPTIONS = {"name": request.node.nodeid}
    results: dict[int, object] = {}

    def receive(sender, context, exception, **named) -> None:
        results[numbers[context.handle]] = exception

    numbers: dict[str, int] = {}
    job_failed.connect(receive)

    def run(*functions, threads=4, others=0, **options):
        results.clear()

        if asyncio.iscoroutinefunction(functions[0]):

            async def act(number: int) -> None:
                results[number] = await functions[number]()

        else:

            def act(number: int) -> None:
                results[number] = functions[number]()

        monkeypatch.setattr(jobs.note, "func", act)
        monkeypatch.setattr(jobs.note, "is_async", asyncio.iscoroutinefunction(act))
        for number, _ in enumerate(functions):
            numbers[jobs.note.do_background(number).handle] = number
        worker = GearmanWorker(threads=threads)
        assert worker.work(burst=True, **options) == len(functions) + others
        return [results.get(number, "cancelled") for number in range(len(functions))]

    yield run
    job_failed.disconnect(receive)


def as_kind(kind, func):
    """Return a function, or a coroutine function that calls it in a thread-sensitive way."""
    if kind == "def":
        return func

    async def act():
        return await sync_to_async(func)()

    return act


def together(kind, number):
    """Return a function whose calls wait for each other, and return how many there were."""
    barrier = threading.Barrier(number)
    if kind == "def":
        return lambda: barrier.wait(PATIENCE) is not None
    arrived = []

    async def meet() -> bool:
        arrived.append(1)
        async with asyncio.timeout(PATIENCE):
            while len(arrived) < number:
                await asyncio.sleep(0.001)
        return True

    return meet


def test_jobs_run_at_the_same_time(run, kind):
    assert run(*[together(kind, 4)] * 4) == [True] * 4


def test_there_are_at_most_as_many_as_threads(run, kind):
    running, most = [], []

    def act() -> None:
        running.append(1)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()

    run(*[as_kind(kind, act)] * 12, threads=3)
    assert max(most) <= 3


def test_more_jobs_than_threads_all_run(run, kind):
    found = run(*[as_kind(kind, threading.get_ident)] * 50)

    assert len(set(found)) <= 4, "as many threads as slots"


def test_async_jobs_have_one_loop(run):
    async def loop() -> asyncio.AbstractEventLoop:
        await asyncio.sleep(0.01)
        return asyncio.get_running_loop()

    assert len(set(run(*[loop] * 10))) == 1


def test_each_job_knows_which_it_is(run, kind):
    def ask() -> str:
        before = current_job()
        time.sleep(0.005)
        assert current_job() is before
        return before.id

    assert len(set(run(*[as_kind(kind, ask)] * 20))) == 20
    assert current_job() is None


def test_language_and_time_zone_do_not_leak(run, kind):
    before = translation.get_language(), timezone.get_current_timezone_name()

    def choose() -> tuple[str | None, str]:
        found = translation.get_language(), timezone.get_current_timezone_name()
        translation.activate("eo")
        timezone.activate("Asia/Tokyo")
        time.sleep(0.005)
        return found

    assert set(run(*[as_kind(kind, choose)] * 20)) == {before}


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_is_left_open_does_not_reach_the_next_job(run, kind, caplog):
    def look() -> int:
        depth = len(connection.atomic_blocks)
        transaction.atomic().__enter__()
        return depth

    assert set(run(*[as_kind(kind, look)] * 8, threads=2)) == {0}
    assert caplog.text.count("has left a transaction open, which was rolled back") >= 8 - 2


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_is_left_open_does_not_reach_the_receivers(run, kind, caplog):
    def leave_open() -> None:
        transaction.atomic().__enter__()
        ContentType.objects.create(app_label="ada", model="of the job")

    def receive(sender, **named) -> None:
        ContentType.objects.create(app_label="ada", model="of the receiver")

    job_finished.connect(receive)
    try:
        run(as_kind(kind, leave_open))
    finally:
        job_finished.disconnect(receive)

    found = ContentType.objects.filter(app_label="ada").values_list("model", flat=True)
    assert [*found] == ["of the receiver"]
    assert "job tests.app.note (" in caplog.text
    assert "has left a transaction open, which was rolled back" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_connections_are_closed_when_the_worker_ends(run, kind, tmp_path):
    opened = []

    def query() -> None:
        ContentType.objects.count()
        opened.append(connections["default"])

    run(*[as_kind(kind, query)] * 6, threads=2)
    others = {id(each): each for each in opened if each is not connections["default"]}
    assert others, "the jobs had connections of their own"
    assert len(others) <= 2
    assert not any(each.allow_thread_sharing for each in others.values())


def test_failures_are_of_their_job(run, kind):
    def fail() -> None:
        raise ValueError(current_job().id)

    failed = run(*[as_kind(kind, fail)] * 10)
    assert len({str(error) for error in failed}) == 10
    assert {type(error) for error in failed} == {ValueError}


def test_receivers_are_called_for_each_job(run, kind):
    ends = []

    def receive(sender, context, **named) -> None:
        assert current_job() is context
        ends.append(context.id)

    job_finished.connect(receive)
    try:
        run(*[as_kind(kind, lambda: None)] * 10)
    finally:
        job_finished.disconnect(receive)
    assert len(set(ends)) == 10


def test_a_time_limit_interrupts_its_job_only(run, kind):
    if kind == "def":

        def long() -> str:
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                time.sleep(0.005)
            return "too late"

        def short() -> str:
            return "done"

    else:

        async def long() -> str:
            await asyncio.sleep(PATIENCE)
            return "too late"

        async def short() -> str:
            return "done"

    error, *others = run(long, short, short, observer=Limited())

    assert type(error) is JobTimeLimitExceeded
    assert "exceeded its timeout of 0.1 s" in str(error)
    assert others == ["done"] * 2


def test_a_time_limit_that_is_not_reached_leaves_nothing_behind(run):
    def almost() -> None:
        time.sleep(0.095)

    ends = run(*[almost] * 20, observer=Limited())

    assert {type(end) for end in ends} <= {type(None), JobTimeLimitExceeded}


def test_a_job_catches_the_time_limit_as_what_it_is(run):
    def catch() -> str:
        try:
            while True:
                time.sleep(0.005)
        except JobTimeLimitExceeded as error:
            return str(error)

    assert "exceeded its timeout" in run(catch, catch, observer=Limited())[1]


def test_a_job_that_waits_for_another_one_gets_its_result(run, kind):
    def outer() -> int:
        return jobs.add.do(1, 2)

    assert run(*[as_kind(kind, outer)] * 3, others=3) == [3] * 3


def test_a_limit_of_jobs_is_exact(request, settings):
    settings.GEARMAN_BACKEND = "memory"
    settings.GEARMAN_OPTIONS = {"name": request.node.nodeid}
    for number in range(10):
        jobs.note.do_background(number)

    assert GearmanWorker(threads=4).work(burst=True, limit=3) == 3
    assert GearmanWorker(threads=4).work(burst=True) == 7


def test_stop_finishes_the_jobs_that_run(request, settings, monkeypatch):
    settings.GEARMAN_BACKEND = "memory"
    settings.GEARMAN_OPTIONS = {"name": request.node.nodeid}
    worker = GearmanWorker(threads=4)
    barrier, done = threading.Barrier(4, action=worker.stop), []

    def act(number: int) -> None:
        barrier.wait(PATIENCE)
        time.sleep(0.05)
        done.append(number)

    monkeypatch.setattr(jobs.note, "func", act)
    for number in range(8):
        jobs.note.do_background(number)

    assert worker.work() == 4
    assert len(done) == 4


def test_the_threads_end_with_the_worker(run, kind):
    before = threading.active_count()

    run(*[as_kind(kind, lambda: None)] * 8)

    assert threading.active_count() == before


def test_a_crash_of_the_worker_itself_is_raised_in_its_thread(run):
    class Broken(WorkerObserver):
        def of_slot(self, number):
            return Broken()

        def ended(self):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        run(lambda: None, observer=Broken())


def test_a_crash_does_not_wait_for_other_jobs(run):
    may_end = threading.Event()

    class Broken(WorkerObserver):
        def of_slot(self, number):
            return Broken() if number == 1 else WorkerObserver()

        def ended(self):
            raise RuntimeError("broken")

    try:
        with pytest.raises(RuntimeError, match="broken"):
            run(lambda: may_end.wait(PATIENCE), lambda: None, observer=Broken())
        assert not may_end.is_set()
    finally:
        may_end.set()


@pytest.mark.parametrize("threads", [0, -1, True, 1.5, "4", None, MOST_THREADS + 1])
def test_a_bad_number_of_threads_is_refused(threads):
    with pytest.raises(ValueError, match="threads is a whole number from 1 to"):
        GearmanWorker(threads=threads)


def test_a_transport_that_runs_one_job_at_a_time_says_so(settings):
    settings.GEARMAN_BACKEND = "eager"

    with pytest.raises(BackendError, match="runs one job at a time"):
        GearmanWorker(threads=2).work(burst=True)


def test_the_signal_of_stopping_comes_after_the_last_job(run, kind):
    order = []

    def receive(sender, **named) -> None:
        order.append("stopping")

    worker_stopping.connect(receive)
    try:
        run(*[as_kind(kind, lambda: order.append("job"))] * 5)
    finally:
        worker_stopping.disconnect(receive)
    assert order == ["job"] * 5 + ["stopping"]


# Coroutines that lay hands on their task, or on the loop


def _cancel_this_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def cancel_and_return() -> str:
    _cancel_this_task()
    return "returned"


async def cancel_and_raise() -> None:
    _cancel_this_task()
    raise ValueError("after all")


async def cancel_and_leave_a_task() -> str:
    asyncio.get_running_loop().create_task(asyncio.sleep(PATIENCE))
    _cancel_this_task()
    return "returned"


async def cancel_and_use_a_thread() -> str:
    await asyncio.to_thread(_nothing)
    _cancel_this_task()
    return "returned"


async def raise_in_a_task(error: BaseException) -> None:
    async def fail() -> None:
        raise error

    await asyncio.create_task(fail())


def _nothing() -> None:
    pass


@pytest.mark.parametrize(
    ("act", "end"),
    [
        (cancel_and_return, "returned"),
        (cancel_and_raise, "after all"),
        (cancel_and_leave_a_task, "returned"),
        (cancel_and_use_a_thread, "returned"),
        (partial(raise_in_a_task, SystemExit("left")), "left"),
        (partial(raise_in_a_task, GeneratorExit("closed")), "closed"),
    ],
    ids=["returns", "raises", "leaves a task", "uses a thread", "exits", "is closed"],
)
@pytest.mark.parametrize("has_receivers", [False, True], ids=["", "with receivers"])
def test_a_coroutine_that_ends_its_task_ends_alone(run, act, end, has_receivers):
    meet = together("async def", 3)
    calls = []

    def receive(sender, **named) -> None:
        pass

    async def act_once() -> object:
        calls.append(act)
        return await act()

    if has_receivers:
        job_started.connect(receive)
    try:
        found = run(meet, act_once, meet, meet)
    finally:
        job_started.disconnect(receive)

    assert [str(each) for each in found] == ["True", end, "True", "True"]
    assert len(calls) == 1


def test_a_coroutine_that_cancels_all_tasks_ends_no_worker(run):
    async def cancel_all() -> str:
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()
        return "cancelled all"

    async def wait() -> str:
        await asyncio.sleep(0.05)
        return "done"

    async def be_quick() -> str:
        return "done"

    first, *others, last = run(cancel_all, *[wait] * 6, be_quick)

    assert (first, last) == ("cancelled all", "done")
    assert {each if each == "done" else type(each) for each in others} <= {
        "done",
        asyncio.CancelledError,
    }


def test_a_coroutine_that_stops_the_loop_stops_no_job(run):
    async def stop() -> str:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)
        return "stopped"

    assert run(stop, *[together("async def", 2)] * 2) == ["stopped", True, True]


# Requests to cancel


@pytest.fixture
def supervised():
    """Return a scoreboard with four slots, and an observer that writes it."""
    board = Scoreboard(cells=5)
    channel, parent = socket.socketpair()
    before = signal.getsignal(CANCEL_SIGNAL)
    Cancelling(board).install()
    yield board, SupervisedObserver(board, channel, Limits(), None)
    signal.signal(CANCEL_SIGNAL, before)
    board.close()
    channel.close()
    parent.close()


def test_a_request_to_cancel_interrupts_its_job_only(run, kind, supervised):
    board, observer = supervised
    aims, may_end = [], threading.Event()

    def ask() -> None:
        """Ask to cancel the first job, from another process's view, until it has ended."""
        while len(aims) < 4:
            time.sleep(0.005)
        [aim] = [cell for cell in board.running() if aims[0].handle.encode() in cell.task]
        aim.ask(aim.began_at, aims[0].id)
        while aim in board.running():
            os.kill(os.getpid(), CANCEL_SIGNAL)
            time.sleep(0.02)
        may_end.set()

    if kind == "def":

        def hold() -> str:
            aims.append(current_job())
            until = time.monotonic() + PATIENCE
            while not may_end.is_set() and time.monotonic() < until:
                time.sleep(0.005)
            return "done"

    else:

        async def hold() -> str:
            aims.append(current_job())
            async with asyncio.timeout(PATIENCE):
                while not may_end.is_set():
                    await asyncio.sleep(0.005)
            return "done"

    asking = threading.Thread(target=ask)
    asking.start()
    found = run(*[hold] * 4, observer=observer)

    asking.join()
    assert Counter(found) == {"done": 3, "cancelled": 1}


# The system has no more threads


@pytest.fixture
def most_threads(monkeypatch):
    """Return a function that limits the threads of slots; the number counts those that have started."""
    start = threading.Thread.start

    def limit(most: int) -> None:
        started: list[str] = []

        def may_start(thread: threading.Thread) -> None:
            if thread.name.startswith("gearman-"):
                if len(started) >= most:
                    raise RuntimeError("can't start new thread")
                started.append(thread.name)
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", may_start)

    return limit


def test_jobs_without_a_thread_run_once_after_others(run, most_threads, caplog):
    most_threads(2)
    runs: list[int] = []
    functions = [lambda number=number: runs.append(number) for number in range(20)]

    run(lambda: time.sleep(0.2), lambda: time.sleep(0.2), *functions, threads=10)

    assert sorted(runs) == [*range(20)]
    [record] = [r for r in caplog.records if "at a time from now on" in r.getMessage()]
    assert "can't start new thread: this process runs 2 jobs at a time" in record.getMessage()


@pytest.mark.parametrize("function", [lambda: None, asyncio.sleep], ids=["def", "async def"])
def test_a_worker_without_any_thread_ends_before_the_job(run, most_threads, function):
    most_threads(0)
    begun: list[int] = []
    job_started.connect(lambda **named: begun.append(1), weak=False, dispatch_uid="begun")
    try:
        with pytest.raises(RuntimeError, match="new thread"):
            run(function, threads=4)
    finally:
        job_started.disconnect(dispatch_uid="begun")

    assert begun == []
