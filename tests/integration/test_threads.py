"""Worker processes with several jobs at a time, on a real gearmand."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest

from django_gearman.exceptions import JobRaised
from tests.integration.conftest import workers_ready
from tests.integration.thread_jobs import await_end, doze, linger, nap, spin, stuck, wait
from tests.support.gearmand import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

NAP = "tests.integration.thread_jobs.nap"
KINDS = pytest.mark.parametrize("job", [wait, await_end], ids=["def", "async def"])


def begun(trail) -> Counter[str]:
    return Counter(mark for mark in trail() if mark.startswith("began"))


def ended(trail) -> Counter[str]:
    return Counter(mark for mark in trail() if mark.startswith("ended"))


@pytest.fixture
def worker(launch, own_gearmand):
    """Start a worker, and wait until it serves."""

    def start(*arguments: str):
        process = launch("gearman_worker", "-q", "slow", *arguments)
        workers_ready(own_gearmand, 1, NAP)
        return process

    return start


@pytest.mark.parametrize("job", [nap, doze], ids=["def", "async def"])
def test_fifty_jobs_at_a_time(worker, client, trail, own_gearmand, job):
    process = worker("--threads", "50")
    [child] = process.children()

    for number in range(500):
        job.do_background(number, 0.02)

    wait_until(lambda: len(ended(trail)) == 500, "500 jobs")
    assert set(ended(trail).values()) == {1}
    wait_until(lambda: not own_gearmand.totals()[job.name][0], "0")
    assert process.children() == [child]
    assert process.stop() == 0
    assert "500 jobs done, 0 failed, 0 retried" in process.output


@KINDS
def test_sigterm_lets_fifty_jobs_finish(worker, client, trail, tmp_path, own_gearmand, job):
    process = worker("--threads", "50")
    for number in range(60):
        job.do_background(number)
    wait_until(lambda: len(begun(trail)) == 50, "fifty have begun")

    process.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "stopping: waiting for" in process.output, "it stops")
    (tmp_path / "go").touch()

    assert process.process.wait(30) == 0
    assert len(ended(trail)) == 50
    assert set(ended(trail).values()) == {1}
    assert own_gearmand.totals()[job.name][:2] == (10, 0)


@KINDS
def test_each_job_of_a_killed_process_is_charged_one_attempt(
    worker, client, trail, tmp_path, own_gearmand, job
):
    process = worker("--threads", "20")
    for number in range(20):
        job.do_background(number)
    wait_until(lambda: len(begun(trail)) == 20, "twenty have begun")

    os.kill(process.children()[0], signal.SIGKILL)
    wait_until(lambda: set(begun(trail).values()) == {2}, "each has begun again")
    (tmp_path / "go").touch()

    wait_until(lambda: len(ended(trail)) == 20, "twenty have ended")
    assert process.stop() == 0
    assert set(begun(trail).values()) == {2}
    assert set(ended(trail).values()) == {1}
    assert process.output.count("failed in attempt 1 of 3") == 20, process.output
    assert "20 jobs done, 0 failed, 20 retried" in process.output


def test_a_stuck_thread_costs_its_own_job_only(worker, client, trail, tmp_path):
    # Given two jobs without a limit, and one which does not heed its limit
    process = worker("--threads", "4")
    [child] = process.children()
    for number in range(2):
        wait.do_background(number)
    request = client.submit_job(stuck, wait_until_complete=False)
    wait_until(lambda: len(trail()) == 3, "all have begun")

    # When that is overdue
    wait_until(
        lambda: "runs overdue tasks: job tests.integration.thread_jobs.stuck" in process.output,
        "it is noticed",
    )

    # Then another process takes new jobs, and the others end in theirs
    assert nap.using(wait=30).do(7, 0.0) == 7
    assert child in process.children()
    (tmp_path / "go").touch()
    wait_until(lambda: child not in process.children(), "the process is killed")
    with pytest.raises(JobRaised, match=r"JobTimeLimitExceeded: job .+\.stuck did not end"):
        assert request.wait(30).result
    assert process.stop() == 0
    assert Counter(trail()) == Counter(
        [f"stuck-{child}", *(f"{what}-{n}" for what in ("began", "ended") for n in (0, 1, 7))]
    )
    assert "3 jobs done, 1 failed, 0 retried" in process.output


@pytest.mark.parametrize("job", [spin, linger], ids=["def", "async def"])
def test_a_time_limit_is_exact(worker, client, trail, job):
    process = worker("--threads", "4")
    [child] = process.children()

    with pytest.raises(JobRaised, match="JobTimeLimitExceeded"):
        job.using(wait=30).do()

    assert trail() == ["interrupted"]
    assert process.children() == [child]
    assert process.stop() == 0


def test_a_process_is_replaced_after_max_jobs_of_all_threads(worker, client, trail):
    process = worker("--threads", "10", "--max-jobs", "20")
    [child] = process.children()

    for number in range(100):
        nap.do_background(number, 0.02)

    wait_until(lambda: len(ended(trail)) == 100, "100 jobs")
    assert set(ended(trail).values()) == {1}
    wait_until(lambda: child not in process.children(), "it is replaced")
    assert process.stop() == 0


def test_burst_runs_what_is_queued_and_exits(launch, client, trail):
    for number in range(40):
        nap.do_background(number, 0.01)

    process = launch("gearman_worker", "--burst", "-q", "slow:1x8")

    assert process.process.wait(60) == 0
    assert len(ended(trail)) == 40
    assert "1 process with 8 threads serves queue slow only" in process.output


def test_sighup_replaces_the_process_when_its_jobs_have_ended(worker, client, trail, tmp_path):
    process = worker("--threads", "4")
    [child] = process.children()
    for number in range(3):
        wait.do_background(number)
    wait_until(lambda: len(begun(trail)) == 3, "three have begun")

    process.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(process.children()) == 2, "another one starts beside it", 60)
    (tmp_path / "go").touch()

    wait_until(lambda: child not in process.children(), "it has ended", 90)
    assert set(begun(trail).values()) == set(ended(trail).values()) == {1}
    assert process.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "0"], "'0' is not a whole number above 0"),
        (["--threads", "20000"], "--threads: 20000 is too many; the limit is 10000 jobs"),
        (["-q", "slow:2x0"], "-q slow:2x0: T must be at least 1"),
        (["-q", "slow:0x2"], "-q slow:0x2: N must be at least 1"),
        (["-q", "slow:x20"], "-q slow:x20: 'x20' is not a number of processes"),
        (["-q", "slow:2x"], "'2x' is not a number of processes"),
    ],
)
def test_bad_numbers_are_explained(launch, arguments, message):
    process = launch("gearman_worker", *arguments)

    assert process.process.wait(60) != 0
    assert message in process.output


def test_a_transport_that_runs_one_job_at_a_time_is_an_error(launch):
    process = launch("gearman_worker", "--threads", "4", backend="python-gearman")

    assert process.process.wait(60) == 1
    assert "GEARMAN_BACKEND is 'python-gearman', whose processes run one job at a time" in (
        process.output
    )
