"""The contract for updates and outcomes of jobs."""

from __future__ import annotations

import math
import time
import uuid
from typing import Any

import pytest

from ...backends.base import (
    BaseBackend,
    JobSpec,
    JobStatus,
    Outcome,
    Priority,
    SpecBatch,
    WorkComplete,
    WorkData,
    WorkerSession,
    WorkException,
    WorkFail,
    WorkStatus,
    WorkWarning,
)
from ...exceptions import BackendError, JobTimeout, ResultUnavailable
from ...utils.clock import monotonic
from .base import PROMPT, QUIET, ContractBase, all_updates, drain, grab, submit

#: Invalid specs, and the part that the error names.
IMPOSSIBLE: Any = [
    ({"function": ""}, "function"),
    ({"function": "f\0"}, "NUL"),
    ({"function": "f" * 1000}, "function"),
    ({"function": b"f"}, "function"),
    ({"workload": "text"}, "workload"),
    ({"workload": None}, "workload"),
    ({"unique": 5}, "unique"),
    ({"priority": "HIGH"}, "priority"),
    ({"background": None}, "background"),
    ({"background": False, "run_at": 1.0}, "background"),
    ({"run_at": "tomorrow"}, "run_at"),
    ({"run_at": math.nan}, "run_at"),
    ({"run_at": 10**400}, "run_at"),
]


