"""Cancelling jobs that run, with real workers, a real gearmand and real databases."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter

import pytest

from tests.contrib.integration.databases import Database, Project
from tests.support.gearmand import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

#: The whole test takes a minute or two: TEST_CANCELS=1000 pytest -k random
CANCELS = int(os.environ.get("TEST_CANCELS", "100"))

only = pytest.mark.parametrize("vendor", ["postgresql"])
sqlite = pytest.mark.parametrize("vendor", ["sqlite"])
SUBMIT = "from tests.contrib import gearman_jobs as jobs\n"
CANCEL = "print(*(GearmanClient().cancel(each) for each in {!r}))"


def submit(project: Project, *calls: str) -> list[str]:
    """Submit background jobs in another process; return their ids."""
    submitted = "\n".join(f"print(jobs.{call}.id)" for call in calls)
    return project.python(SUBMIT + submitted).split()


def cancel(project: Project, *ids: str) -> list[str]:
    return project.python(CANCEL.format(ids)).split()


def status_of(database: Database, job_id: str) -> str:
    [(status,)] = database.query(f"SELECT status FROM gearman_jobrecord WHERE id = '{job_id}'")
    return str(status)


RANDOM = """
    import json, random, threading
    from django_gearman.contrib.store.models import JobRecord
    from tests.contrib import gearman_jobs as jobs

    NUMBER, CANCELS = {number}, {cancels}
    requests = GearmanClient().submit_multiple_jobs(
        [{{"task": "tests.contrib.takes_up_to", "data": random.randint(0, 200 if n % 5 == 0 else 20)}}
         for n in range(NUMBER)],
        background=True,
    )
    ids = [request.id for request in requests]
    answers, lock = {{}}, threading.Lock()
    left = random.sample(ids, NUMBER)

    def work(aims):
        try:
            while True:
                running = []
                if aims:  # at a job that runs, in half of the threads
                    rows = JobRecord.objects.filter(status="RUNNING").values_list("pk", flat=True)
                    running = [each for each in rows if each not in answers]
                with lock:
                    if len(answers) >= CANCELS:
                        return
                    chosen = random.choice(running) if running else left.pop()
                    if chosen in answers:
                        continue
                    answers[chosen] = None
                answers[chosen] = GearmanClient().cancel(chosen)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=[n % 2]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps([ids, answers]))
