"""Tasks of the tests; they note their calls in RAN."""

from __future__ import annotations

import time
from typing import Any

from django_gearman.contrib.tasks_backend import GearmanTaskBackend, task

RAN: list[Any] = []
SLEPT_SECONDS: list[float] = []


@task
def add(a: Any, b: Any = 0) -> Any:
    RAN.append(("add", a, b))
    return a + b


@task
async def aadd(a: int, b: int = 0) -> int:
    RAN.append(("aadd", a, b))
    return a + b


@task
def echo(value: Any) -> Any:
    RAN.append(value)
    return value


@task(queue_name="mail")
def send_mail(to: str) -> None:
    RAN.append(("mail", to))


@task(takes_context=True)
def show_context(context: Any) -> list[Any]:
    result = context.task_result
    RAN.append((context.attempt, result.id, str(result.status), list(result.errors)))
    return [context.attempt, result.id]


@task
def fail(message: str = "no") -> None:
    RAN.append("fail")
    raise ValueError(message)


@task
def give_what_is_not_json() -> Any:
    RAN.append("not json")
    return object()


@task
def leave() -> None:
    raise SystemExit("out")


@task
def enqueue_another(n: int) -> None:
    RAN.append(n)
    if n:
        enqueue_another.enqueue(n - 1)


def no_backoff(exception: BaseException, task_result: Any) -> int:
    return 0


def asked(exception: BaseException, task_result: Any) -> float | None:
    """Note what a backoff sees, and give up after the second attempt."""
    RAN.append((str(exception), task_result.attempts, len(task_result.errors)))
    return 60 if task_result.attempts < 2 else None


@task(max_attempts=3, backoff=no_backoff, takes_context=True)
def fail_twice(context: Any) -> int:
    RAN.append(context.attempt)
    if context.attempt < 3:
        raise OSError(f"attempt {context.attempt}")
    return int(context.attempt)


@task(max_attempts=2, backoff=no_backoff)
def fail_always() -> None:
    RAN.append("always")
    raise OSError(f"time {len(RAN)}")


@task(max_attempts=5, backoff=asked)
def fail_until_backoff_gives_up() -> None:
    raise OSError("slow down")


@task(max_attempts=2, backoff=lambda exception, task_result: "soon")  # type: ignore[arg-type,return-value]
def fail_with_wrong_backoff() -> None:
    raise OSError("first")


@task(max_attempts=2)
async def afail() -> None:
    RAN.append("afail")
    raise OSError("async")


@task(timeout=0.1, max_attempts=1)
def sleep(seconds: float) -> None:
    time.sleep(seconds)


@task(backend="open", queue_name="anything at all".replace(" ", "-"))
def in_open_queue(value: Any) -> Any:
    RAN.append(value)
    return value


@task(backend="patient", queue_name="patient")
def fail_patiently() -> None:
    RAN.append("patiently")
    raise OSError("again")


def plain_function() -> None:
    RAN.append("plain")


alias_of_add = add


class Holder:
    @staticmethod
    def of_class() -> None: ...


class OwnBackend(GearmanTaskBackend):
    """A subclass of a project."""


@task(takes_context=True, max_attempts=2, backoff=no_backoff)
def show_errors(context: Any) -> int:
    """Note the attempts and errors before this one."""
    errors = [error.exception_class.__name__ for error in context.task_result.errors]
    RAN.append((context.attempt, errors))
    if context.attempt == 1:
        raise LookupError("first")
    return int(context.attempt)


@task
def log_in(user: str, password: str) -> None:
    RAN.append(password)
