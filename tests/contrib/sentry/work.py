"""Jobs that fail, and that tell Sentry something themselves."""

from __future__ import annotations

import sentry_sdk

from django_gearman import RetryJob, current_job, gearman_job
from django_gearman.exceptions import JobCancelled


class CardRefused(Exception):
    """Raised by jobs of these tests."""


@gearman_job("shop")
def succeeds(value: int = 1) -> int:
    return value


@gearman_job("shop")
def pays(card: str, amount: int) -> None:
    sentry_sdk.set_tag("of_job", "yes")
    sentry_sdk.add_breadcrumb(message="before the failure")
    raise CardRefused(f"amount {amount}")


@gearman_job("shop", sensitive=("card",))
def pays_in_secret(card: str, amount: int) -> None:
    raise CardRefused(f"amount {amount}")


@gearman_job("shop")
async def fails_later(number: int) -> None:
    raise CardRefused(str(number))


@gearman_job("shop", retries=2, backoff=0)
def flaky(times: int) -> None:
    job = current_job()
    assert job is not None
    if job.attempt <= times:
        raise CardRefused(f"attempt {job.attempt}")


@gearman_job("shop")
def asks_for_another_run() -> None:
    job = current_job()
    assert job is not None
    if job.attempt < 3:
        raise RetryJob(0)


@gearman_job("shop")
def is_cancelled() -> None:
    raise JobCancelled("the job was cancelled")


@gearman_job("shop")
def submits_one_that_fails() -> None:
    pays.do_background("4111", 1)


@gearman_job("shop")
def reports_itself(card: str) -> None:
    try:
        raise CardRefused("caught")
    except CardRefused as error:
        sentry_sdk.capture_exception(error)


class _Failure(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@gearman_job("shop")
def raises_what_has_no_text() -> None:
    raise _Failure
