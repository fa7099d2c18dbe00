"""The contract for the order of jobs, and for merging them."""

from __future__ import annotations

import threading
import time

import pytest

from ...backends.base import (
    AssignedJob,
    BaseBackend,
    JobSpec,
    Outcome,
    Priority,
    WorkComplete,
    WorkData,
    WorkerSession,
    WorkException,
    WorkFail,
    WorkStatus,
)
from ...utils.clock import monotonic
from .base import PATIENCE, PROMPT, Connect, ContractBase, all_updates, drain, grab, submit


class QueuesContract(ContractBase):
    """The contract for the order of jobs, and for merging them."""

    def test_jobs_of_a_function_come_by_priority_then_age(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        order = [Priority.LOW, Priority.NORMAL, Priority.HIGH] * 2
        specs = [
            JobSpec(
                function, f"{priority.value}{place}".encode(), priority=priority, background=True
            )
            for place, priority in enumerate(order)
        ]
        submit(backend, *specs)

        assert drain(worker, 6) == [b"HIGH2", b"HIGH5", b"NORMAL1", b"NORMAL4", b"LOW0", b"LOW3"]

    def test_a_worker_gets_no_job_of_a_function_it_does_not_serve(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        submit(backend, JobSpec(f"{function}.other", b"not mine", background=True))

        assert drain(worker) == []

    def test_a_sleeping_worker_is_woken_by_a_job(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        assert worker.grab_job(0.2) is None
        grabbed: list[AssignedJob | None] = []
        sleeper = threading.Thread(target=lambda: grabbed.append(worker.grab_job(PATIENCE)))
        sleeper.start()
        time.sleep(0.2)  # until it sleeps, which nothing reports
        submitted = monotonic()

        submit(backend, JobSpec(function, b"work", background=True))

        sleeper.join()
        [job] = grabbed
        assert job is not None
        assert job.workload == b"work"
        assert monotonic() - submitted < PROMPT

    @pytest.mark.parametrize("background", [True, False])
    @pytest.mark.parametrize("unique", ["report", "r" * 64, "räport" * 50, "with space\n\0", "-"])
    def test_equal_uniques_share_one_job(
        self,
        backend: BaseBackend,
        worker: WorkerSession,
        function: str,
        unique: str,
        background: bool,
    ) -> None:
        specs = [
            JobSpec(function, w, unique=unique, background=background) for w in (b"1st", b"2nd")
        ]
        first, second = submit(backend, *specs)

        assert first.handle == second.handle
        assert drain(worker, 1) == [b"1st"]
        if not background:
            assert all_updates(first) == all_updates(second) == [WorkComplete(b"")]

    def test_clients_on_two_connections_each_get_every_update(
        self, connect: Connect, worker: WorkerSession, function: str
    ) -> None:
        spec = JobSpec(function, b"work", unique="shared")
        [first], [second] = submit(connect(), spec), submit(connect(), spec)
        updates = [WorkStatus(1, 2), WorkData(b"half"), WorkComplete(b"done")]

        job = grab(worker)
        for update in updates:
            worker.send(job, update)

        assert all_updates(first) == all_updates(second) == updates

    def test_one_connection_gets_every_update_for_each_of_its_submissions(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        specs = [JobSpec(function, b"work", unique="shared")] * 3
        submissions = submit(backend, *specs)
        updates = [WorkStatus(1, 2), WorkData(b"half"), WorkComplete(b"done")]

        job = grab(worker)
        for update in updates:
            worker.send(job, update)

        assert [all_updates(submission) for submission in submissions] == [updates] * 3

    def test_a_unique_is_free_again_once_its_job_has_finished(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        spec = JobSpec(function, b"work", unique="again", background=True)
        submit(backend, spec)
        assert drain(worker, 1) == [b"work"]
        submit(backend, spec)

        assert drain(worker, 1) == [b"work"]

    def test_no_unique_shares_nothing(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        submit(backend, *[JobSpec(function, b"same", background=True)] * 3)

        assert drain(worker, 3) == [b"same"] * 3

    def test_a_unique_is_of_one_function_only(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        other = JobSpec(f"{function}.other", b"other", unique="u", background=True)
        mine = JobSpec(function, b"mine", unique="u", background=True)
        submit(backend, other, mine)

        assert drain(worker, 1) == [b"mine"]

    def test_foreground_and_background_jobs_never_share(
        self, connect: Connect, worker: WorkerSession, function: str
    ) -> None:
        client = connect()
        submit(client, JobSpec(function, b"foreground", unique="u"))
        submit(connect(), JobSpec(function, b"background", unique="u", background=True))

        client.close()

        assert b"background" in drain(worker, 1), (
            "the leaving client took the background job with it"
        )

    @pytest.mark.parametrize("unique", ["mine", "mäin", "-"])
    def test_the_worker_sees_the_callers_unique(
        self, backend: BaseBackend, worker: WorkerSession, function: str, unique: str
    ) -> None:
        submit(backend, JobSpec(function, b"work", unique=unique))

        assert grab(worker).unique == unique

    @pytest.mark.parametrize("background", [True, False])
    def test_a_running_job_is_shared_too(
        self, connect: Connect, worker: WorkerSession, function: str, background: bool
    ) -> None:
        spec = JobSpec(function, b"work", unique="shared", background=background)
        [first] = submit(connect(), spec)
        job = grab(worker)
        [second] = submit(connect(), spec)

        worker.send(job, WorkComplete(b"done"))

        assert first.handle == second.handle
        assert drain(worker) == []
        if not background:
            assert all_updates(first) == all_updates(second) == [WorkComplete(b"done")]

    def test_who_comes_late_misses_what_was_said_before(
        self, connect: Connect, worker: WorkerSession, function: str
    ) -> None:
        spec = JobSpec(function, b"work", unique="shared")
        [first] = submit(connect(), spec)
        job = grab(worker)
        worker.send(job, WorkData(b"early"))
        assert first.next_update(PATIENCE) == WorkData(b"early")
        [second] = submit(connect(), spec)

        worker.send(job, WorkComplete(b"done"))

        assert all_updates(first) == all_updates(second) == [WorkComplete(b"done")]

    def test_long_uniques_differ_to_their_end(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        uniques = ["r" * 100 + end for end in "ab"]
        submit(backend, *(JobSpec(function, u[-1:].encode(), unique=u) for u in uniques))

        assert drain(worker, 2) == [b"a", b"b"]

    @pytest.mark.parametrize("outcome", [WorkFail(), WorkException(b"oops")])
    def test_a_unique_is_free_again_once_its_job_has_failed(
        self, backend: BaseBackend, worker: WorkerSession, function: str, outcome: Outcome
    ) -> None:
        spec = JobSpec(function, b"work", unique="again")
        [first] = submit(backend, spec)
        worker.send(grab(worker), outcome)
        assert all_updates(first) == [outcome]
        submit(backend, spec)

        assert drain(worker, 1) == [b"work"]

    def test_delayed_jobs_of_one_unique_are_one(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        if not backend.supports_delayed:
            pytest.skip("this transport has no delayed jobs")
        later = time.time() + 3600
        specs = [
            JobSpec(function, workload, unique="later", background=True, run_at=later)
            for workload in (b"1st", b"2nd")
        ]

        first, second = submit(backend, *specs)

        assert first.handle == second.handle

    def test_a_delayed_job_of_another_program_is_due_like_any(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        if not backend.supports_delayed:
            pytest.skip("this transport has no delayed jobs")
        later = time.time() + 1
        specs = [
            JobSpec(function, work, background=True, run_at=run_at, external=True)
            for work, run_at in ((b"2nd", later), (b"1st", None))
        ]

        submit(backend, *specs)

        assert [row.total for row in backend.functions() if row.function == function] == [2]
        assert [grab(worker).workload for _ in specs] == [b"1st", b"2nd"]

    def test_delayed_jobs_are_counted_apart(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        if not backend.supports_delayed:
            pytest.skip("this transport has no delayed jobs")
        later = time.time() + 1
        specs = [JobSpec(function, b"w", background=True, run_at=at) for at in (later, None)]

        submit(backend, *specs)

        [row] = [row for row in backend.functions() if row.function == function]
        assert (row.total, row.delayed, row.running) == (2, 1, 0)
        for _ in specs:
            grab(worker)
        [row] = [row for row in backend.functions() if row.function == function]
        assert (row.total, row.delayed, row.running) == (2, 0, 2)
