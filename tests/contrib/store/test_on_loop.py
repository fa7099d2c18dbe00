"""Stored results on an event loop, in a test whose transaction no other connection sees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from django_gearman import GearmanClient, JobRequest
from django_gearman.exceptions import JobFailed, ResultUnavailable
from tests.contrib import gearman_jobs as jobs

pytestmark = [pytest.mark.django_db, pytest.mark.gearman("memory", raise_failures=False)]

Ask = Callable[[JobRequest[Any]], Awaitable[Any]]


async def by_request(request: JobRequest[Any]) -> Any:
    return await request


async def by_client(request: JobRequest[Any]) -> Any:
    return await GearmanClient().aget_result(request.id)


async def by_list(request: JobRequest[Any]) -> Any:
    [awaited] = await GearmanClient().await_until_jobs_completed([request])
    return awaited.result


async def submitted(value: int) -> JobRequest[Any]:
    return await jobs.double.ado_background(value)


every_way = pytest.mark.parametrize("ask", [by_request, by_client, by_list])


@every_way
def test_the_result_of_a_job_that_has_run_is_awaited(gearman_worker, ask: Ask):
    request = async_to_sync(submitted)(2)
    gearman_worker.run()

    assert async_to_sync(ask)(request) == 4


@every_way
def test_the_error_of_a_job_that_has_failed_is_raised(gearman_worker, ask: Ask):
    request = jobs.double.do_background(None)
    gearman_worker.run()

    with pytest.raises(JobFailed):
        async_to_sync(ask)(request)


def test_an_unknown_id_is_refused_at_once():
    with pytest.raises(ResultUnavailable, match="no record of a job"):
        async_to_sync(GearmanClient().aget_result)("0" * 32)
