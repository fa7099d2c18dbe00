"""The memory transport's own: its clock, its limit, and workers that come back."""

from __future__ import annotations

import gc
import time

import pytest

from django_gearman.backends.base import JobSpec, WorkComplete
from django_gearman.backends.memory import MemoryBackend
from django_gearman.exceptions import ConnectionLost, ServerError

JOB = JobSpec("f", b"work", background=True)


@pytest.fixture
def name(request) -> str:
    return request.node.nodeid


def test_a_backend_has_its_own_limit_for_the_jobs_of_the_server_they_share(name):
    limited, free = MemoryBackend(name=name, max_queued=1), MemoryBackend(name=name)
    errors = [backend.submit([JOB])[0].error for backend in (limited, limited, free, limited)]

    assert [type(error) for error in errors] == [type(None), ServerError, type(None), ServerError]


@pytest.mark.parametrize("no_limit", [None, 0])
def test_without_a_limit_any_number_is_taken(name, no_limit):
    backend = MemoryBackend(name=name, max_queued=no_limit)

    assert not any(submission.error for submission in backend.submit([JOB] * 50))


def test_delayed_jobs_are_due_in_their_order_when_the_clock_is_moved(name):
    backend = MemoryBackend(name=name)
    worker = backend.register(["f"])
    now = time.time()
    backend.submit(
        [JOB._replace(workload=work, run_at=now + s) for work, s in ((b"2nd", 90), (b"1st", 60))]
    )
    assert worker.grab_job(0) is None
    assert 50 < backend.server.next_due() <= 60

    backend.server.advance(100)

    assert [worker.grab_job(0).workload for _ in range(2)] == [b"1st", b"2nd"]


def test_a_worker_that_has_left_comes_back_when_it_grabs(name):
    backend = MemoryBackend(name=name)
    worker = backend.register(["f"], "me")
    backend.submit([JOB])
    job = worker.grab_job(0)
    worker.close()
    assert backend.workers() == []
    with pytest.raises(ConnectionLost):
        worker.send(job, WorkComplete(b""))

    assert worker.grab_job(0).handle == job.handle
    assert [row.client_id for row in backend.workers()] == ["me"]


def test_a_job_that_timed_out_is_forgotten_with_its_submission():
    backend = MemoryBackend(name="timed-out")
    [kept, given_up] = backend.submit([JobSpec("f", b"kept"), JobSpec("f", b"given up")])
    for submission in (kept, given_up):
        assert submission.next_update(0) is None
        submission.release()
    del submission, given_up
    gc.collect()

    [row] = backend.functions()
    assert row.total == 1
    session = backend.register(["f"])
    assert session.grab_job(0).workload == b"kept"
    assert session.grab_job(0) is None


def test_a_job_that_runs_continues_though_nobody_waits():
    backend = MemoryBackend(name="runs-on")
    [submission] = backend.submit([JobSpec("f", b"work")])
    session = backend.register(["f"])
    job = session.grab_job(0)
    submission.release()
    del submission
    gc.collect()

    session.send(job, WorkComplete(b"done"))
