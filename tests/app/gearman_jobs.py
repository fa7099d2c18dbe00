"""Jobs for the tests."""

from __future__ import annotations

import sys
import time
from typing import Any

from django_gearman import GearmanClient, JobContext, RetryJob, current_job, gearman_job

#: What jobs leave behind for a test to look at; fixture `ran` empties it.
RAN: list[Any] = []


@gearman_job
def echo(value: Any) -> Any:
    """Return the argument."""
    return value


@gearman_job
def add(left: int, right: int = 10) -> int:
    return left + right


@gearman_job
def nothing() -> str:
    return "ran"


@gearman_job("mail", "send-mail")
def send(to: str, *, subject: str = "Hello") -> str:
    RAN.append(to)
    return f"{subject}, {to}"


@gearman_job
def note(value: Any) -> None:
    RAN.append(value)


@gearman_job
def fail(message: str) -> None:
    raise ValueError(message)


@gearman_job
def leave() -> None:
    sys.exit(3)


@gearman_job
def return_lambda() -> Any:
    return lambda: None


@gearman_job(takes_context=True)
def report(context: JobContext, steps: int) -> str:
    for done in range(1, steps + 1):
        context.set_status(done, steps)
    context.send_data({"part": 1})
    context.send_warning("beware")
    return context.name


@gearman_job(takes_context=True)
def try_again(context: JobContext, times: int, delay: float = 0) -> None:
    RAN.append(context.attempt)
    if context.attempt < times:
        raise RetryJob(delay)


@gearman_job(serializer="raw")
def reverse_bytes(data: bytes) -> bytes:
    return data[::-1]


@gearman_job
async def later(value: int) -> int:
    return value + 1


@gearman_job
def submit_another(value: Any) -> Any:
    return echo.do(value)


@gearman_job(retries=2, backoff=60)
def flaky(failures: int) -> int:
    """Fail a number of times, then return the number of the attempt."""
    job = current_job()
    assert job is not None
    RAN.append(job.attempt)
    if job.attempt <= failures:
        raise OSError(f"attempt {job.attempt}")
    return job.attempt


@gearman_job(retries=5, backoff=0, retry_on=OSError)
def picky(failure: str) -> None:
    RAN.append(failure)
    raise {"os": OSError, "value": ValueError, "exit": SystemExit, "retry": RetryJob}[failure]


@gearman_job
def tell_context() -> dict[str, Any]:
    job = current_job()
    return dict(job.context) if job is not None else {}


@gearman_job
def submit_with_context() -> Any:
    return tell_context.do()


@gearman_job
def wait_for_another(how: str) -> Any:
    client = GearmanClient()
    if how == "do":
        return note.do(1)
    if how == "map":
        return note.map([1])
    if how == "multiple":
        return client.submit_multiple_jobs([{"task": "tests.app.note", "data": 1}])[0].result
    return client.submit_job(note, 1, wait_until_complete=False).wait().result


@gearman_job
def send_and_wait(to: str) -> str:
    return send.do(to)


@gearman_job
def slow(seconds: float) -> None:
    time.sleep(seconds)


@gearman_job
async def await_another() -> Any:
    return await note.ado(1)
