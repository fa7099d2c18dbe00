"""
A user's module, for `make types`: mypy --strict and pyright see what it says, and nothing runs it.

A line that must be an error has an ignore for both. Each reports an ignore that it does not need.
"""

from __future__ import annotations

import datetime
from collections.abc import Coroutine
from typing import Any, assert_type

import pytest

from django_gearman import (
    PRIORITY_HIGH,
    GearmanClient,
    Job,
    JobContext,
    JobRequest,
    RetryJob,
    current_job,
    exponential,
    gearman_job,
)
from django_gearman.backends.base import Update
from django_gearman.testing import GearmanServer, ManualWorker, RecordingClient, perform_job


@gearman_job
def resize(path: str, width: int = 100) -> bool:
    return width > 0 and bool(path)


@gearman_job("mail", "shop.send", takes_context=True, timeout=5, retries=3, backoff=exponential())
def send(context: JobContext, to: str, *, subject: str = "") -> None:
    context.set_status(1, 2)
    if context.attempt < 3:
        raise RetryJob(5)


@gearman_job
async def fetch(url: str) -> bytes:
    job = current_job()
    return b"" if job is None else job.id.encode()


@gearman_job(queue="slow", takes_context=True, retry_on=[OSError, ValueError])
async def crawl(context: JobContext, url: str, depth: int = 1) -> list[str]:
    page = await fetch.ado(url)
    return [url] * depth if page else []


@gearman_job()
def ping() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@gearman_job
def add_all(*numbers: int) -> int:
    return sum(numbers)


class Shop:
    @staticmethod
    @gearman_job(name="shop.close")
    def close(reason: str = "") -> int:
        return len(reason)


