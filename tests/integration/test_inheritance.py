"""Connections that the parent opened before it forks, with a real PostgreSQL and real processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.integration.conftest import workers_ready
from tests.support.gearmand import wait_until
from tests.support.postgres import Postgres, find_postgres

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

APP = "tests.integration.opened"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    programs = find_postgres()
    if programs is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed")
        pytest.skip("PostgreSQL is not installed")
    with Postgres(programs) as server:
        yield server


@pytest.fixture
def opens(monkeypatch):
    return lambda *what: monkeypatch.setenv("OPEN", " ".join(what))


def ask(client, count: int) -> list[object]:
    entries = [{"task": f"{APP}.ask", "data": number} for number in range(count)]
    requests = client.submit_multiple_jobs(entries, poll_timeout=60)
    return [request.result for request in requests]


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("what", ["query", "handler"])
def test_no_job_gets_the_rows_of_another(
    launch, client, own_gearmand, postgres, opens, monkeypatch, pool, what
):
    monkeypatch.setenv("POSTGRES_PORT", str(postgres.port))
    monkeypatch.setenv("CONN_MAX_AGE", "0" if pool else "60")
    if pool:
        monkeypatch.setenv("POOL", "1")
    opens(what)
    worker = launch("gearman_worker", "-w", "3")
    workers_ready(own_gearmand, 3)

    assert ask(client, 60) == list(range(60))
    old = set(worker.children())
    for child in old:  # the parent logs it, and so may open a connection again
        os.kill(child, signal.SIGKILL)
    wait_until(lambda: len(set(worker.children()) - old) == 3, "they are replaced")
    workers_ready(own_gearmand, 3)

    assert ask(client, 60) == list(range(60))
    assert worker.stop() == 0


def test_threads_and_connections_of_the_parent_are_reported(launch, own_gearmand, opens):
    opens("listener", "connection")
    worker = launch("gearman_worker")
    workers_ready(own_gearmand, 1)

    [address] = [
        line.removeprefix("connected to ")
        for line in worker.output.splitlines()
        if line.startswith("connected to ")
    ]
    assert f"the worker processes would share: {address}. " in worker.output
    assert "do not run in the worker processes, which are forked: Thread-" in worker.output
    assert "(_monitor). Start them in a receiver of the signal" in worker.output
    assert worker.stop() == 0


def test_nothing_is_reported_where_nothing_is_open(launch, own_gearmand):
    worker = launch("gearman_worker", "-w", "2")
    workers_ready(own_gearmand, 2)
    worker.process.send_signal(signal.SIGHUP)  # the new code has what the old one left it
    wait_until(lambda: "Reloaded: " in worker.output, "the new code runs")
    workers_ready(own_gearmand, 2)

    assert worker.stop() == 0
    assert "would share" not in worker.output
    assert "do not run" not in worker.output


def test_error_reporters_flush_when_a_process_leaves(launch, client, trail):
    worker = launch("gearman_worker", "--max-jobs", "1")
    for number in range(7):
        client.dispatch_background_task(f"{APP}.fail", number)

    wait_until(lambda: len(trail()) == 7, "seven events", 60)

    assert sorted(trail()) == [f"event{number}" for number in range(7)]
    assert worker.stop() == 0


def test_error_reporters_flush_when_a_worker_is_stopped(launch, client, trail):
    worker = launch("gearman_worker")
    client.submit_job(f"{APP}.fail", 1, poll_timeout=30)

    assert worker.stop() == 0

    assert trail() == ["event1"]
