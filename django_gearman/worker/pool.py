"""A thread that runs one function after the other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class SlotThread(Executor):
    """
    A thread that starts with its first function, and calls `begin` before it.

    `is_used` is set with each function that an event loop submits.
    """

    def __init__(self, name: str, begin: Callable[[], object]) -> None:
        self.is_used = False
        self._name = name
        self._begin = begin
        self._thread: threading.Thread | None = None
        self._queue: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # around the start

    def post(self, func: Callable[[], object]) -> None:
        """Call a function, which must not raise, in the thread."""
        if self._thread is None:
            self._start()
        self._queue.put(func)

    def post_if_started(self, func: Callable[[], object]) -> None:
        if self._thread is not None:
            self._queue.put(func)

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        self.is_used = True
        future: Future[_T] = Future()
        self.post(partial(_settle, future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the thread after its functions."""
        self.post_if_started(None)  # type: ignore[arg-type]
        if wait and self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                thread.start()
                self._thread = thread

    def _work(self) -> None:
        self._begin()
        while (func := self._queue.get()) is not None:
            func()
            del func  # otherwise it would live until the next one


def _settle(future: Future[Any], func: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = func()
    except BaseException as error:  # noqa: BLE001 - the future has it
        future.set_exception(error)
    else:
        future.set_result(result)
