"""Jobs for the tests of the optional parts."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

from django.db import connection, models, transaction

from django_gearman import GearmanClient, JobContext, RetryJob, current_job, gearman_job
from django_gearman.contrib.store.models import JobRecord
from django_gearman.exceptions import JobCancelled
from django_gearman.jobs import keeping
from tests.contrib.otel import work as traced  # noqa: F401 - their jobs are loaded with these
from tests.contrib.sentry import work as reported  # noqa: F401


def write(line: str) -> None:
    """Append a line to the file TRAIL, as a whole."""
    trail = os.open(os.environ["TRAIL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(trail, f"{line}\n".encode())
    os.close(trail)


#: What jobs leave behind for a test to look at; the fixture `has_run` empties it.
RAN: list[Any] = []


@gearman_job(store_result=True)
def double(value: Any) -> Any:
    RAN.append(value)
    return value * 2


@gearman_job(store_result=True, retries=2, backoff=0)
def fails_at_first(times: int) -> int:
    """Fail a number of times, then return the number of the attempt."""
    job = current_job()
    assert job is not None
    RAN.append(job.attempt)
    if job.attempt <= times:
        raise OSError(f"attempt {job.attempt}")
    return job.attempt


@gearman_job
def plain(value: Any) -> Any:
    """Return the argument; nothing is recorded."""
    RAN.append(value)
    return value


@gearman_job
def fail(message: str = "no") -> None:
    RAN.append(message)
    raise ValueError(message)


@gearman_job(retries=2, backoff=0)
def flaky(times: int) -> None:
    job = current_job()
    assert job is not None
    RAN.append(job.attempt)
    if job.attempt <= times:
        raise OSError(f"attempt {job.attempt}")


@gearman_job(takes_context=True, store_result=True)
def asks_for_another_run(context: JobContext) -> int:
    if context.attempt < 3:
        raise RetryJob(0)
    return context.attempt


@gearman_job(sensitive=("card",))
def pay(card: str, amount: int, *, password: str = "", **more: Any) -> None:
    job = current_job()
    secret = job.context.get("secret") if job is not None else None
    raise ValueError(f"card {card} with {password} of {secret} refused")


@gearman_job(sensitive=True)
def keeps_no_arguments(name: str) -> None:
    raise ValueError(f"no {name}")


@gearman_job(serializer="pickle", store_result=True)
def pickled(value: Any) -> Any:
    RAN.append(value)
    if isinstance(value, Exception):
        raise value
    return value


@gearman_job(serializer="raw", store_result=True)
def raw(data: bytes) -> bytes:
    RAN.append(data)
    if data.startswith(b"!"):
        raise ValueError("refused")
    return data


@gearman_job(store_result=True)
def overtaken(fails: bool) -> str:
    """Return, or fail, when another run of this job has begun."""
    job = current_job()
    assert job is not None
    JobRecord.objects.filter(pk=job.id).update(run=models.F("run") + 1, worker_ids=["another"])
    if fails:
        raise ValueError("late")
    return "late"


@gearman_job(store_result=True)
def loses_its_table(fails: bool) -> str:
    """Return, or fail, when the table of records is away."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE gearman_jobrecord RENAME TO gearman_away")
    if fails:
        raise ValueError("no")
    return "done"


@gearman_job(store_result=True)
def leaves_a_transaction_open(value: int) -> int:
    """Return when a transaction has begun, which the worker rolls back."""
    atomic = transaction.atomic()
    atomic.__enter__()
    JobRecord.objects.update(queue="changed")
    return value


# Jobs of the integration tests, which write lines into the file TRAIL.


@gearman_job("trail", store_result=True)
def works(number: int) -> int:
    """Return the double; fail if the number ends in 0."""
    write(f"run {number}")
    time.sleep(0.002)
    if number % 10 == 0:
        raise ValueError(f"number {number}")
    return number * 2


