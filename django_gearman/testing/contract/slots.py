"""The contract for workers with several jobs at a time; transports without them skip it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from ...backends.base import (
    AssignedJob,
    BaseBackend,
    JobSpec,
    WorkComplete,
    WorkData,
    WorkerSession,
    WorkStatus,
)
from ...exceptions import ConnectionLost
from ...utils.clock import monotonic
from .base import PATIENCE, QUIET, Connect, ContractBase, all_updates, drain, grab, submit

_SLOTS = 3


class SlotsContract(ContractBase):
    """The contract for workers with several jobs at a time."""

    @pytest.fixture
    def many(self, connect: Connect, function: str) -> Iterator[WorkerSession]:
        """A worker with three slots."""
        backend = connect()
        if not backend.supports_slots:
            pytest.skip("the transport runs one job at a time")
        session = backend.register([function], "contract-slots", slots=_SLOTS)
        yield session
        session.close()

    def test_several_jobs_are_current_and_end_in_any_order(
        self, backend: BaseBackend, many: WorkerSession, function: str
    ) -> None:
        sent = submit(backend, *(JobSpec(function, b"%d" % n) for n in range(_SLOTS)))

        jobs = [grab(many) for _ in range(_SLOTS)]
        for job in reversed(jobs):
            many.send(job, WorkComplete(b"done " + job.workload))

        assert len({job.handle for job in jobs}) == _SLOTS
        expected = [[WorkComplete(b"done %d" % n)] for n in range(_SLOTS)]
        assert [all_updates(each) for each in sent] == expected

    def test_no_more_jobs_are_taken_than_there_are_slots(
        self, connect: Connect, backend: BaseBackend, many: WorkerSession, function: str
    ) -> None:
        submit(backend, *[JobSpec(function, b"", background=True)] * (_SLOTS + 1))
        for _ in range(_SLOTS):
            grab(many)

        many.attend(QUIET)

        with closing(connect().register([function])) as other:
            assert len(drain(other, 1)) == 1

    def test_threads_report_in_order_while_the_owner_waits(
        self, backend: BaseBackend, many: WorkerSession, function: str
    ) -> None:
        sent = submit(backend, *(JobSpec(function, b"%d" % n) for n in range(_SLOTS)))
        jobs = [grab(many) for _ in range(_SLOTS)]

        def report(job: AssignedJob) -> None:
            for number in range(20):
                many.send(job, WorkData(b"%s %d" % (job.workload, number)))
                many.send(job, WorkStatus(number, 20))
            many.send(job, WorkComplete(job.workload))

        _beside(many, [lambda job=job: report(job) for job in jobs])  # type: ignore[misc]

        for name, submission in zip((b"0", b"1", b"2"), sent, strict=True):
            updates = [u for u in all_updates(submission) if not isinstance(u, WorkStatus)]
            assert updates[:-1] == [WorkData(b"%s %d" % (name, n)) for n in range(20)]
            assert updates[-1] == WorkComplete(name)

    @pytest.mark.parametrize("method", ["attend", "grab_job"])
    def test_another_thread_wakes_the_owner(self, many: WorkerSession, method: str) -> None:
        many.grab_job(QUIET)
        waker = threading.Timer(0.1, many.wake)
        waker.start()
        began = monotonic()

        getattr(many, method)(PATIENCE)

        waker.join()
        assert monotonic() - began < PATIENCE / 2

    def test_a_wake_before_the_wait_ends_it(self, many: WorkerSession) -> None:
        many.wake()
        began = monotonic()

        many.attend(PATIENCE)

        assert monotonic() - began < PATIENCE / 2

    def test_no_more_jobs_are_returned_than_are_left(
        self, connect: Connect, backend: BaseBackend, many: WorkerSession, function: str
    ) -> None:
        submit(backend, *[JobSpec(function, b"", background=True)] * _SLOTS)
        many.left = 1

        many.send(grab(many), WorkComplete(b""))

        assert many.grab_job(QUIET) is None
        with closing(connect().register([function])) as other:
            assert len(drain(other, _SLOTS - 1)) == _SLOTS - 1

    def test_a_job_that_has_ended_cannot_be_reported_on_by_any_thread(
        self, backend: BaseBackend, many: WorkerSession, function: str
    ) -> None:
        submit(backend, *[JobSpec(function, b"", background=True)] * 2)
        job, _ = grab(many), grab(many)
        many.send(job, WorkComplete(b""))
        errors: list[ConnectionLost] = []

        def report() -> None:
            try:
                many.send(job, WorkComplete(b""))
            except ConnectionLost as error:
                errors.append(error)

        _beside(many, [report])

        assert len(errors) == 1

    def test_closing_gives_all_current_jobs_to_others(
        self, connect: Connect, backend: BaseBackend, many: WorkerSession, function: str
    ) -> None:
        submit(backend, *(JobSpec(function, b"%d" % n, background=True) for n in range(_SLOTS)))
        jobs = [grab(many) for _ in range(_SLOTS)]
        many.send(jobs[0], WorkComplete(b""))

        many.close()

        with closing(connect().register([function])) as heir:
            found = sorted((grab(heir).workload, grab(heir).workload))
        assert found == sorted(job.workload for job in jobs[1:])

    def test_other_functions_are_served_while_a_job_runs(
        self, connect: Connect, backend: BaseBackend, many: WorkerSession, function: str
    ) -> None:
        [sent] = submit(backend, JobSpec(function, b"runs"))
        job, other = grab(many), f"{function}.other"

        if not many.serve([other], "contract-other"):
            return  # its worker registers anew when the job has ended
        submit(backend, *(JobSpec(name, b"", background=True) for name in (function, other)))

        assert grab(many).function == other
        with closing(connect().register([function])) as heir:
            assert drain(heir) == [b""], "the job that runs stays"
        many.send(job, WorkComplete(b"done"))
        assert all_updates(sent) == [WorkComplete(b"done")]

    def test_a_job_that_is_given_back_costs_no_other_one(
        self, connect: Connect, backend: BaseBackend, many: WorkerSession, function: str
    ) -> None:
        submit(backend, *(JobSpec(function, b"%d" % n, background=True) for n in range(2)))
        first, second = grab(many), grab(many)
        many.ask_no_more()

        def give_back() -> None:
            assert many.give_back(first)

        _beside(many, [give_back, lambda: many.send(second, WorkComplete(b""))])
        many.attend(QUIET)

        with closing(connect().register([function])) as heir:
            assert drain(heir, 1) == [first.workload]


def _beside(owner: WorkerSession, functions: list[Callable[[], object]]) -> None:
    """Call functions in other threads, while this one attends to the session."""
    threads = [threading.Thread(target=each) for each in functions]
    for thread in threads:
        thread.start()
    until = monotonic() + PATIENCE
    while any(thread.is_alive() for thread in threads):
        assert monotonic() < until, "the threads have not ended"
        owner.attend(0.01)
        time.sleep(0)
    owner.attend(0.01)
