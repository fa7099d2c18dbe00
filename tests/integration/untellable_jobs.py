"""Jobs of which it is hard to tell anything, and whose tellers die."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import Any

from django.dispatch import receiver

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
    if when in ("failed", "logged"):
        raise ValueError(when)


@gearman_job(retries=1, backoff=0)
def kill_who_tells_of_a_retry(when: str) -> None:
    leave("ran")
    raise ValueError(when)


def _end_process(job: Any, context: Any, when: str) -> None:
    if job.func in (kill_who_tells.func, kill_who_tells_of_a_retry.func):
        arguments = context._assigned.workload.decode()
        if f'"{when}"' in arguments:
            leave(when)
            os.kill(os.getpid(), signal.SIGKILL)


@receiver(job_started)
def _on_started(sender: Any, context: Any, **named: Any) -> None:
    _end_process(sender, context, "started")


@receiver(job_finished)
def _on_finished(sender: Any, context: Any, **named: Any) -> None:
    _end_process(sender, context, "finished")


@receiver(job_failed)
def _on_failed(sender: Any, context: Any, **named: Any) -> None:
    _end_process(sender, context, "failed")


@receiver(job_retried)
def _on_retried(sender: Any, context: Any, **named: Any) -> None:
    _end_process(sender, context, "retried")


class LeavingHandler(logging.Handler):
    """Ends its process when a job fails for that, as a careless handler may by accident."""

    def emit(self, record: logging.LogRecord) -> None:
        if "ValueError('logged')" in record.getMessage():
            leave("logged")
            sys.exit(4)


logging.getLogger("django_gearman.jobs").addHandler(LeavingHandler())
