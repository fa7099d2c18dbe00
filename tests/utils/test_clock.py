"""Waiting ends in time, also where a test has frozen the time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from freezegun import freeze_time

from django_gearman import GearmanClient
from django_gearman.backends import close_backends
from django_gearman.testing import NotServed
from django_gearman.utils.clock import monotonic
from tests.app import gearman_jobs as jobs
from tests.support.gearmand import wait_until

ROOT = Path(__file__).parent.parent.parent


def seconds_of(call):
    started = monotonic()
    call()
    return monotonic() - started


@pytest.fixture
def frozen():
    with freeze_time("2026-01-01"):
        yield


def test_the_clock_continues_while_the_time_is_frozen(frozen):
    before, shown = monotonic(), time.monotonic()
    assert time.monotonic() == shown, "freezegun freezes this one"

    wait_until(lambda: monotonic() > before, "the clock goes on")


def test_the_clock_is_real_though_it_was_imported_in_frozen_time():
    script = """
        import time
        from freezegun import freeze_time
        with freeze_time("2026-01-01"):
            from django_gearman.utils.clock import monotonic
            from django_gearman.backends.connection import Connection, monotonic as used
            assert monotonic() > 0 and used is monotonic
            before = monotonic()
            time.sleep(0.01)
            assert monotonic() - before > 0.005
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    "transport", ["memory", pytest.param("gearman", marks=pytest.mark.gearmand)]
)
def test_a_wait_ends_in_frozen_time(settings, request, frozen, transport):
    settings.GEARMAN_BACKEND = transport
    if transport == "gearman":
        server = request.getfixturevalue("own_gearmand")
        settings.GEARMAN_SERVERS = [server.address]
    waiting = GearmanClient().submit_job(
        jobs.add, 1, unique=f"{transport} in frozen time", wait_until_complete=False
    )

    assert 0.1 <= seconds_of(lambda: waiting.wait(0.1)) < 5
    assert waiting.timed_out
    close_backends()


@pytest.mark.gearman("memory")
def test_awaiting_a_job_without_a_worker_is_an_error(gearman_client):
    async def wait():
        await jobs.add.ado(1)

    with pytest.raises(NotServed):
        asyncio.run(asyncio.wait_for(wait(), 20))


@pytest.mark.gearman("memory")
def test_a_wait_in_a_test_ends_in_frozen_time(gearman_client, frozen):
    request = gearman_client.submit_job(jobs.add, 1, wait_until_complete=False)

    assert seconds_of(lambda: request.wait(0.3)) < 5
    assert request.timed_out
