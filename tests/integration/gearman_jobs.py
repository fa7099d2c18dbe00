"""Jobs that leave marks in the file TRAIL."""

from __future__ import annotations

import ctypes
import itertools
import os
import resource
import signal
import time
from typing import Any

from django_gearman import current_job, gearman_job
from tests.integration import forking_jobs as forking_jobs
from tests.integration.marks import leave as leave


@gearman_job
def mark(value: Any) -> Any:
    leave(value)
    return value


@gearman_job(queue="slow")
def hold(seconds: float) -> str:
    print("holding", os.getpid(), flush=True)
    leave("begun")
    time.sleep(seconds)
    leave("done")
    return "held"


# Jobs that cost a worker


@gearman_job(retries=1, backoff=0)
def poison(how: str) -> None:
    job = current_job()
    leave(f"{how}-{job.attempt if job else 0}")
    DEATHS[how]()


@gearman_job
def poison_without_retries() -> None:
    leave("died")
    os._exit(1)


@gearman_job(timeout=0.3, retries=1, backoff=0)
def endless(loop: str) -> None:
    leave(loop)
    LOOPS[loop]()


@gearman_job(retries=2, backoff=1)
def flaky(failures: int) -> int:
    job = current_job()
    attempt = job.attempt if job else 0
    leave(f"attempt{attempt}")
    if attempt <= failures:
        raise OSError("not yet")
    return attempt


def _eat_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    ctypes.string_at(0)  # what a C library does with the NULL that malloc gives it


def _sleep_whatever_happens() -> None:
    while True:
        try:
            time.sleep(60)
        except Exception as error:  # as careless code does
            leave(type(error).__name__)


DEATHS = {
    "exit": lambda: os._exit(1),
    "leave": lambda: os._exit(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crash": _eat_memory,
}
LOOPS = {
    "python": lambda: time.sleep(60),
    "careless": _sleep_whatever_happens,
    "c": lambda: sum(itertools.repeat(1)),
}