class JobsContract(ContractBase):
    """The contract for updates and outcomes of jobs."""

    @pytest.mark.parametrize(
        "outcome", [WorkComplete(b"done"), WorkComplete(b""), WorkFail(), WorkException(b"oops")]
    )
    def test_a_foreground_client_receives_the_outcome(
        self, backend: BaseBackend, worker: WorkerSession, function: str, outcome: Outcome
    ) -> None:
        [submission] = submit(backend, JobSpec(function, b"work"))

        job = grab(worker)
        worker.send(job, outcome)

        assert (job.function, job.workload, job.background) == (function, b"work", False)
        assert all_updates(submission) == [outcome]
        assert submission.next_update(0) is None

    def test_a_batch_of_specs_is_submitted_like_a_list_of_them(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        workloads = [b"%d" % number for number in range(120)]
        specs = SpecBatch(function, uuid.uuid4().int, workloads)

        submissions = [*submit(backend, *specs[:1]), *backend.submit_batch(specs[1:])]

        jobs = []
        for _ in specs:
            jobs.append(grab(worker))
            worker.send(jobs[-1], WorkComplete())
        assert [job.handle for job in jobs] == [each.handle for each in submissions]
        assert [job.workload for job in jobs] == workloads
        assert [job.unique for job in jobs] == [spec.unique for spec in specs]
        assert [each.error for each in submissions] == [None] * len(specs)
        with pytest.raises(ResultUnavailable):
            submissions[-1].next_update(0)

    def test_a_batch_of_foreground_jobs_has_an_outcome_for_each(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        workloads = [b"%d" % number for number in range(120)]
        specs = SpecBatch(function, uuid.uuid4().int, workloads, background=False)

        submissions = backend.submit_batch(specs)

        for _ in specs:
            job = grab(worker)
            worker.send(job, WorkComplete(b"did " + job.workload))
        expected = [[WorkComplete(b"did " + workload)] for workload in workloads]
        assert [all_updates(submission) for submission in submissions] == expected

    def test_updates_arrive_in_their_order_before_the_outcome(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
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

    def test_every_byte_value_travels_both_ways(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        noise = bytes(range(256)) * 2
        [submission] = submit(backend, JobSpec(function, noise))

        job = grab(worker)
        worker.send(job, WorkData(noise))
        worker.send(job, WorkComplete(noise))

        assert job.workload == noise
        assert all_updates(submission) == [WorkData(noise), WorkComplete(noise)]

    def test_large_workloads_and_results_travel_whole(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        large = bytes(10_000_000)
        [submission] = submit(backend, JobSpec(function, large))

        job = grab(worker)
        worker.send(job, WorkComplete(large))

        assert job.workload == large
        assert all_updates(submission) == [WorkComplete(large)]

    def test_many_jobs_keep_their_order_and_find_their_submitters(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        workloads = [b"%d" % number for number in range(2500)]
        submissions = submit(backend, *(JobSpec(function, workload) for workload in workloads))

        for _ in workloads:
            job = grab(worker)
            worker.send(job, WorkComplete(b"did " + job.workload))

        results = [all_updates(submission) for submission in submissions]
        assert results == [[WorkComplete(b"did " + workload)] for workload in workloads]

    def test_jobs_are_held_side_by_side_and_finished_in_any_order(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        first, second = submit(backend, JobSpec(function, b"1"), JobSpec(function, b"2"))

        jobs = [grab(worker), grab(worker)]
        for job in reversed(jobs):
            worker.send(job, WorkComplete(job.workload))

        assert all_updates(first) == [WorkComplete(b"1")]
        assert all_updates(second) == [WorkComplete(b"2")]

    def test_a_background_job_runs_and_tells_its_submitter_nothing(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        [submission] = submit(backend, JobSpec(function, b"work", background=True))

        job = grab(worker)
        worker.send(job, WorkComplete(b"done"))

        assert (job.workload, job.background) == (b"work", True)
        with pytest.raises(ResultUnavailable):
            submission.next_update(0)

    def test_an_update_without_bytes_is_one(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        [submission] = submit(backend, JobSpec(function, b"work"))

        job = grab(worker)
        for update in (WorkData(b""), WorkWarning(b""), WorkComplete(b"")):
            worker.send(job, update)

        assert all_updates(submission) == [WorkData(b""), WorkWarning(b""), WorkComplete(b"")]

    def test_waiting_ends_in_time_without_an_outcome(
        self, backend: BaseBackend, function: str
    ) -> None:
        [submission] = submit(backend, JobSpec(function, b"work"))
        started = monotonic()

        assert submission.next_update(0) is None
        assert submission.next_update(0.05) is None
        with pytest.raises(JobTimeout):
            list(submission.updates(0.05))
        assert monotonic() - started < PROMPT

    def test_grabbing_ends_in_time_without_a_job(self, worker: WorkerSession) -> None:
        started = monotonic()

        assert worker.grab_job(0) is None
        assert worker.grab_job(0.2) is None
        assert monotonic() - started < PROMPT

    @pytest.mark.parametrize(("wrong", "named"), IMPOSSIBLE)
    def test_a_job_that_cannot_travel_keeps_the_others_from_being_sent(
        self,
        backend: BaseBackend,
        worker: WorkerSession,
        function: str,
        wrong: dict[str, Any],
        named: str,
    ) -> None:
        good = JobSpec(function, b"work", background=True)

        with pytest.raises((TypeError, ValueError), match=named):
            backend.submit([good, good._replace(**wrong)])

        assert worker.grab_job(QUIET) is None

    def test_an_empty_batch_is_no_work(self, backend: BaseBackend) -> None:
        assert backend.submit([]) == []

    def test_a_delayed_job_waits_until_it_is_due(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        if not backend.supports_delayed:
            with pytest.raises(BackendError, match="delayed"):
                backend.submit(
                    [JobSpec(function, b"later", background=True, run_at=time.time() + 2)]
                )
            return
        due = time.time() + 2
        submit(backend, JobSpec(function, b"later", background=True, run_at=due))
        submit(backend, JobSpec(function, b"low", background=True, priority=Priority.LOW))

        assert drain(worker, 1) == [b"low"]
        assert time.time() < due
        job = grab(worker)
        assert (job.function, job.workload) == (function, b"later")
        assert time.time() >= due

    def test_a_job_that_is_due_already_runs_at_once(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        if backend.supports_delayed:
            submit(backend, JobSpec(function, b"late", background=True, run_at=time.time() - 60))

            assert drain(worker, 1) == [b"late"]

    def test_a_delayed_job_is_known_and_counted(self, backend: BaseBackend, function: str) -> None:
        if not backend.supports_delayed:
            pytest.skip("this transport has no delayed jobs")
        later = time.time() + 3600
        [submission] = submit(backend, JobSpec(function, b"x", background=True, run_at=later))

        assert backend.job_status(submission.handle) == JobStatus(known=True, running=False)
        [row] = [row for row in backend.functions() if row.function == function]
        assert (row.total, row.running) == (1, 0)
