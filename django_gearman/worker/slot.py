"""
A slot of a worker with several jobs at a time.

Each slot has a thread and a cell of the scoreboard. An `async def` job is a task of the worker's loop;
the thread runs its thread-sensitive parts, for example Django's ORM. So a slot has one database
connection, which is looked after like that of a worker with one job.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.core.cache import caches

from .loop import all_done
from .observer import WorkerObserver
from .pool import SlotThread


class Slot:
    """A place for one job at a time."""

    def __init__(self, number: int, observer: WorkerObserver, begin: Callable[[], object]) -> None:
        self.number = number
        self.observer = observer
        self.thread = SlotThread(f"gearman-{number + 1}", begin)
        self.idle_since = math.inf  # infinity while its connections are closed, too
        self.task: asyncio.Task[None] | None = None  # of an `async def` job
        self.rest: Callable[[], object] | None = None  # of that job, for the thread
        self._sensitive = ThreadSensitiveContext()
        SyncToAsync.context_to_thread_executor[self._sensitive] = self.thread
        self._context: Context | None = None

    def context(self) -> Context:
        """Return a new context for a task: its thread-sensitive parts run in the slot's thread."""
        if self._context is None:
            self._context = Context()
            self._context.run(SyncToAsync.thread_sensitive_context.set, self._sensitive)
            self._context.run(_open_caches)
        return self._context.copy()

    async def in_thread(self, func: Callable[[], object]) -> object:
        """Call a function in the thread, in the context of this task; return its result."""
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self.thread, partial(copy_context().run, func))
        await all_done([future])
        return future.result()

    def leave(self, func: Callable[[], object] | None) -> None:
        """Let the thread call a function after this task, in the context of that; None is none."""
        self.rest = func and partial(copy_context().run, func)


def _open_caches() -> None:
    """Make the caches of this context, which keep their connections for later runs."""
    for alias in caches:
        with suppress(Exception):  # it is misconfigured; its users get the error
            caches[alias]
