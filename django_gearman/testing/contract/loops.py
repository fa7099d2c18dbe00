"""The contract for the half of a transport on an event loop, if it has one."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from ...backends.base import (
    AwaitableSubmission,
    BaseBackend,
    JobSpec,
    JobStatus,
    LoopBackend,
    Outcome,
    SpecBatch,
    Update,
    WorkComplete,
    WorkData,
    WorkerSession,
    WorkException,
    WorkFail,
    WorkStatus,
    WorkWarning,
)
from ...exceptions import ResultUnavailable
from .base import PATIENCE, QUIET, ContractBase, eventually, grab

_T = TypeVar("_T")


def on_loop(backend: BaseBackend, act: Callable[[LoopBackend], Awaitable[_T]]) -> _T:
    """Run a coroutine with the backend's half, or skip the test if it has none."""

    async def run() -> _T:
        half = backend.on_loop()
        if half is None:
            pytest.skip("this transport has no half for event loops")
        async with asyncio.timeout(PATIENCE):
            return await act(half)

    return asyncio.run(run())


async def submitted(half: LoopBackend, *specs: JobSpec) -> list[AwaitableSubmission]:
    submissions = await half.submit(specs)
    assert [s.error for s in submissions] == [None] * len(specs)
    assert all(s.handle for s in submissions)
    return submissions


async def all_updates(submission: AwaitableSubmission) -> list[Update]:
    updates = []
    while (update := await submission.wait_update(PATIENCE)) is not None:
        updates.append(update)
        if isinstance(update, Outcome):
            break
    return updates


