"""Helpers for all parts of the contract."""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import pytest

from ...backends.base import (
    AssignedJob,
    BaseBackend,
    JobSpec,
    Submission,
    Update,
    WorkComplete,
    WorkerSession,
)
from ...utils.clock import monotonic

Connect = Callable[[], BaseBackend]

PATIENCE = 60.0  # seconds until a test gives up
PROMPT = 8.0  # limit in seconds of an answer without waiting
QUIET = 0.1  # seconds without a job after which none is expected


class ContractBase(ABC):
    """The base of the contract's tests, with the transport under test."""

    @abstractmethod
    def make_backend(self) -> BaseBackend:
        """Return a new backend; within one test, all of them reach the same job server."""

    @pytest.fixture
    def connect(self) -> Iterator[Connect]:
        made: list[BaseBackend] = []

        def make() -> BaseBackend:
            made.append(self.make_backend())
            return made[-1]

        yield make
        for backend in made:
            backend.close()

    @pytest.fixture
    def backend(self, connect: Connect) -> BaseBackend:
        return connect()

    @pytest.fixture
    def function(self) -> str:
        """Return a function name that no other test uses: tests may share a server."""
        return f"contract.{uuid.uuid4().hex}"

    @pytest.fixture
    def worker(self, connect: Connect, function: str) -> Iterator[WorkerSession]:
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
    assert job is not None, f"no job was assigned within {PATIENCE} s"
    return job


def drain(worker: WorkerSession, count: int = 0) -> list[bytes]:
    """
    Complete the waiting jobs; return their workloads in order of arrival.

    The first `count` jobs may take their time, as on a busy machine.
    """
    workloads: list[bytes] = []
    while job := worker.grab_job(QUIET if len(workloads) >= count else PATIENCE):
        workloads.append(job.workload)
        worker.send(job, WorkComplete(b""))
    return workloads


def all_updates(submission: Submission) -> list[Update]:
    return list(submission.updates(PATIENCE))


def eventually(condition: Callable[[], object], what: str) -> None:
    """Poll until `condition()` is true."""
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.01)
