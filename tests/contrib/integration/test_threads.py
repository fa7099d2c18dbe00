"""Worker processes with several jobs at a time, which use a real database."""

from __future__ import annotations

import json

import pytest

from tests.support.gearmand import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

NUMBER, THREADS = 150, 10


@pytest.fixture(params=["postgresql"])
def vendor(request) -> str:
    return request.param


@pytest.mark.parametrize(
    ("kind", "job"), [("kept connections", "queries_async"), ("a pool", "queries")]
)
def test_a_process_has_a_connection_for_each_slot_at_most(project, database, kind, job):
    # Given connections that stay open between jobs, or a pool
    options = {"min_size": 1, "max_size": THREADS, "timeout": 60} if kind == "a pool" else None
    config = {**database.config, "CONN_MAX_AGE": 0 if options else None}
    if options:
        config["OPTIONS"] = {"pool": options}
    project.set(TEST_DATABASES=json.dumps({"default": config}))
    project.python(f"for n in range({NUMBER}): {job}.do_background(n)")

    # When one process runs several jobs at a time
    worker = project.worker("--threads", str(THREADS))
    wait_until(lambda: len(project.lines()) >= NUMBER, "all jobs have run", 120)

    # Then no more connections serve them than there are slots, and none when it has been idle
    found = [line.split() for line in project.lines()]
    assert sorted(int(number) for number, _ in found) == [*range(NUMBER)]
    backends = {backend for _, backend in found}
    assert 2 <= len(backends) <= THREADS, "at the same time, and no more than slots"
    if not options:
        these = ", ".join(backends)
        left = f"SELECT 1 FROM pg_stat_activity WHERE pid IN ({these})"
        wait_until(lambda: not database.query(left), "the connections are closed", 90)
    assert project.stop(worker) == 0
    assert "ERROR" not in project.output(worker)
