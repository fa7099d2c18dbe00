"""The jobs of the example app."""

import os
import time

from django_gearman import JobContext, current_job, gearman_job


@gearman_job
def reverse(input: str) -> str:
    """Reverse a sentence."""
    print(f"[worker] reversing {input!r}", flush=True)
    return input[::-1]


@gearman_job(queue="counting")
def background_counting(arg: object = None) -> None:
    """Count to three in the background."""
    for number in (1, 2, 3):
        print(f"[worker] job {arg} counts {number}", flush=True)
        time.sleep(0.1)


@gearman_job(takes_context=True)
def paint(context: JobContext, fences: int) -> str:
    """Report progress."""
    for done in range(1, fences + 1):
        time.sleep(0.1)
        context.set_status(done, fences)
    return f"{fences} fences painted"


@gearman_job
def divide(dividend: float, divisor: float) -> float:
    """Fail, when divided by zero."""
    return dividend / divisor


@gearman_job(retries=2, backoff=0)
def flaky(failures: int) -> str:
    """Fail in the first attempts, and then succeed."""
    job = current_job()
    if job is not None and job.attempt <= failures:
        raise OSError("the other side is busy")
    return "sent"


@gearman_job(takes_context=True)
def work_slowly(context: JobContext) -> int:
    """Say which process this is, work for a while, and return the process."""
    context.send_data(os.getpid())
    time.sleep(0.4)
    return os.getpid()


@gearman_job
def notify(address: str) -> None:
    """Send a mail (in truth, only say so)."""
    print(f"[worker] a mail to {address}", flush=True)
