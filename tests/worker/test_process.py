from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_gearman.backends.base import AssignedJob, WorkerSession
from django_gearman.supervisor import Scoreboard
from django_gearman.supervisor.scoreboard import MAX_TASK, Reported, Stage
from django_gearman.worker.process import (
    MOST_UNRESTORED,
    Limits,
    SupervisedObserver,
    decode_task,
    encode_task,
    resident_memory,
)

names = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=60)


@pytest.fixture
def scoreboard():
    made = Scoreboard()
    yield made
    made.close()


@pytest.fixture
def channel():
    ours, theirs = socket.socketpair()
    yield ours
    ours.close()
    theirs.close()


@contextlib.contextmanager
def due_in(scoreboard: Scoreboard, seconds: float) -> Iterator[None]:
    """Check that the deadline is set in the block, to so many seconds later."""
    before = time.monotonic()
    yield
    assert before + seconds <= scoreboard.deadline <= time.monotonic() + seconds


@given(
    handle=names,
    function=names,
    unique=names,
    workload=st.binary(),
    background=st.sampled_from([True, False, None]),
)
def test_a_job_on_the_board_is_read_as_it_was_written(
    handle, function, unique, workload, background
):
    job = AssignedJob(handle, function, unique, workload, background)

    assert decode_task(encode_task(job)) == (job, True)


def test_a_job_that_is_too_large_for_the_board_is_known_by_name():
    job = AssignedJob("h" * 63, "f" * 255, "u" * 63, b"x" * (1 << 20), True)

    task = encode_task(job)

    assert len(task) <= MAX_TASK
    found, has_workload = decode_task(task)
    assert (found.handle, found.function, has_workload) == (job.handle, job.function, False)


def test_the_largest_job_that_is_kept_fits():
    job = AssignedJob("h" * 63, "f" * 512, "u" * 63, b"x" * (1 << 17), True)

    task = encode_task(job)

    assert len(task) <= MAX_TASK
    assert decode_task(task) == (job, True)


# Reports to the supervisor


def test_a_job_with_a_timeout_has_a_deadline_some_seconds_later(scoreboard, channel):
    observer = SupervisedObserver(scoreboard, channel, Limits(), None)

    with due_in(scoreboard, 15):
        observer.began(AssignedJob("h", "f", "u", b""), 10.0)
        observer.returned()
    observer.ended()
    assert (scoreboard.task, scoreboard.deadline) == (b"", math.inf)


def test_receivers_have_some_seconds_after_a_job_that_took_all_its_time(scoreboard, channel):
    observer = SupervisedObserver(scoreboard, channel, Limits(), None)
    observer.began(AssignedJob("h", "f", "u", b""), 1e-6)
    time.sleep(0.1)

    with due_in(scoreboard, 5):
        observer.returned()


def test_receivers_of_a_job_without_a_timeout_have_a_minute(scoreboard, channel):
    observer = SupervisedObserver(scoreboard, channel, Limits(), None)
    observer.began(AssignedJob("h", "f", "u", b""), None)

    with due_in(scoreboard, 60):
        observer.returned()


@pytest.mark.parametrize(("default", "own", "seconds"), [(7.0, None, 7.0), (7.0, 3.0, 3.0)])
def test_a_jobs_own_timeout_wins(scoreboard, channel, default, own, seconds):
    observer = SupervisedObserver(scoreboard, channel, Limits(), default)

    assert observer.time_limit(own) == seconds


def test_a_job_without_a_timeout_has_no_deadline(scoreboard, channel):
    observer = SupervisedObserver(scoreboard, channel, Limits(), None)

    observer.began(AssignedJob("h", "f", "u", b""), observer.time_limit(None))
    assert scoreboard.deadline == math.inf


def test_a_job_that_arrives_is_on_the_board_until_it_has(scoreboard, channel):
    observer = SupervisedObserver(scoreboard, channel, Limits(), 10.0)
    job = AssignedJob("h", "f", "u", b"", True)

    observer.arriving(job)

    assert decode_task(scoreboard.task) == (job._replace(background=None), False)
    assert scoreboard.deadline == math.inf
    observer.arriving(None)
    assert scoreboard.task == b""


def test_a_large_job_is_the_same_task_while_it_arrives_and_while_it_runs(scoreboard, channel):
    observer = SupervisedObserver(scoreboard, channel, Limits(), None)
    job = AssignedJob("h", "f", "u", b"x" * 200_000, True)

    observer.arriving(job._replace(workload=b""))
    before = scoreboard.task
    observer.began(job, None)

    assert scoreboard.task == before


