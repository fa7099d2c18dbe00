"""Jobs that are hard to report, and whose reporters die."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from django_gearman import gearman_job
from django_gearman.signals import job_failed, job_finished, job_retried, job_started
from tests.integration.marks import leave


class Unspeakable(Exception):
    """Its text, and what led to it, cannot be had; `kind` is what is raised instead."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def __str__(self) -> str:
        raise self.kind("unspeakable")

    __repr__ = __str__

    @property
    def __cause__(self) -> BaseException | None:  # type: ignore[override]
        raise self.kind("unspeakable")


def _raise_group() -> None:
    error = Exception("innermost")
    for _ in range(10_000):
        error = ExceptionGroup("group", [error])
    raise error


def _raise_cycle() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def _raise(error: BaseException) -> None:
    raise error


FAILURES = {
    "exits": lambda: _raise(Unspeakable(SystemExit)),
    "interrupts": lambda: _raise(Unspeakable(KeyboardInterrupt)),
    "recurses": lambda: _raise(Unspeakable(RecursionError)),
    "interrupt": lambda: _raise(KeyboardInterrupt()),
    "exit": lambda: sys.exit(3),
    "group": _raise_group,
    "cycle": _raise_cycle,
    "surrogates": lambda: _raise(ValueError("\ud800 \0 \x1b[31m")),
    "huge": lambda: _raise(ValueError("x" * 5_000_000)),
}


@gearman_job
def fail_as(how: str) -> None:
    leave(how)
    FAILURES[how]()


@gearman_job(retries=2, backoff=0)
def fail_and_retry_as(how: str) -> None:
    leave(how)
    FAILURES[how]()


@gearman_job
def raise_value(value: Any) -> None:
    leave("raised")
    raise ValueError(value)


@gearman_job(retries=2, backoff=0)
def raise_value_with_retries(value: Any) -> None:
    leave("raised")
    raise ValueError(value)


@gearman_job
def kill_who_tells(when: str) -> None:
    leave("ran")
    if when in ("failed", "exits", "ends"):
        raise ValueError(when)


@gearman_job(retries=1, backoff=0)
def kill_who_tells_of_a_retry(when: str) -> None:
    leave("ran")
    raise ValueError(when)


@gearman_job
def close_all() -> None:
    leave("closed")
    os.closerange(3, 4096)


class Unreadable:
    """A value that ends the process which unpickles it."""

    def __reduce__(self) -> Any:
        return end_reader, ()


def end_reader() -> None:
    leave("read")
    os._exit(1)


@gearman_job(serializer="pickle")
def take(value: Any) -> None:
    leave("ran")


@gearman_job(serializer="pickle", retries=5, backoff=0)
def take_with_retries(value: Any) -> None:
    leave("ran")


def _end_process_of(signal_name: str) -> Callable[..., None]:
    def end(context: Any, **named: Any) -> None:
        if f'"{signal_name}"' in context._assigned.workload.decode():
            leave(signal_name)
            os.kill(os.getpid(), signal.SIGKILL)

    return end


class EndingHandler(logging.Handler):
    """Ends its process where a job fails with one of these words, as a careless handler may."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "ValueError('exits')" in message:
            leave("exits")
            sys.exit(4)
        if "ValueError('ends')" in message:
            leave("ends")
            os._exit(4)


if "TRAIL" in os.environ:  # in the processes of a worker only
    for name, each in {
        "started": job_started,
        "finished": job_finished,
        "failed": job_failed,
        "retried": job_retried,
    }.items():
        for sender in (kill_who_tells, kill_who_tells_of_a_retry):
            each.connect(_end_process_of(name), sender=sender, weak=False)
    logging.getLogger("django_gearman.jobs").addHandler(EndingHandler())
