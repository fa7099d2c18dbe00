"""Jobs that leave marks in the file TRAIL."""

from __future__ import annotations

import ctypes
import itertools
import logging
import os
import resource
import signal
import sys
import threading
import time
import traceback
import warnings
from typing import Any

from django_gearman import current_job, gearman_job
from django_gearman.signals import job_submitted
from django_gearman.supervisor.scoreboard import Scoreboard
from tests.integration import forking_jobs as forking_jobs
from tests.integration import leaving_jobs as leaving_jobs
from tests.integration import thread_jobs as thread_jobs
from tests.integration import untellable_jobs as untellable_jobs
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


@gearman_job(retries=2, backoff=0)
def identify(*ways: str) -> None:
    """Leave who this is, and then do what is said for this attempt."""
    job = current_job()
    assert job is not None
    leave(f"{job.attempt}/{job.id}/{job.unique}/{job.enqueued_at}")
    for way in ways[job.attempt - 1 : job.attempt]:
        WAYS[way]()


def _fail() -> None:
    raise ValueError("in a thread")


def _die_before_it_is_noted() -> None:
    """Kill the process when the server has the next attempt, and the scoreboard does not know yet."""
    Scoreboard.reported = lambda *_: DEATHS["kill"]()  # type: ignore[method-assign]
    raise OSError("again")


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
WAYS = {
    "raise": _fail,
    "sleep": lambda: time.sleep(60),
    "die before it is noted": _die_before_it_is_noted,
    **DEATHS,
}
LOOPS = {
    "python": lambda: time.sleep(60),
    "careless": _sleep_whatever_happens,
    "c": lambda: sum(itertools.repeat(1)),
}


# Jobs that write in each way there is


@gearman_job
def make_noise() -> None:
    print("printed", "in parts", end=" ")
    print("and on")
    print("one\ntwo", file=sys.stderr)
    sys.stdout.write("without an end")
    sys.stdout.flush()
    warnings.warn("a warning", stacklevel=1)
    logging.getLogger("shop").warning("of the project's own logger")
    thread = threading.Thread(target=_fail, name="odd\nthread")
    thread.start()
    thread.join()
    try:
        _fail()
    except ValueError:
        traceback.print_exc()


@gearman_job
def raise_text(text: str) -> None:
    logging.getLogger("shop.without.handlers").error("of a stranger: %s", text)

    def fail(**_: Any) -> None:
        raise ValueError(text)

    job_submitted.connect(fail)
    job_submitted.send_robust(None, request=None)
    job_submitted.disconnect(fail)
    raise ValueError(text)