def call_here(context: JobContext) -> None:
    assert_type(resize("cat.png"), bool)
    assert_type(send(context, "ada"), None)
    coroutine: Coroutine[Any, Any, bytes] = fetch("/")
    coroutine.close()

    resize(5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    send("ada")  # type: ignore[call-arg, arg-type] # pyright: ignore


def wait_for_a_worker() -> None:
    assert_type(resize.do("cat.png", width=1), bool)
    send.do("ada", subject="hello")
    assert_type(fetch.do("/"), bytes)
    assert_type(crawl.do("/", 2), list[str])
    assert_type(ping.do(), datetime.datetime)
    assert_type(Shop.close.do("late"), int)

    resize.do(5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    resize.do("cat.png", height=1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    send.do("ada", "hello")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    fetch.do()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    crawl.do("/", "2")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    ping.do(1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    Shop.close.do(5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def run_for_each(paths: list[str]) -> None:
    assert_type(resize.map(paths), list[bool])
    assert_type(resize.map((path for path in paths), timeout=5), list[bool])
    assert_type(send.map(paths), list[None])
    assert_type(fetch.using(wait=5).map(paths), list[bytes])
    assert_type(crawl.map({"/"}), list[list[str]])
    assert_type(add_all.map([1, 2]), list[int])

    resize.map([1, 2])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]
    crawl.map([1])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]
    resize.map(5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    ping.map([1])  # type: ignore[misc, arg-type] # pyright: ignore


async def wait_on_the_loop(context: JobContext, paths: list[str]) -> None:
    assert_type(await resize.ado("cat.png"), bool)
    assert_type(await fetch.ado("/"), bytes)
    assert_type(await crawl.ado("/", depth=2), list[str])
    assert_type(await resize.amap(paths), list[bool])
    assert_type(await crawl.amap(paths, timeout=1.5), list[list[str]])
    assert_type(await fetch.ado_background("/"), JobRequest[bytes])
    assert_type(await fetch("/"), bytes)
    assert_type(await crawl(context, "/", depth=2), list[str])

    await fetch()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    await crawl(context, 5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    request = await GearmanClient().asubmit_job(crawl, "/", wait_until_complete=False)
    assert_type(request, JobRequest[list[str]])
    assert_type(await request, list[str])
    async for update in request.updates(timeout=5):
        assert_type(update, Update)

    await resize.ado(5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await crawl.ado()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    await resize.amap([1])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]
    await fetch.ado_background(5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def queue_and_go_on() -> None:
    request = resize.do_background("cat.png")
    assert_type(request, JobRequest[bool])
    assert_type(request.handle, str)
    assert_type(request.finished, bool)
    assert_type(crawl.do_background("/"), JobRequest[list[str]])
    assert_type(send.do_background("ada"), JobRequest[None])
    for each in resize.enqueue_many(["a.png", "b.png"]):
        assert_type(each, JobRequest[bool])

    resize.enqueue_many([1])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]
    resize.do_background()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    send.do_background(5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def choose_options() -> None:
    urgent = resize.using(priority=PRIORITY_HIGH, unique=True, wait=5, resubmit=2)
    assert_type(urgent.do("cat.png"), bool)
    assert_type(resize.using(priority="LOW").do_background("cat.png"), JobRequest[bool])
    assert_type(crawl.using(wait=0.5).do("/"), list[str])
    tomorrow = datetime.timedelta(days=1)
    later = send.using(run_after=tomorrow, on_commit="default", on_commit_failure="raise")
    assert_type(later.do_background("ada"), JobRequest[None])
    assert_type(GearmanClient().using(serializer="raw", unique="x"), GearmanClient)

    resize.using(priority="high")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    resize.using(wait="5")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    resize.using(run_after=5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    resize.using(countdown=5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    GearmanClient().using(retries=1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    resize.using(wait=5).do(5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def submit_through_a_client(client: GearmanClient) -> None:
    request = client.submit_job(resize, "cat.png", width=1)
    assert_type(request, JobRequest[bool])
    assert_type(request.result, bool)
    assert_type(request.wait(5), JobRequest[bool])
    assert_type(client.submit_job(crawl, "/").result, list[str])
    assert_type(client.submit_job("shop.send", "ada"), JobRequest[Any])
    assert_type(client.dispatch_background_task(fetch, "/"), JobRequest[bytes])
    assert_type(client.get_job_status(request), JobRequest[bool])
    assert_type(client.get_job_status("H:host:1"), JobRequest[Any])
    assert_type(client.submit_multiple_jobs([{"task": resize}]), list[JobRequest[Any]])

    client.submit_job(len, "")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    client.submit_job(resize, "", priority="x")  # type: ignore[arg-type] # pyright: ignore


def follow(request: JobRequest[bool]) -> None:
    assert_type(request.status.numerator, int)
    assert_type(request.status.denominator, int)
    assert_type(request.status.known, bool | None)
    for _ in request.updates(timeout=5):
        assert_type(request.status["numerator"], Any)

    request.status.percent  # type: ignore[attr-defined] # pyright: ignore # noqa: B018


def take_any_job(job: Job, request: JobRequest) -> None:
    """`Job` and `JobRequest` without a type say nothing about parameters and result."""
    assert_type(job.do(1, x=2), Any)
    assert_type(job.name, str)
    assert_type(request.result, Any)


def take_jobs_by_type(checks: list[Job[..., bool]], notify: Job[[str], None]) -> None:
    for check in checks:
        assert_type(check.do_background(1), JobRequest[bool])
    notify.do("ada")

    notify.do(5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def pass_jobs(request: JobRequest[bool]) -> None:
    take_any_job(send, request)
    take_any_job(crawl, request)
    take_jobs_by_type([resize], gearman_job(print_line))

    take_jobs_by_type([crawl], send)  # type: ignore # pyright: ignore[reportArgumentType]


def print_line(line: str) -> None:
    print(line)


@pytest.mark.gearman("memory")
def check_with_fixtures(
    gearman_client: RecordingClient, gearman_worker: ManualWorker, gearman_server: GearmanServer
) -> None:
    assert_type(gearman_client.submit_job(resize, "cat.png").result, bool)
    assert_type(gearman_client.using(wait=1), RecordingClient)
    assert_type(gearman_worker.run(only=resize), int)
    assert_type(gearman_worker.run_one(), bool)
    assert_type(gearman_server.address, str)
    assert_type(gearman_client.submitted[0].args, list[Any])
    perform_job(send, "ada")