def test_the_board_keeps_the_reported_part_until_the_next_job(scoreboard, channel):
    observer = SupervisedObserver(scoreboard, channel, Limits(), None)
    job = AssignedJob("h", "f", "u", b"")
    messages = []

    for _ in range(2):
        observer.began(job, None)
        messages.append(scoreboard.has_reported)
        observer.returned()
        observer.resubmitted()
        messages.append(scoreboard.has_reported)
        observer.reported("succeeded")
        messages.append(scoreboard.has_reported)

    assert messages == [Reported.NOTHING, Reported.NEXT, Reported.ALL] * 2
    assert scoreboard.tally.done == 2


def test_a_worker_that_stops_has_some_seconds_for_that(scoreboard, channel):
    with due_in(scoreboard, 20):
        SupervisedObserver(scoreboard, channel, Limits(), None).leaving()


# When a process leaves


def test_limits_are_splayed_so_that_not_all_leave_at_once():
    limits = Limits(max_jobs=1000, max_memory=100, max_lifetime=100)

    splayed = [limits.splayed() for _ in range(50)]

    for each in splayed:
        assert 900 <= each.max_jobs <= 1000
        assert 90 <= each.max_memory <= 100
        assert 90 <= each.max_lifetime <= 100
    assert len({each.max_jobs for each in splayed}) > 5
    assert Limits(max_jobs=1).splayed().max_jobs == 1


@pytest.mark.parametrize(
    ("limits", "count", "is_over"),
    [
        (Limits(), 10**9, False),
        (Limits(max_jobs=1), 0, False),
        (Limits(max_jobs=1), 1, True),
        (Limits(max_memory=1e6), 1, False),
        (Limits(max_memory=1), 0, True),
        (Limits(max_lifetime=1000), 1, False),
        (Limits(max_lifetime=1e-6), 1, True),
    ],
)
def test_a_process_leaves_when_a_limit_is_reached(scoreboard, channel, limits, count, is_over):
    observer = SupervisedObserver(scoreboard, channel, limits, None)

    assert observer.is_over(count) is is_over
    assert scoreboard.stage is (Stage.LEAVING if is_over else Stage.STARTING)


def test_memory_is_reported_in_megabytes():
    before = resident_memory()
    held = bytearray(50_000_000)
    held[::4096] = b"x" * len(held[::4096])

    assert 5 < before < 2000
    assert 40 < resident_memory() - before < 200


# What jobs leave in the process


class Session(WorkerSession):
    """A session whose jobs the test makes."""

    def grab_job(self, timeout=None):
        raise NotImplementedError

    def send(self, job, update):
        raise NotImplementedError

    def close(self):
        raise NotImplementedError


class Runs:
    """Runs of jobs that set the umask, or not."""

    def __init__(self, observer: SupervisedObserver, session: Session) -> None:
        self._observer, self._session, self._number = observer, session, 0

    def __call__(self, function: str, *, umask: int | None = None, is_followed: bool) -> int:
        """Run a job; return the umask that it has found."""
        self._number += 1
        self._session.is_followed = is_followed
        self._observer.began(AssignedJob(f"h{self._number}", function, "u", b""), None)
        found = os.umask(0o022)
        os.umask(found if umask is None else umask)
        self._observer.returned()
        self._observer.reported("succeeded")
        self._observer.ended()
        return found


@pytest.fixture
def run(scoreboard, channel, caplog):
    before = os.umask(0o022)
    observer, session = SupervisedObserver(scoreboard, channel, Limits(), None), Session()
    observer.registered(session)
    yield Runs(observer, session)
    os.umask(before)


def test_a_job_leaves_nothing_for_one_of_another_function(run, caplog):
    run("quick", umask=0o077, is_followed=True)

    assert run("other", is_followed=True) == 0o022
    assert "job quick (h1) has left changes to its process, which were undone" in caplog.text


def test_a_job_leaves_nothing_for_its_waiting_worker(run, caplog):
    run("quick", is_followed=True)
    run("quick", umask=0o077, is_followed=False)

    assert os.umask(0o022) == 0o022
    assert "job quick (h2) has left" in caplog.text


def test_quick_jobs_that_follow_each_other_are_looked_at_after_some_of_them(run):
    run("quick", umask=0o077, is_followed=True)

    found = [run("quick", is_followed=True) for _ in range(MOST_UNRESTORED)]

    assert found == [0o077] * (MOST_UNRESTORED - 1) + [0o022]


def test_after_a_job_that_has_left_something_each_job_is_looked_at(run, caplog):
    run("quick", umask=0o077, is_followed=False)
    assert "has left" in caplog.text
    caplog.clear()

    run("quick", umask=0o077, is_followed=True)

    assert run("quick", is_followed=True) == 0o022
    assert "job quick (h2) has left" in caplog.text
