"""The contract for the server's lists of jobs and workers, and for workers that leave."""

from __future__ import annotations

import pytest

from ...backends.base import (
    BaseBackend,
    JobSpec,
    JobStatus,
    WorkComplete,
    WorkerSession,
    WorkStatus,
)
from ...exceptions import ConnectionLost
from .base import Connect, ContractBase, all_updates, drain, eventually, grab, submit


class WorkersContract(ContractBase):
    """The contract for the server's lists of jobs and workers, and for workers that leave."""

    def test_status_follows_a_job_through_its_life(
        self, connect: Connect, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        [submission] = submit(backend, JobSpec(function, b"work", background=True))
        handle, onlooker = submission.handle, connect()
        assert onlooker.job_status(handle) == JobStatus(known=True, running=False)

        job = grab(worker)
        assert onlooker.job_status(handle) == JobStatus(known=True, running=True)
        worker.send(job, WorkStatus(3, 10))
        eventually(
            lambda: onlooker.job_status(handle) == JobStatus(True, True, 3, 10), "the progress"
        )

        worker.send(job, WorkComplete(b""))
        eventually(lambda: onlooker.job_status(handle) == JobStatus(False, False), "the end")

    def test_a_handle_that_is_none_is_refused(self, backend: BaseBackend) -> None:
        with pytest.raises(ValueError, match="handle"):
            backend.job_status("nonsense")

    def test_functions_are_counted(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        assert worker.grab_job(0.1) is None  # connects
        submit(backend, *[JobSpec(function, b"work", background=True)] * 3)
        grab(worker)

        [row] = [row for row in backend.functions() if row.function == function]
        assert (row.total, row.workers) == (3, 1)
        assert 1 <= row.running <= worker.slots
        assert row.server

    def test_a_worker_knows_that_the_server_knows_it(self, worker: WorkerSession) -> None:
        eventually(lambda: worker.grab_job(0.1) is None and worker.is_known, "a server's answer")

    def test_each_server_gives_a_sign_of_life(self, backend: BaseBackend) -> None:
        assert [error for error in backend.ping(10).values() if error is not None] == []

    def test_workers_are_listed_with_name_and_functions(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        assert worker.grab_job(0.1) is None

        [row] = [row for row in backend.workers() if function in row.functions]
        assert (row.client_id, row.functions) == ("contract-worker", (function,))

    @pytest.mark.parametrize("background", [True, False])
    def test_a_worker_that_leaves_gives_its_jobs_to_another(
        self, connect: Connect, worker: WorkerSession, function: str, background: bool
    ) -> None:
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

    def test_what_a_worker_finished_before_it_left_is_not_run_again(
        self, connect: Connect, function: str
    ) -> None:
        client, leaver = connect(), connect().register([function])
        [submission] = submit(client, JobSpec(function, b"work"))
        leaver.send(grab(leaver), WorkComplete(bytes(3_000_000)))

        leaver.close()

        assert all_updates(submission) == [WorkComplete(bytes(3_000_000))]
        heir = connect().register([function])
        assert drain(heir) == []
        heir.close()

    def test_a_job_that_is_not_in_hand_cannot_be_reported_on(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        submit(backend, JobSpec(function, b"work", background=True))
        job = grab(worker)
        worker.send(job, WorkComplete(b""))

        with pytest.raises(ConnectionLost):
            worker.send(job, WorkComplete(b"again"))

    def test_a_client_that_leaves_takes_its_queued_foreground_jobs_with_it(
        self, connect: Connect, worker: WorkerSession, function: str
    ) -> None:
        client = connect()
        submit(client, JobSpec(function, b"foreground"), JobSpec(function, b"b", background=True))

        client.close()

        assert drain(worker, 1) == [b"b"]

    def test_a_closed_backend_opens_again(
        self, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        submit(backend, JobSpec(function, b"1", background=True))
        backend.close()
        submit(backend, JobSpec(function, b"2", background=True))

        assert drain(worker, 2) == [b"1", b"2"]

    def test_a_job_that_another_worker_runs_again_has_all_its_clients_still(
        self, connect: Connect, worker: WorkerSession, function: str
    ) -> None:
        spec = JobSpec(function, b"work", unique="shared")
        [first], [second] = submit(connect(), spec), submit(connect(), spec)
        grab(worker)

        worker.close()
        heir = connect().register([function])
        heir.send(grab(heir), WorkComplete(b"done"))

        assert all_updates(first) == all_updates(second) == [WorkComplete(b"done")]
        heir.close()

    def test_a_running_job_goes_on_when_its_client_leaves(
        self, connect: Connect, backend: BaseBackend, worker: WorkerSession, function: str
    ) -> None:
        client = connect()
        [submission] = submit(client, JobSpec(function, b"work"))
        job = grab(worker)

        client.close()
        worker.send(job, WorkStatus(1, 2))
        worker.send(job, WorkComplete(b"done"))

        gone = JobStatus(known=False, running=False)
        eventually(lambda: backend.job_status(submission.handle) == gone, "the end of the job")

    def test_a_worker_that_has_left_is_not_listed(
        self, connect: Connect, backend: BaseBackend, function: str
    ) -> None:
        leaver = connect().register([function])
        assert leaver.grab_job(0.1) is None

        leaver.close()

        eventually(
            lambda: not [row for row in backend.workers() if function in row.functions],
            "the worker is listed no longer",
        )

    def test_functions_are_listed_by_name(self, backend: BaseBackend, function: str) -> None:
        names = [f"{function}.{end}" for end in "cab"]
        submit(backend, *(JobSpec(name, b"work", background=True) for name in names))

        listed = [row.function for row in backend.functions() if row.function in names]

        assert listed == sorted(names)
