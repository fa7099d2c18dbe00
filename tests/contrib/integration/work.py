"""Tasks of the integration tests; they write to the file TRAIL."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from django_gearman.contrib.tasks_backend import task
from tests.contrib.integration.gearman_jobs import write


@task
def note(value: Any) -> Any:
    write(str(value))
    return value


@task(backend="durable", queue_name="durable")
def note_durably(value: Any) -> Any:
    write(str(value))
    return value


@task
def note_otherwise(value: Any) -> Any:
    write(str(value))
    return value


@task(takes_context=True)
def die_once(context: Any) -> int:
    """Kill the worker's process at the first attempt."""
    write(f"attempt {context.attempt}")
    if context.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return int(context.attempt)


@task
def die() -> None:
    write("dies")
    os.kill(os.getpid(), signal.SIGKILL)


def at_once(exception: BaseException, task_result: Any) -> int:
    write(f"{type(exception).__name__} {task_result.attempts}")
    return 0


@task(max_attempts=2, backoff=at_once)
def die_twice() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task(timeout=0.5, max_attempts=2, backoff=at_once)
def never_end() -> None:
    """Run past the time limit, also past the exception."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    time.sleep(600)


@task(timeout=0.2)
def sleep_on() -> None:
    time.sleep(600)
