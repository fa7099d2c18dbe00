"""Short words for tests of the transport to real job servers."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

from django_gearman.backends.base import AssignedJob, JobSpec, Submission, Update, WorkerSession
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.protocol.packets import PacketType
from tests.support.fake_server import PATIENCE
from tests.support.gearmand import Gearmand, wait_until

ROOT = Path(__file__).parent.parent.parent
SUBMITS = [kind for kind in PacketType if kind.name.startswith("SUBMIT_JOB")]

Open = Callable[..., GearmandBackend]


def submit(backend: GearmandBackend, *specs: JobSpec) -> list[Submission]:
    submissions = backend.submit(specs)
    assert [s.error for s in submissions] == [None] * len(specs)
    return submissions


def grab(worker: WorkerSession) -> AssignedJob:
    job = worker.grab_job(PATIENCE)
    assert job is not None, "no job was assigned in time"
    return job


def outcome(submission: Submission) -> Update:
    return list(submission.updates(PATIENCE))[-1]


def background(function: str, workload: bytes = b"work", unique: str = "") -> JobSpec:
    return JobSpec(function, workload, unique=unique, background=True)


def server_of(submission: Submission) -> str:
    return submission.handle.partition("//")[0]


def unique_for(backend: GearmandBackend, address: str) -> str:
    """Return a unique whose jobs go to the server at `address` while it is up."""
    for number in itertools.count():
        [first, *_] = backend.preferred(JobSpec("f", b"", unique=f"unique-{number}"))
        if str(first) == address:
            return f"unique-{number}"
    raise AssertionError


def pause(server: Gearmand) -> None:
    """Stop a server, and return when none of its threads runs any more."""
    server.pause()
    threads = list(Path(f"/proc/{server.process.pid}/task").iterdir())
    wait_until(
        lambda: all(") T " in (thread / "stat").read_text() for thread in threads),
        "all threads of gearmand are stopped",
    )


class Stopwatch:
    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started