@gearman_job("trail", store_result=True)
def dies_when_recorded(number: int) -> int:
    """Kill this process when the end of the job is recorded, and before it is reported."""
    write(f"run {number}")
    keeper = keeping.keeper
    assert keeper is not None
    keep = keeper.keep

    def keep_and_die(run: Any, ending: Any) -> Any:
        keep(run, ending)
        os.kill(os.getpid(), signal.SIGKILL)

    keeper.keep = keep_and_die  # type: ignore[method-assign]
    return number * 2


@gearman_job("trail", store_result=True)
def waits_in_its_first_run(path: str) -> str:
    """Return when a file exists, or at once if an earlier run waits for that."""
    write("run")
    with open(os.environ["TRAIL"]) as trail:
        is_first = len(trail.readlines()) == 1
    while is_first and not os.path.exists(path):
        time.sleep(0.02)
    return "first" if is_first else "second"


@gearman_job("trail", retries=1, backoff=0)
def kills_its_process() -> None:
    write("run")
    os.kill(os.getpid(), signal.SIGKILL)


@gearman_job("trail")
def kills_each_process() -> None:
    write("run")
    os.kill(os.getpid(), signal.SIGKILL)


@gearman_job(store_result=True)
async def doubles_later(value: int) -> int:
    return value * 2


@gearman_job(store_result=True)
def leaves(code: int) -> None:
    raise SystemExit(code)


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@gearman_job
def raises_what_has_no_text() -> None:
    raise Unreadable


@gearman_job(serializer="pickle")
def fails_pickled(value: Any) -> None:
    raise ValueError("no")


@gearman_job(store_result=True, retries=3, backoff=10)
def fails_later(value: Any) -> None:
    RAN.append(value)
    raise OSError("not yet")


@gearman_job(store_result=True, retries=3, backoff=0)
def cancels_itself(how: str) -> list[Any]:
    """Be cancelled by another program, and end in one of several ways."""
    job = current_job()
    assert job is not None
    RAN.append(how)
    seen: list[Any] = [job.is_cancelled]
    answer = GearmanClient().cancel(job.id)
    while not job.is_cancelled:
        time.sleep(0.01)
    if how == "fails":
        raise OSError("cut off")
    if how == "raises":
        raise JobCancelled("as asked")
    if how == "runs again":
        raise RetryJob(0)
    return [answer.value, *seen, job.is_cancelled]


@gearman_job(store_result=True, retries=3, backoff=0)
def gives_up() -> None:
    RAN.append("gives up")
    raise JobCancelled("not today")


@gearman_job(retries=3, backoff=0)
def gives_up_unrecorded() -> None:
    raise JobCancelled("not today")


@gearman_job("trail", store_result=True)
def cancels_slowly(name: str, seconds: float) -> str:
    write(f"begin {name}")
    try:
        time.sleep(seconds)
    except BaseException as error:
        write(f"{type(error).__name__} {name}")
        raise
    write(f"end {name}")
    return name


@gearman_job("trail", store_result=True)
def cancels_stubborn(name: str) -> None:
    """Catch every interrupt, for ever."""
    write(f"begin {name}")
    while True:
        try:
            time.sleep(60)
        except BaseException as error:
            write(f"{type(error).__name__} {name}")


@gearman_job("trail", store_result=True)
async def cancels_async(name: str, seconds: float) -> str:
    write(f"begin {name}")
    try:
        await asyncio.sleep(seconds)
    except BaseException as error:
        write(f"{type(error).__name__} {name}")
        raise
    return name


@gearman_job("trail", store_result=True, retries=3)
def takes_up_to(milliseconds: int) -> int:
    """Work for a moment, and leave a line about the begin and the end."""
    job = current_job()
    assert job is not None
    write(f"begin {job.id}")
    try:
        time.sleep(milliseconds / 1000)
    except JobCancelled:
        write(f"cut {job.id}")
        raise
    write(f"end {job.id}")
    return milliseconds


@gearman_job("trail", store_result=True)
def counts_for_ever(name: str) -> None:
    """Catch each Exception, as careless jobs do, and be busy."""
    write(f"begin {name}")
    while True:
        try:
            sum(range(1000))
            raise ValueError(name)
        except Exception:
            pass