"""


@only
def test_random_cancels_touch_no_other_job(project, database):
    number = 2 * CANCELS
    worker = project.worker("-w", "8")
    wait_until(lambda: "ready: 8 processes" in project.output(worker), "the worker", 120)

    output = project.python(RANDOM.format(number=number, cancels=CANCELS), seconds=600)

    ids, answers = json.loads(output.splitlines()[-1])
    counted = "SELECT COUNT(*) FROM gearman_jobrecord WHERE status IN ('READY', 'RUNNING')"
    wait_until(lambda: database.query(counted) == [(0,)], "the end of all jobs", 300)
    assert project.stop(worker) == 0
    statuses = dict(database.query("SELECT id, status FROM gearman_jobrecord"))
    lines = Counter(project.lines())
    assert (len(ids), len(answers)) == (number, CANCELS)
    for job_id in ids:
        begun, ended, cut = (lines[f"{word} {job_id}"] for word in ("begin", "end", "cut"))
        about = answers.get(job_id), statuses[job_id], begun, ended, cut
        match about:
            case (None, "SUCCESSFUL", 1, 1, 0):  # nobody named it
                pass
            case ("queued", "CANCELLED", 0, 0, 0):
                pass
            case ("running", "SUCCESSFUL", 1, 1, 0):
                pass
            case (
                "running",
                "CANCELLED",
                (0 | 1),
                (0 | 1),
                (0 | 1),
            ):  # cut before, in or after its code
                pass
            case ("finished", "SUCCESSFUL", 1, 1, 0):
                pass
            case _:
                pytest.fail(f"job {job_id}: {about}; answers: {Counter(answers.values())}")
    print(
        Counter(answers.values()),
        Counter(statuses.values()),
        sum(k.startswith("cut") for k in lines),
    )
    assert "was killed" not in project.output(worker)


@sqlite
def test_a_job_is_interrupted_and_one_that_catches_everything_is_killed(project, database):
    worker = project.worker("-w", "4")
    wait_until(lambda: "ready: 4 processes" in project.output(worker), "the worker", 120)
    sleeps, counts, stubborn, other = submit(
        project,
        "cancels_slowly.do_background('a', 60)",
        "counts_for_ever.do_background('b')",
        "cancels_stubborn.do_background('c')",
        "cancels_slowly.do_background('d', 15)",
    )
    wait_until(lambda: len(project.lines()) == 4, "all four", 120)

    assert cancel(project, sleeps, counts, stubborn) == ["running", "running", "running"]

    for job_id in (sleeps, counts, stubborn):
        wait_until(lambda job_id=job_id: status_of(database, job_id) == "CANCELLED", "its end", 120)
    wait_until(lambda: status_of(database, other) == "SUCCESSFUL", "the other job", 120)
    assert project.lines().count("JobCancelled c") == 1, "the interrupt strikes once"
    assert Counter(project.lines())["begin c"] == 1, "it does not run again"
    output = project.output(worker)
    assert output.count("its task was cancelled, but did not end in time") == 1
    assert output.count(" was cancelled: ") == 3
    assert cancel(project, sleeps, stubborn, other) == ["finished"] * 3
    assert project.stop(worker) == 0


@sqlite
def test_a_coroutine_is_cancelled_and_a_foreground_client_is_answered(project, database):
    worker = project.worker("-w", "2")
    [job_id] = submit(project, "cancels_async.do_background('a', 60)")
    waiting = project.start(
        sys.executable,
        "-c",
        project.program("""
            from tests.contrib import gearman_jobs as jobs
            try:
                jobs.cancels_slowly.do("b", 60)
            except Exception as error:
                print(type(error).__name__, error)
        """),
    )
    wait_until(lambda: sorted(project.lines()) == ["begin a", "begin b"], "both", 120)
    [(other,)] = database.query(f"SELECT id FROM gearman_jobrecord WHERE id <> '{job_id}'")

    assert cancel(project, job_id, other) == ["running", "running"]

    wait_until(lambda: status_of(database, job_id) == "CANCELLED", "the end of the coroutine", 120)
    assert waiting.wait(120) == 0
    assert "JobRaised job tests.contrib.cancels_slowly" in project.output(waiting)
    assert "JobCancelled: the job was cancelled" in project.output(waiting)
    assert sorted(project.lines())[:2] == ["CancelledError a", "JobCancelled b"]
    assert project.stop(worker) == 0


@sqlite
def test_a_job_is_cancelled_while_its_worker_stops(project, database):
    worker = project.worker("--grace-period", "60")
    [job_id] = submit(project, "cancels_slowly.do_background('a', 60)")
    wait_until(lambda: project.lines() == ["begin a"], "the job", 120)
    worker.terminate()
    wait_until(lambda: "stopping: waiting for job" in project.output(worker), "the stop", 120)
    began = time.monotonic()

    assert cancel(project, job_id) == ["running"]

    assert worker.wait(40) == 0
    assert time.monotonic() - began < 40
    assert status_of(database, job_id) == "CANCELLED"
    assert project.lines() == ["begin a", "JobCancelled a"]


@sqlite
def test_a_cancellation_finds_its_job_without_a_message(project, database):
    worker = project.worker()
    [job_id] = submit(project, "cancels_slowly.do_background('a', 60)")
    wait_until(lambda: project.lines() == ["begin a"], "the job", 120)

    database.query(  # as if the supervisor had not heard of it
        f"UPDATE gearman_jobrecord SET cancelled_at = '2026-01-01' WHERE id = '{job_id}'"
    )

    wait_until(lambda: status_of(database, job_id) == "CANCELLED", "its end", 120)
    assert project.lines() == ["begin a", "JobCancelled a"]
    assert project.stop(worker) == 0
