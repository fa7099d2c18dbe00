"""Leftovers of a job do not reach the next one."""

from __future__ import annotations

import signal
import time

import pytest

from tests.integration.conftest import workers_ready
from tests.integration.leaving_jobs import CONTEXTUAL, LEAVES
from tests.support.gearmand import wait_until
from tests.support.postgres import Postgres, find_postgres

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

JOBS = "tests.integration.leaving_jobs"


def result(client, name: str, *args: object):
    return client.using(wait=60).submit_job(f"{JOBS}.{name}", args=list(args)).result


def test_each_job_finds_the_process_as_it_was(launch, client, own_gearmand):
    worker = launch("gearman_worker")
    workers_ready(own_gearmand, 1)
    before = result(client, "found")
    assert result(client, "found_with_limit")["timers"][0] > 50

    for what in LEAVES:
        result(client, "leaves", what)
        assert result(client, "found") == before, f"{what} was left"
        assert f"{JOBS}.leaves" in worker.output or what in CONTEXTUAL
    time.sleep(1.2)  # the alarm's
    for what in LEAVES:
        result(client, "leaves", what)
        limited = result(client, "found_with_limit")
        assert limited["timers"][0] > 50
        same = before.keys() - {"timers", "handlers"}  # the limit has one of each
        assert {k: limited[k] for k in same} == {k: before[k] for k in same}, f"{what} was left"

    wait_until(lambda: worker.output.count("has left a transaction open") == 6, "it is told")
    process_wide = len(LEAVES) - len(CONTEXTUAL) - 3
    assert worker.output.count("has left changes to its process") == 2 * process_wide
    assert "starting another one" not in worker.output
    assert worker.stop() == 0


def test_a_stop_after_a_job_that_ignores_it_is_obeyed(launch, client, own_gearmand):
    worker = launch("gearman_worker")
    workers_ready(own_gearmand, 1)
    result(client, "leaves", "SIGTERM ignored")
    started = time.monotonic()
    assert worker.stop(signal.SIGTERM) == 0
    assert time.monotonic() - started < 15


@pytest.mark.parametrize("job", ["uses_threads", "uses_a_thread"])
def test_threads_of_jobs_keep_no_database_connections(
    launch, client, own_gearmand, monkeypatch, job
):
    programs = find_postgres()
    assert programs is not None, "not installed. Debian: apt-get install postgresql"
    with Postgres(programs) as server:
        monkeypatch.setenv("POSTGRES_PORT", str(server.port))
        monkeypatch.setenv("CONN_MAX_AGE", "600")
        worker = launch("gearman_worker", "-w", "2")
        workers_ready(own_gearmand, 2)
        entries = [{"task": f"{JOBS}.{job}"} for _ in range(300)]
        requests = client.submit_multiple_jobs(entries, poll_timeout=120)
        assert {request.state for request in requests} == {"COMPLETE"}
        assert worker.stop() == 0
