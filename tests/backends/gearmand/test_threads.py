"""One backend used by several threads, and by a forked child."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
import uuid
from typing import Any

import pytest

from django_gearman.backends.base import (
    JobSpec,
    Submission,
    Update,
    WorkComplete,
    WorkData,
)
from django_gearman.exceptions import BackendError, ConnectionLost
from tests.support.fake_server import PATIENCE
from tests.support.transport import (
    ROOT,
    Stopwatch,
    grab,
    outcome,
    submit,
)

pytestmark = pytest.mark.gearmand


def test_many_threads_wait_on_one_backend(open_backend, worker_of, gearmand):
    function = uuid.uuid4().hex
    backend, worker = open_backend(gearmand.address), worker_of(function, gearmand.address)
    submissions = submit(backend, *[JobSpec(function, b"%d" % n) for n in range(60)])
    got: dict[int, Any] = {}

    def wait(number: int) -> None:
        try:
            got[number] = list(submissions[number].updates(PATIENCE))
        except Exception as error:
            got[number] = error

    threads = [threading.Thread(target=wait, args=(n,)) for n in range(len(submissions))]
    for thread in threads:
        thread.start()
    jobs = [grab(worker) for _ in submissions]
    for job in jobs[1::2] + jobs[::2][::-1]:
        worker.send(job, WorkData(job.workload))
        worker.send(job, WorkComplete(job.workload))
    for thread in threads:
        thread.join(PATIENCE)

    assert got == {
        n: [WorkData(b"%d" % n), WorkComplete(b"%d" % n)] for n in range(len(submissions))
    }


def test_all_waiting_threads_learn_that_the_server_died(open_backend, own_gearmand):
    backend = open_backend(own_gearmand.address)
    submissions = submit(backend, *[JobSpec("f", b"%d" % n) for n in range(20)])
    raised: list[type[BaseException]] = []

    def wait(submission: Submission) -> None:
        try:
            submission.next_update(PATIENCE)
        except BackendError as error:
            raised.append(type(error))

    threads = [threading.Thread(target=wait, args=(s,)) for s in submissions]
    for thread in threads:
        thread.start()
    own_gearmand.kill()
    for thread in threads:
        thread.join(PATIENCE)

    assert raised == [ConnectionLost] * 20


def test_closing_a_backend_wakes_who_waits_on_it(open_backend, gearmand):
    backend = open_backend(gearmand.address)
    [submission] = submit(backend, JobSpec(uuid.uuid4().hex, b"work"))
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            submission.next_update(3 * PATIENCE)
        except BackendError as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.05)
    watch = Stopwatch()
    backend.close()
    thread.join(PATIENCE)

    assert watch.seconds < PATIENCE, "it went on waiting"
    assert [type(error) for error in raised] == [ConnectionLost]
    assert "was closed" in str(raised[0])


def test_one_thread_submits_while_another_waits(open_backend, worker_of, gearmand):
    function = uuid.uuid4().hex
    backend, worker = open_backend(gearmand.address), worker_of(function, gearmand.address)
    [submission] = submit(backend, JobSpec(function, b"first"))
    got: list[Update] = []
    waiter = threading.Thread(target=lambda: got.extend(submission.updates(PATIENCE)))
    waiter.start()

    later = [submit(backend, JobSpec(function, b"%d" % n))[0] for n in range(300)]
    for _ in range(301):
        job = grab(worker)
        worker.send(job, WorkComplete(job.workload))
    waiter.join(PATIENCE)

    assert got == [WorkComplete(b"first")]
    assert [outcome(s) for s in later] == [WorkComplete(b"%d" % n) for n in range(300)]


def test_a_forked_child_uses_the_backend_and_leaves_the_parent_alone(gearmand):
    """Forked while a thread of the parent reads: whatever locks there are may be taken."""
    script = """
        import os, sys, threading, time
        from django_gearman.backends.base import JobSpec, WorkComplete
        from django_gearman.backends.gearmand import GearmandBackend
        from django_gearman.protocol.address import ServerAddress
        from django_gearman.exceptions import ConnectionLost

        address, function = sys.argv[1:]
        backend = GearmandBackend([ServerAddress.parse(address)], status_interval=0.5)
        [mine] = backend.submit([JobSpec(function, b"parent")])
        got = []
        waiter = threading.Thread(target=lambda: got.extend(mine.updates(20)))
        waiter.start()
        time.sleep(0.1)
        child = os.fork()
        if child == 0:
            try:
                for _ in range(2):
                    [submission] = backend.submit([JobSpec(function, b"child")])
                    assert submission.error is None, submission.error
                    assert backend.job_status(submission.handle).known
                    backend.close()
                try:
                    mine.next_update(1)
                except ConnectionLost as error:
                    assert "fork" in str(error)
                else:
                    raise AssertionError("the child waits on its parent's connection")
            except BaseException as error:
                print("child:", repr(error), flush=True)
                os._exit(1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        worker = backend.register([function])
        job = worker.grab_job(20)
        assert job.workload == b"parent", job
        worker.send(job, WorkComplete(b"done"))
        waiter.join(20)
        assert got == [WorkComplete(b"done")], got
        worker.close()
        print("well")
    """
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",  # 3.12 and later warn of a fork beside threads
            "-c",
            textwrap.dedent(script),
            gearmand.address,
            uuid.uuid4().hex,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert (done.stdout, done.stderr) == ("well\n", "")
