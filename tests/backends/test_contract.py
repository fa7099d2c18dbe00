"""
What every transport must do, told once and run on each of them.

gearmand is the reference: where memory and gearmand disagree, memory is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from django_gearman.backends.base import (
    AssignedJob,
    BaseBackend,
    JobSpec,
    JobStatus,
    Priority,
    Submission,
    Update,
    WorkComplete,
    WorkData,
    WorkerSession,
    WorkException,
    WorkFail,
    WorkStatus,
    WorkWarning,
)
from django_gearman.exceptions import BackendError, ConnectionLost, JobTimeout, ResultUnavailable
from tests.support.gearmand import wait_until

Connect = Callable[[], BaseBackend]
PATIENCE = 20.0  # seconds until a test gives up on what should come at once


@pytest.fixture
def worker(connect: Connect, function: str) -> Iterator[WorkerSession]:
    session = connect().register([function], "contract-worker")
    yield session
    session.close()


def submit(backend: BaseBackend, *specs: JobSpec) -> list[Submission]:
    submissions = backend.submit(specs)
    assert [s.error for s in submissions] == [None] * len(specs)
    assert all(s.handle for s in submissions)
    return submissions


def grab(worker: WorkerSession) -> AssignedJob:
    job = worker.grab_job(PATIENCE)
    assert job is not None, "no job was assigned in time"
    return job


def drain(worker: WorkerSession) -> list[bytes]:
    """Complete the jobs that wait; return their workloads in the order they came."""
    workloads = []
    while (job := worker.grab_job(0.3)) is not None:
        workloads.append(job.workload)
        worker.send(job, WorkComplete(b""))
    return workloads


def all_updates(submission: Submission) -> list[Update]:
    return list(submission.updates(PATIENCE))


# Jobs and their outcomes


@pytest.mark.parametrize(
    "outcome", [WorkComplete(b"done"), WorkComplete(b""), WorkFail(), WorkException(b"oops")]
)
def test_a_foreground_client_receives_the_outcome(backend, worker, function, outcome):
    [submission] = submit(backend, JobSpec(function, b"work"))

    job = grab(worker)
    worker.send(job, outcome)

    assert (job.function, job.workload, job.background) == (function, b"work", False)
    assert all_updates(submission) == [outcome]
    assert submission.next_update(0) is None


def test_updates_arrive_in_their_order_before_the_outcome(backend, worker, function):
    [submission] = submit(backend, JobSpec(function, b"work"))
    updates = [
        WorkStatus(1, 3),
        WorkData(b"part"),
        WorkWarning(b"beware"),
        WorkStatus(3, 3),
        WorkComplete(b"whole"),
    ]

    job = grab(worker)
    for update in updates:
        worker.send(job, update)

    assert all_updates(submission) == updates


def test_every_byte_value_travels_both_ways(backend, worker, function):
    noise = bytes(range(256)) * 2
    [submission] = submit(backend, JobSpec(function, noise))

    job = grab(worker)
    worker.send(job, WorkData(noise))
    worker.send(job, WorkComplete(noise))

    assert job.workload == noise
    assert all_updates(submission) == [WorkData(noise), WorkComplete(noise)]


def test_large_workloads_and_results_travel_whole(backend, worker, function):
    large = bytes(10_000_000)
    [submission] = submit(backend, JobSpec(function, large))

    job = grab(worker)
    worker.send(job, WorkComplete(large))

    assert job.workload == large
    assert all_updates(submission) == [WorkComplete(large)]


def test_many_jobs_keep_their_order_and_find_their_submitters(backend, worker, function):
    workloads = [b"%d" % number for number in range(2500)]
    submissions = submit(backend, *(JobSpec(function, workload) for workload in workloads))

    for _ in workloads:
        job = grab(worker)
        worker.send(job, WorkComplete(b"did " + job.workload))

    results = [all_updates(submission) for submission in submissions]
    assert results == [[WorkComplete(b"did " + workload)] for workload in workloads]


def test_jobs_are_held_side_by_side_and_finished_in_any_order(backend, worker, function):
    first, second = submit(backend, JobSpec(function, b"1"), JobSpec(function, b"2"))

    jobs = [grab(worker), grab(worker)]
    for job in reversed(jobs):
        worker.send(job, WorkComplete(job.workload))

    assert all_updates(first) == [WorkComplete(b"1")]
    assert all_updates(second) == [WorkComplete(b"2")]


def test_a_background_job_runs_and_tells_its_submitter_nothing(backend, worker, function):
    [submission] = submit(backend, JobSpec(function, b"work", background=True))

    job = grab(worker)
    worker.send(job, WorkComplete(b"done"))

    assert (job.workload, job.background) == (b"work", True)
    with pytest.raises(ResultUnavailable):
        submission.next_update(0)


def test_waiting_ends_in_time_without_an_outcome(backend, function):
    [submission] = submit(backend, JobSpec(function, b"work"))

    assert submission.next_update(0.05) is None
    with pytest.raises(JobTimeout):
        list(submission.updates(0.05))


def test_grabbing_ends_in_time_without_a_job(worker):
    started = time.monotonic()

    assert worker.grab_job(0.2) is None
    assert time.monotonic() - started < PATIENCE


def test_an_empty_batch_is_no_work(backend):
    assert backend.submit([]) == []


# Order


def test_jobs_of_a_function_come_by_priority_then_age(backend, worker, function):
    order = [Priority.LOW, Priority.NORMAL, Priority.HIGH] * 2
    specs = [
        JobSpec(function, f"{priority.value}{place}".encode(), priority=priority, background=True)
        for place, priority in enumerate(order)
    ]
    submit(backend, *specs)

    assert drain(worker) == [b"HIGH2", b"HIGH5", b"NORMAL1", b"NORMAL4", b"LOW0", b"LOW3"]


def test_a_worker_gets_no_job_of_a_function_it_does_not_serve(backend, worker, function):
    submit(backend, JobSpec(f"{function}.other", b"not mine", background=True))

    assert drain(worker) == []


def test_a_sleeping_worker_is_woken_by_a_job(connect, backend, worker, function):
    assert worker.grab_job(0.2) is None
    submit(backend, JobSpec(function, b"work", background=True))

    assert grab(worker).workload == b"work"


# Uniques


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("unique", ["report", "r" * 64, "räport" * 50, "with space\n\0", "-"])
def test_equal_uniques_share_one_job(backend, worker, function, unique, background):
    specs = [JobSpec(function, w, unique=unique, background=background) for w in (b"1st", b"2nd")]
    first, second = submit(backend, *specs)

    assert first.handle == second.handle
    assert drain(worker) == [b"1st"]
    if not background:
        assert all_updates(first) == all_updates(second) == [WorkComplete(b"")]


def test_clients_on_two_connections_each_get_every_update(connect, worker, function):
    spec = JobSpec(function, b"work", unique="shared")
    [first], [second] = submit(connect(), spec), submit(connect(), spec)
    updates = [WorkStatus(1, 2), WorkData(b"half"), WorkComplete(b"done")]

    job = grab(worker)
    for update in updates:
        worker.send(job, update)

    assert all_updates(first) == all_updates(second) == updates


def test_one_connection_gets_every_update_for_each_of_its_submissions(backend, worker, function):
    specs = [JobSpec(function, b"work", unique="shared")] * 3
    submissions = submit(backend, *specs)
    updates = [WorkStatus(1, 2), WorkData(b"half"), WorkComplete(b"done")]

    job = grab(worker)
    for update in updates:
        worker.send(job, update)

    assert [all_updates(submission) for submission in submissions] == [updates] * 3


def test_a_unique_is_free_again_once_its_job_has_finished(backend, worker, function):
    spec = JobSpec(function, b"work", unique="again", background=True)
    submit(backend, spec)
    assert drain(worker) == [b"work"]
    submit(backend, spec)

    assert drain(worker) == [b"work"]


def test_no_unique_shares_nothing(backend, worker, function):
    submit(backend, *[JobSpec(function, b"same", background=True)] * 3)

    assert drain(worker) == [b"same"] * 3


def test_a_unique_is_of_one_function_only(backend, worker, function):
    other = JobSpec(f"{function}.other", b"other", unique="u", background=True)
    mine = JobSpec(function, b"mine", unique="u", background=True)
    submit(backend, other, mine)

    assert drain(worker) == [b"mine"]


def test_foreground_and_background_jobs_never_share(connect, worker, function):
    client = connect()
    submit(client, JobSpec(function, b"foreground", unique="u"))
    submit(connect(), JobSpec(function, b"background", unique="u", background=True))

    client.close()

    assert b"background" in drain(worker), "the leaving client took the background job with it"


def test_the_worker_sees_the_callers_unique(backend, worker, function):
    submit(backend, JobSpec(function, b"work", unique="mine"))

    assert grab(worker).unique == "mine"


# Status


def test_status_follows_a_job_through_its_life(connect, backend, worker, function):
    [submission] = submit(backend, JobSpec(function, b"work", background=True))
    handle, onlooker = submission.handle, connect()
    assert onlooker.job_status(handle) == JobStatus(known=True, running=False)

    job = grab(worker)
    assert onlooker.job_status(handle) == JobStatus(known=True, running=True)
    worker.send(job, WorkStatus(3, 10))
    wait_until(lambda: onlooker.job_status(handle) == JobStatus(True, True, 3, 10), "the progress")

    worker.send(job, WorkComplete(b""))
    wait_until(lambda: onlooker.job_status(handle) == JobStatus(False, False), "the end")


def test_a_handle_that_is_none_is_refused(backend):
    with pytest.raises(ValueError, match="no handle"):
        backend.job_status("nonsense")


def test_functions_are_counted(backend, worker, function):
    assert worker.grab_job(0.1) is None  # connects
    submit(backend, *[JobSpec(function, b"work", background=True)] * 3)
    grab(worker)

    [row] = [row for row in backend.functions() if row.function == function]
    assert (row.total, row.running, row.workers) == (3, 1, 1)
    assert row.server


def test_workers_are_listed_with_name_and_functions(backend, worker, function):
    assert worker.grab_job(0.1) is None

    [row] = [row for row in backend.workers() if function in row.functions]
    assert (row.client_id, row.functions) == ("contract-worker", (function,))


# Workers that go


@pytest.mark.parametrize("background", [True, False])
def test_a_worker_that_leaves_gives_its_jobs_to_another(connect, worker, function, background):
    client = connect()
    submissions = submit(
        client, *(JobSpec(function, w, background=background) for w in (b"1", b"2"))
    )
    jobs = [grab(worker), grab(worker)]

    worker.close()
    heir = connect().register([function])
    inherited = [grab(heir), grab(heir)]
    for job in inherited:
        heir.send(job, WorkComplete(b"done"))

    assert {job.handle for job in inherited} == {job.handle for job in jobs}
    if not background:
        assert [all_updates(s) for s in submissions] == [[WorkComplete(b"done")]] * 2
    heir.close()


def test_what_a_worker_finished_before_it_left_is_not_run_again(connect, function):
    client, leaver = connect(), connect().register([function])
    [submission] = submit(client, JobSpec(function, b"work"))
    leaver.send(grab(leaver), WorkComplete(bytes(3_000_000)))

    leaver.close()

    assert all_updates(submission) == [WorkComplete(bytes(3_000_000))]
    heir = connect().register([function])
    assert drain(heir) == []
    heir.close()


def test_a_job_that_is_not_in_hand_cannot_be_reported_on(backend, worker, function):
    submit(backend, JobSpec(function, b"work", background=True))
    job = grab(worker)
    worker.send(job, WorkComplete(b""))

    with pytest.raises(ConnectionLost):
        worker.send(job, WorkComplete(b"again"))


def test_a_client_that_leaves_takes_its_queued_foreground_jobs_with_it(connect, worker, function):
    client = connect()
    submit(client, JobSpec(function, b"foreground"), JobSpec(function, b"b", background=True))

    client.close()

    assert drain(worker) == [b"b"]


def test_a_closed_backend_opens_again(backend, worker, function):
    submit(backend, JobSpec(function, b"1", background=True))
    backend.close()
    submit(backend, JobSpec(function, b"2", background=True))

    assert drain(worker) == [b"1", b"2"]


# Delayed jobs


def test_a_delayed_job_waits_until_it_is_due(backend, worker, function):
    if not backend.supports_delayed:
        with pytest.raises(BackendError, match="delayed"):
            backend.submit([JobSpec(function, b"later", background=True, run_at=time.time() + 2)])
        return
    due = time.time() + 2
    submit(backend, JobSpec(function, b"later", background=True, run_at=due))
    submit(backend, JobSpec(function, b"low", background=True, priority=Priority.LOW))

    assert drain(worker) == [b"low"]
    assert time.time() < due
    job = grab(worker)
    assert (job.function, job.workload) == (function, b"later")
    assert time.time() >= due


def test_a_delayed_job_is_a_background_job():
    with pytest.raises(ValueError, match="background"):
        JobSpec("f", b"x", run_at=1.0)


def test_a_job_that_is_due_already_runs_at_once(backend, worker, function):
    if backend.supports_delayed:
        submit(backend, JobSpec(function, b"late", background=True, run_at=time.time() - 60))

        assert drain(worker) == [b"late"]
