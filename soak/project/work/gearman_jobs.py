"""Jobs that write their numbers to the file TRAIL, and jobs that harm their process."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time

from django.dispatch import receiver

from django_gearman import current_job, gearman_job
from django_gearman.signals import job_failed, job_finished

from . import leaving as leaving
from .number import RELEASE


class Trouble(Exception):
    """A failure that goes away."""


def leave(word: str, number: int) -> None:
    """Append a line with a single write, so that processes do not mix lines."""
    trail = os.open(os.environ["TRAIL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(trail, f"{word} {number}\n".encode())
    os.close(trail)


@gearman_job
def append(number: int, seconds: float) -> None:
    leave("began", number)
    time.sleep(seconds / 2)
    leave("appended", number)
    time.sleep(seconds / 2)
    leave("ended", number)


@gearman_job(queue="again", retries=30, backoff=0)
def append_again(number: int, seconds: float, fails: bool) -> None:
    """Append like `append`, with attempts to spare; `fails` is the number of failures first."""
    append(number, seconds)
    job = current_job()
    if fails and job is not None and job.attempt == 1:
        leave("raised", number)
        raise Trouble(number)


@gearman_job
def append_quickly(number: int, seconds: float) -> None:
    time.sleep(seconds)
    leave("appended", number)


@gearman_job
def release(seconds: float) -> int:
    time.sleep(seconds)
    return RELEASE


# The same as coroutines


@gearman_job
async def append_async(number: int, seconds: float) -> None:
    leave("began", number)
    await asyncio.sleep(seconds / 2)
    leave("appended", number)
    await asyncio.sleep(seconds / 2)
    leave("ended", number)


@gearman_job(queue="again", retries=30, backoff=0)
async def append_again_async(number: int, seconds: float, fails: bool) -> None:
    await append_async(number, seconds)
    job = current_job()
    if fails and job is not None and job.attempt == 1:
        leave("raised", number)
        raise Trouble(number)


@gearman_job
async def append_quickly_async(number: int, seconds: float) -> None:
    await asyncio.sleep(seconds)
    leave("appended", number)


@gearman_job
async def release_async(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return RELEASE


# Poison


def attempt() -> None:
    job = current_job()
    assert job is not None
    leave(job.name.rpartition(".")[2], job.attempt)


@gearman_job(retries=2, backoff=0)
def exits() -> None:
    attempt()
    os._exit(1)


@gearman_job(retries=2, backoff=0)
def kills() -> None:
    attempt()
    os.kill(os.getpid(), signal.SIGKILL)


@gearman_job
def kills_without_retries() -> None:
    attempt()
    os.kill(os.getpid(), signal.SIGKILL)


@gearman_job(timeout=1, retries=1, backoff=0)
def never_ends() -> None:
    """Loop in C, where no signal handler runs."""
    attempt()
    sum(itertools.repeat(1))


@gearman_job(retries=1, backoff=0)
def takes_memory() -> None:
    attempt()
    bytearray(1 << 30)


# Jobs that break the report


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise SystemExit("unspeakable")

    __repr__ = __str__


@gearman_job
def raises_value(value: object) -> None:
    raise ValueError(value)


@gearman_job(retries=2, backoff=0)
def cannot_be_told() -> None:
    attempt()
    raise Unspeakable


@gearman_job
def kills_who_tells() -> None:
    attempt()


@gearman_job
def interrupts() -> None:
    attempt()
    raise KeyboardInterrupt


@receiver(job_finished, sender=kills_who_tells)
def kill(**named: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# Jobs that block signal receivers


@gearman_job(timeout=1)
def hangs_who_hears(number: int) -> int:
    leave("hangs_who_hears", number)
    return number


@gearman_job(retries=0)
def dies_and_hangs_who_hears() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@receiver(job_finished, sender=hangs_who_hears)
@receiver(job_failed, sender=dies_and_hangs_who_hears)
def hang(**named: object) -> None:
    leave("hung", os.getpid())
    time.sleep(600)
