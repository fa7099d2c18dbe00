"""
The event loop of a worker, for `async def` jobs: one loop, in a separate thread, for all jobs.

A loop for each run, as `async_to_sync` makes it, costs more than the rest of a short job. But a loop
that stays must not carry anything from one job to the next. So the tasks that a job has started and
left are cancelled at its end, and threads of the loop's executor are not used again.

The thread that runs the job waits, and runs the thread-sensitive parts of it, for example Django's
ORM: with its own database connections, like a `def` job.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import SyncToAsync, async_to_sync

from ..utils.records import get_logger, log

logger = get_logger("django_gearman.jobs")

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Tasks = weakref.WeakSet[asyncio.Task[Any]]

_MOST_NAMES = 5  # of tasks in a message
_CLOSE_SECONDS = 5.0  # to end the loop

#: The tasks that the present job has started.
_started: ContextVar[_Tasks | None] = ContextVar("started", default=None)
_thread = threading.local()  # with the loop of the worker in this thread, `kept`


def _new_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    task = asyncio.Task(coroutine, loop=loop, **options)
    if (started := _started.get()) is not None:
        started.add(task)
    return task


class _Executor(ThreadPoolExecutor):
    """The threads of `asyncio.to_thread` and of name look-ups; `is_used` since it was made."""

    is_used = False

    def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
        self.is_used = True
        return super().submit(*args, **kwargs)


class KeptLoop:
    """An event loop in a thread, which begins with the first job and ends with `close`."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()  # around the start
        self._executor = _Executor()
        self._runs = 0  # at present; counted on the loop

    @property
    def is_usable(self) -> bool:
        """True unless this process is a fork, which has no copy of the thread."""
        return os.getpid() == self._process

    def start(self) -> asyncio.AbstractEventLoop:
        """Return the loop, which runs."""
        with self._lock:
            if self._loop is None:
                self._loop = loop = asyncio.new_event_loop()
                loop.set_task_factory(_new_task)
                loop.set_default_executor(self._executor)
                self._thread = threading.Thread(
                    target=self._serve, args=[loop], name="gearman-loop", daemon=True
                )
                has_started = threading.Event()  # older releases of asgiref use no other loop
                loop.call_soon(has_started.set)
                try:
                    self._thread.start()
                except RuntimeError:  # the system has no more threads
                    self._loop = None
                    loop.close()
                    raise
                has_started.wait()
        return self._loop

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while self._loop is loop:  # otherwise it is closed; a job may have stopped it
            with suppress(SystemExit, KeyboardInterrupt):  # of a task; who awaits it gets it, too
                loop.run_forever()
        # Clients and the like that belong to the loop close their connections now.
        with suppress(SystemExit, KeyboardInterrupt, RuntimeError):  # a job may stop it once more
            loop.run_until_complete(loop.shutdown_asyncgens())

    def run(
        self,
        names: tuple[str, str],
        func: Callable[_P, Coroutine[Any, Any, _T]],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """
        Call a coroutine function on the loop, and return its result.

        This thread runs its thread-sensitive parts. `names`, of the job and its handle, are for the
        log.
        """
        with _parent_loop(self.start()):
            return async_to_sync(self.run_here)(names, func, *args, **kwargs)

    async def run_here(
        self,
        names: tuple[str, str],
        func: Callable[_P, Coroutine[Any, Any, _T]],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Do the same from a task of the loop."""
        started: _Tasks = weakref.WeakSet()
        token = _started.set(started)
        self._runs += 1
        try:
            return await func(*args, **kwargs)
        finally:
            _started.reset(token)
            try:
                if started:
                    await _end_tasks(started, names)
            finally:
                self._runs -= 1
            if self._executor.is_used:
                await self._renew_executor()

    async def _renew_executor(self) -> None:
        """Make the next job use new threads; wait for those of this one, if there is no other."""
        used, self._executor = self._executor, _Executor()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(self._executor)
        used.shutdown(wait=False)
        if not self._runs:
            done = loop.create_future()
            waiting = threading.Thread(target=_wait_for, args=[used, loop, done], daemon=True)
            waiting.start()
            await all_done([done])

    def close(self) -> None:
        """End the loop, and its thread."""
        if self._loop is None or not self.is_usable:
            return
        loop, self._loop = self._loop, None
        loop.call_soon_threadsafe(loop.stop)
        self._executor.shutdown(wait=False)
        self._thread.join(_CLOSE_SECONDS)
        if not self._thread.is_alive():  # otherwise a coroutine blocks it
            loop.close()


def _wait_for(
    executor: ThreadPoolExecutor, loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]
) -> None:
    executor.shutdown()
    loop.call_soon_threadsafe(_set_done, done)


def _set_done(done: asyncio.Future[None]) -> None:
    if not done.cancelled():
        done.set_result(None)


async def all_done(futures: Sequence[asyncio.Future[Any]]) -> None:
    """Wait until all of these are done, also if code of the job cancels this task."""
    while left := [future for future in futures if not future.done()]:
        with suppress(asyncio.CancelledError):
            await asyncio.wait(left)


async def _end_tasks(started: _Tasks, names: tuple[str, str]) -> None:
    """Cancel the tasks that a job has left, and wait until they have ended."""
    is_told = False
    while left := [task for task in started if not task.done()]:
        for task in left:
            task.cancel()
        if not is_told:
            is_told = True
            those = ", ".join(
                getattr(t.get_coro(), "__qualname__", "?") for t in left[:_MOST_NAMES]
            )
            message = "job %s (%s) has left %d tasks running, which were cancelled: %s"
            log(logger, logging.WARNING, message, *names, len(left), those)
        await all_done(left)
        for task in left:
            if not task.cancelled() and (error := task.exception()) is not None:
                about = {"message": "a task that its job has left failed", "exception": error}
                task.get_loop().call_exception_handler({**about, "task": task})


@contextmanager
def _parent_loop(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Make `async_to_sync` in this thread use the loop, as it does inside of `sync_to_async`."""
    local = SyncToAsync.threadlocal
    before = {name: value for name, value in vars(local).items() if name.startswith("main_event")}
    local.main_event_loop, local.main_event_loop_pid = loop, os.getpid()
    try:
        yield
    finally:
        del local.main_event_loop, local.main_event_loop_pid
        vars(local).update(before)


@contextmanager
def kept_loop() -> Iterator[KeptLoop]:
    """Use one loop for all coroutines that this thread runs in the block."""
    before = getattr(_thread, "kept", None)
    _thread.kept = loop = KeptLoop()
    try:
        yield loop
    finally:
        _thread.kept = before
        loop.close()


def use_loop(loop: KeptLoop) -> None:
    """Use a loop for all coroutines that this thread runs from now on."""
    _thread.kept = loop


def run(
    names: tuple[str, str],
    func: Callable[_P, Coroutine[Any, Any, _T]],
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> _T:
    """Call a coroutine function: on the kept loop of this thread, or on one for this call."""
    loop: KeptLoop | None = getattr(_thread, "kept", None)
    if loop is None or not loop.is_usable:
        return async_to_sync(func)(*args, **kwargs)
    return loop.run(names, func, *args, **kwargs)