class LoopsContract(ContractBase):
    """The contract for submitting and waiting on an event loop."""

    @pytest.mark.parametrize(
        "outcome", [WorkComplete(b"done"), WorkComplete(b""), WorkFail(), WorkException(b"oops")]
    )
    def test_a_task_receives_the_outcome(
        self, backend: BaseBackend, worker: WorkerSession, function: str, outcome: Outcome
    ) -> None:
        async def act(half: LoopBackend) -> list[Update]:
            [submission] = await submitted(half, JobSpec(function, b"work"))
            job = grab(worker)
            assert (job.handle, job.workload) == (submission.handle, b"work")
            worker.send(job, outcome)
            return await all_updates(submission)

        received = on_loop(backend, act)

        ended = WorkFail() if isinstance(outcome, WorkException) else outcome
        assert received[-1:] in ([outcome], [ended])

    def test_updates_come_in_order_before_the_outcome(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        sent = [WorkData(b"a"), WorkWarning(b"b"), WorkStatus(1, 2), WorkComplete(b"c")]

        async def act(half: LoopBackend) -> list[Update]:
            [submission] = await submitted(half, JobSpec(function, b""))
            job = grab(worker)
            for update in sent:
                worker.send(job, update)
            received = await all_updates(submission)
            assert await submission.wait_update(0) is None, "nothing follows the outcome"
            return received

        assert on_loop(backend, act) == sent

    def test_jobs_submitted_together_keep_their_order(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        async def act(half: LoopBackend) -> list[list[Update]]:
            specs = [JobSpec(function, b"%d" % number) for number in range(120)]
            submissions = await submitted(half, *specs)
            for _ in specs:
                job = grab(worker)
                worker.send(job, WorkComplete(job.workload))
            return [await all_updates(submission) for submission in submissions]

        received = on_loop(backend, act)

        assert received == [[WorkComplete(b"%d" % number)] for number in range(120)]

    def test_a_batch_of_specs_is_submitted_like_a_list_of_them(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        workloads = [b"%d" % number for number in range(2500)]
        specs = SpecBatch(function, uuid.uuid4().int, workloads)

        async def act(half: LoopBackend) -> list[tuple[str, bytes]]:
            submissions = await half.submit_batch(specs)
            assert [each.error for each in submissions] == [None] * len(specs)
            return [*zip([each.handle for each in submissions], workloads, strict=True)]

        submitted_jobs = on_loop(backend, act)

        taken = []
        for _ in specs:
            taken.append(grab(worker))
            worker.send(taken[-1], WorkComplete())
        assert [(job.handle, job.workload) for job in taken] == submitted_jobs

    def test_jobs_that_are_sent_at_once_are_acknowledged_later(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        async def act(half: LoopBackend) -> list[list[Update]]:
            [first] = await half.submit([JobSpec(function, b"0")], acknowledged=False)
            sent = [half.send_now(JobSpec(function, b"%d" % number)) for number in range(1, 60)]
            submissions = [first, *filter(None, sent)]  # a transport may not do it at once
            if len(submissions) > 1:
                with pytest.raises((TypeError, ValueError), match="function"):
                    half.send_now(JobSpec("", b""))
            await asyncio.sleep(0)  # then they are written
            for number, _ in enumerate(submissions):
                job = grab(worker)
                assert job.workload == b"%d" % number
                worker.send(job, WorkComplete(job.workload))
            received = [await all_updates(submission) for submission in submissions]
            assert all(submission.handle for submission in submissions)
            return received

        received = on_loop(backend, act)

        assert received == [[WorkComplete(b"%d" % number)] for number in range(len(received))]

    def test_many_tasks_submit_and_wait_at_once_without_a_thread(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        async def act(half: LoopBackend) -> list[list[Update]]:
            handles: list[str] = []

            async def call(number: int) -> list[Update]:
                [submission] = await submitted(half, JobSpec(function, b"%d" % number))
                handles.append(submission.handle)
                return await all_updates(submission)

            before = threading.active_count()
            calls = [asyncio.create_task(call(number)) for number in range(50)]
            while len(handles) < 50:
                await asyncio.sleep(0.01)
            for _ in calls:
                job = grab(worker)
                worker.send(job, WorkComplete(job.workload))
            received = await asyncio.gather(*calls)
            assert threading.active_count() == before
            return received

        received = on_loop(backend, act)

        assert received == [[WorkComplete(b"%d" % number)] for number in range(50)]

    def test_a_wait_ends_in_time_and_may_be_continued(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        async def act(half: LoopBackend) -> list[Update]:
            [submission] = await submitted(half, JobSpec(function, b""))
            assert await submission.wait_update(0) is None
            assert await submission.wait_update(QUIET) is None
            worker.send(grab(worker), WorkComplete(b"late"))
            return await all_updates(submission)

        assert on_loop(backend, act) == [WorkComplete(b"late")]

    def test_a_cancelled_task_leaves_the_job_to_the_others(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        async def act(half: LoopBackend) -> list[Update]:
            [submission] = await submitted(half, JobSpec(function, b""))
            impatient = asyncio.create_task(submission.wait_update())
            patient = asyncio.create_task(all_updates(submission))
            await asyncio.sleep(0)
            impatient.cancel()
            with pytest.raises(asyncio.CancelledError):
                await impatient
            worker.send(grab(worker), WorkComplete(b"done"))
            return await patient

        assert on_loop(backend, act) == [WorkComplete(b"done")]

    def test_a_background_job_is_queued_and_sends_no_updates(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        async def act(half: LoopBackend) -> str:
            [submission] = await submitted(half, JobSpec(function, b"work", background=True))
            with pytest.raises(ResultUnavailable):
                await submission.wait_update(0)
            return submission.handle

        handle = on_loop(backend, act)

        assert backend.job_status(handle).known
        assert grab(worker).workload == b"work"

    def test_equal_uniques_are_one_job_with_an_outcome_for_each_task(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        async def act(half: LoopBackend) -> list[list[Update]]:
            specs = [JobSpec(function, b"work", unique="one")] * 2
            submissions = await submitted(half, *specs)
            worker.send(grab(worker), WorkComplete(b"both"))
            return [await all_updates(submission) for submission in submissions]

        assert on_loop(backend, act) == [[WorkComplete(b"both")]] * 2
        assert worker.grab_job(QUIET) is None

    def test_an_invalid_spec_is_refused_before_anything_is_sent(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        async def act(half: LoopBackend) -> None:
            with pytest.raises((TypeError, ValueError), match="workload"):
                await half.submit([JobSpec(function, b"x"), JobSpec(function, "text")])  # type: ignore[arg-type]

        on_loop(backend, act)

        assert worker.grab_job(QUIET) is None

    def test_each_loop_has_connections_of_its_own(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        async def act(half: LoopBackend) -> list[Update]:
            [submission] = await submitted(half, JobSpec(function, b""))
            worker.send(grab(worker), WorkComplete(b"done"))
            return await all_updates(submission)

        assert [on_loop(backend, act) for _ in range(3)] == [[WorkComplete(b"done")]] * 3

    def test_a_queued_job_is_dropped_when_its_loop_ends(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        async def act(half: LoopBackend) -> str:
            [submission] = await submitted(half, JobSpec(function, b""))
            return submission.handle

        handle = on_loop(backend, act)

        assert worker.grab_job(QUIET) is None, "nobody waits for this job"
        eventually(lambda: not backend.job_status(handle).known, "the job is gone")

    def test_a_queued_job_is_dropped_when_its_task_is_cancelled(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        async def act(half: LoopBackend) -> None:
            async def call() -> None:
                [submission] = await submitted(half, JobSpec(function, b"left"))
                try:
                    await submission.wait_update()
                finally:
                    submission.release()

            task = asyncio.create_task(call())
            await asyncio.sleep(QUIET)
            task.cancel()
            await asyncio.wait([task])
            del task
            await asyncio.sleep(QUIET)
            assert worker.grab_job(QUIET) is None, "nobody waits for this job"
            [submission] = await submitted(half, JobSpec(function, b"next"))
            job = grab(worker)
            assert job.workload == b"next"
            worker.send(job, WorkComplete(b""))
            await all_updates(submission)

        on_loop(backend, act)

    def test_a_thread_may_wait_while_the_loop_runs(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        async def act(half: LoopBackend) -> Update | None:
            [submission] = await submitted(half, JobSpec(function, b""))
            with pytest.raises(ResultUnavailable, match="await"):
                submission.next_update(0)
            waiting = asyncio.create_task(asyncio.to_thread(submission.next_update, PATIENCE))
            worker.send(grab(worker), WorkComplete(b"done"))
            return await waiting

        assert on_loop(backend, act) == WorkComplete(b"done")

    def test_functions_are_listed(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        async def act(half: LoopBackend) -> list[str]:
            [submission] = await submitted(half, JobSpec(function, b"", background=True))
            assert submission.handle
            return [row.function for row in await half.functions(PATIENCE)]

        assert function in on_loop(backend, act)

    def test_the_status_of_a_job_is_told(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        async def act(half: LoopBackend) -> list[JobStatus]:
            [submission] = await submitted(half, JobSpec(function, b"", background=True))
            found = [await half.job_status(submission.handle)]
            job = grab(worker)
            worker.send(job, WorkStatus(1, 3))
            eventually(lambda: backend.job_status(job.handle).denominator == 3, "the progress")
            found.append(await half.job_status(submission.handle))
            worker.send(job, WorkComplete(b""))
            eventually(lambda: not backend.job_status(job.handle).known, "the end of the job")
            found.append(await half.job_status(submission.handle))
            return found

        queued, begun, ended = on_loop(backend, act)

        assert (queued.known, queued.running) == (True, False)
        assert begun == JobStatus(True, True, 1, 3)
        assert ended == JobStatus(False, False)

    @pytest.mark.parametrize("handle", ["", "nonsense", "127.0.0.1:1//H:nobody:1"])
    def test_the_status_of_an_invalid_handle_is_refused(
        self, backend: BaseBackend, handle: str
    ) -> None:
        async def act(half: LoopBackend) -> None:
            with pytest.raises(ValueError, match="handle"):
                await half.job_status(handle)

        on_loop(backend, act)
