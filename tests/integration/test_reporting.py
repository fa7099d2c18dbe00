"""Failures that are hard to report, reporters that die, and jobs that cannot be read."""

from __future__ import annotations

import datetime

import pytest

import gearman_example.settings as example_settings
from django_gearman.backends import get_backend
from django_gearman.backends.base import JobSpec
from django_gearman.exceptions import JobRaised
from tests.integration import untellable_jobs
from tests.integration.conftest import workers_ready
from tests.integration.test_production import is_idle
from tests.support.gearmand import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

BOTH = pytest.mark.parametrize("backend", ["gearman", "python-gearman"])
DEPTHS = range(930, 1010)


def nested(depth: int) -> bytes:
    return b'{"args":[' + b"[" * depth + b"]" * depth + b'],"kwargs":{}}'


def failure(request) -> JobRaised:
    with pytest.raises(JobRaised) as caught:
        print(request.result)
    return caught.value


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("exits", "Unspeakable: <Unspeakable: its str() raised SystemExit: unspeakable>"),
        ("interrupts", "its str() raised KeyboardInterrupt"),
        ("recurses", "its str() raised RecursionError"),
        ("interrupt", "KeyboardInterrupt"),
        ("exit", "SystemExit: 3"),
        ("group", "ExceptionGroup: group"),
        ("cycle", "ValueError: first"),
        ("surrogates", "ValueError: \ud800 \0 \x1b[31m"),
        ("huge", "xxx... (5000000 characters)".replace("...", "\n...")),
    ],
)
def test_any_failure_is_reported_and_does_not_cost_a_process(launch, client, trail, how, message):
    worker = launch("gearman_worker")

    error = failure(
        client.submit_job("tests.integration.untellable_jobs.fail_as", how, poll_timeout=30)
    )

    assert message in f"{error.exception_type}: {error.message}"
    assert client.submit_job("tests.integration.mark", 1, poll_timeout=30).result == 1
    assert trail() == [how, "1"]
    assert worker.stop() == 0
    assert "starting another one" not in worker.output
    assert "Logging error" not in worker.output
    assert worker.output.count("in attempt 1, with arguments of digest") == 1
    assert len(worker.output) < 200_000


@BOTH
@pytest.mark.parametrize("how", ["exits", "interrupts", "group", "interrupt"])
def test_any_failure_is_retried_as_often_as_declared(
    launch, client, own_gearmand, trail, backend, how
):
    worker = launch("gearman_worker", backend=backend)

    client.dispatch_background_task("tests.integration.untellable_jobs.fail_and_retry_as", how)

    # retry_on is Exception, and KeyboardInterrupt is none.
    runs = 1 if how == "interrupt" else 3
    wait_until(lambda: f"failed in attempt {runs}, with" in worker.output, "it has failed for good")
    wait_until(lambda: is_idle(own_gearmand), "nothing is left")
    assert trail() == [how] * runs
    assert "starting another one" not in worker.output


@BOTH
@pytest.mark.parametrize("name", ["raise_value", "raise_value_with_retries"])
def test_nested_brackets_stop_nothing(launch, client, own_gearmand, trail, backend, name):
    """At some of these depths a value can be read, and its repr not be had."""
    worker = launch("gearman_worker", backend=backend)
    function = f"tests.integration.untellable_jobs.{name}"

    get_backend().submit([JobSpec(function, nested(n), background=True) for n in DEPTHS])

    wait_until(lambda: is_idle(own_gearmand), "nothing is left")
    assert client.submit_job("tests.integration.mark", 1, poll_timeout=30).result == 1
    assert worker.output.count("failed in attempt 1, with") == len(DEPTHS)
    if name == "raise_value":
        assert "its repr() raised RecursionError" in worker.output
    assert 0 < trail().count("raised") <= len(DEPTHS)
    assert "starting another one" not in worker.output


# Reporters that die


@BOTH
@pytest.mark.parametrize("when", ["finished", "failed", "ends"])
def test_a_process_that_dies_while_telling_leaves_the_outcome(
    launch, client, own_gearmand, trail, backend, when
):
    worker = launch("gearman_worker", backend=backend)

    request = client.submit_job(
        "tests.integration.untellable_jobs.kill_who_tells", when, poll_timeout=30
    )

    assert (request.state == "FAILED") is (when != "finished")
    wait_until(lambda: "starting another one" in worker.output, "the process has died")
    assert client.submit_job("tests.integration.mark", 1, poll_timeout=30).result == 1
    assert is_idle(own_gearmand)
    assert trail() == ["ran", when, "1"]


def test_a_process_that_dies_while_telling_doubles_no_attempt(launch, client, own_gearmand, trail):
    worker = launch("gearman_worker")
    name = "tests.integration.untellable_jobs.kill_who_tells_of_a_retry"

    client.dispatch_background_task(name, "retried")

    wait_until(lambda: "failed in attempt 2, with" in worker.output, "it has failed for good")
    wait_until(lambda: is_idle(own_gearmand), "nothing is left")
    assert trail() == ["ran", "retried", "ran"]


def test_a_job_whose_start_cannot_be_reported_is_charged(launch, client, trail):
    worker = launch("gearman_worker")

    request = client.submit_job(
        "tests.integration.untellable_jobs.kill_who_tells", "started", poll_timeout=60
    )

    assert "WorkerDied" in str(failure(request))
    assert trail() == ["started"] * 3
    assert worker.stop() == 0


def test_a_handler_that_exits_ends_no_process(launch, client, trail):
    worker = launch("gearman_worker")

    request = client.submit_job(
        "tests.integration.untellable_jobs.kill_who_tells", "exits", poll_timeout=30
    )

    assert "ValueError: exits" in str(failure(request))
    assert client.submit_job("tests.integration.mark", 1, poll_timeout=30).result == 1
    assert worker.stop() == 0
    assert "a log handler or filter raised SystemExit(4)" in worker.output
    assert "starting another one" not in worker.output


# Jobs that cannot be read


@BOTH
def test_a_job_that_does_not_fit_into_memory_costs_three_processes(
    launch, client, own_gearmand, trail, backend, monkeypatch
):
    monkeypatch.setenv("MEMORY_LIMIT", "400")
    worker = launch("gearman_worker", backend=backend)
    workers_ready(own_gearmand, 1)

    request = client.submit_job("tests.integration.mark", "x" * 150_000_000, poll_timeout=120)

    assert "WorkerDied" in str(failure(request))
    assert "it has killed 3 processes" in str(request.exception)
    assert client.submit_job("tests.integration.mark", 1, poll_timeout=30).result == 1
    assert trail() == ["1"]
    assert worker.stop() == 0
    assert worker.output.count("while it ran job tests.integration.mark") == 3


@pytest.mark.parametrize("name", ["take", "take_with_retries"])
def test_a_job_that_ends_its_readers_costs_three_processes(
    launch, client, own_gearmand, trail, settings, name
):
    """Those who report on the death of a worker process read it, too, or need not."""
    settings.SECRET_KEY = example_settings.SECRET_KEY
    worker = launch("gearman_worker")

    client.dispatch_background_task(
        f"tests.integration.untellable_jobs.{name}", untellable_jobs.Unreadable()
    )

    wait_until(lambda: "it has killed 3 processes" in worker.output, "it has failed")
    wait_until(lambda: is_idle(own_gearmand), "nothing is left")
    assert client.submit_job("tests.integration.mark", 1, poll_timeout=30).result == 1
    assert worker.output.count("starting another one") == 3
    assert set(trail()) == {"read", "1"}


@pytest.mark.parametrize("arguments", [[], ["--threads", "4"]], ids=["one job", "threads"])
def test_a_job_that_closes_all_files_does_not_run_forever(
    launch, client, own_gearmand, trail, arguments
):
    worker = launch("gearman_worker", *arguments)

    request = client.submit_job("tests.integration.untellable_jobs.close_all", poll_timeout=20)

    assert "WorkerDied" in str(failure(request))
    assert trail() == ["closed"] * 3
    assert client.submit_job("tests.integration.mark", 1, poll_timeout=30).result == 1
    assert worker.stop() == 0


@BOTH
def test_jobs_that_wait_behind_poison_are_not_charged(launch, client, own_gearmand, trail, backend):
    jobs = [{"task": "tests.integration.mark", "data": n} for n in range(40)]
    jobs.insert(10, {"task": "tests.integration.poison_without_retries"})
    client.submit_multiple_jobs(jobs, background=True)

    worker = launch("gearman_worker", "--prefetch", "10", backend=backend)

    wait_until(lambda: is_idle(own_gearmand), "nothing is left")
    assert trail().count("died") == 3
    assert sorted(int(each) for each in trail() if each != "died") == list(range(40))
    wait_until(lambda: worker.output.count("failed in attempt") == 1, "it is told")


# Next attempts that the server refuses


def test_a_full_queue_loses_no_attempt(launch, client, own_gearmand, trail):
    name = "tests.integration.untellable_jobs.fail_and_retry_as"
    worker = launch("gearman_worker")
    workers_ready(own_gearmand, 1)
    own_gearmand.ask(f"maxqueue {name} 1")  # which the attempt that runs takes

    client.dispatch_background_task(name, "exit")

    wait_until(lambda: is_idle(own_gearmand), "nothing is left")
    assert trail() == ["exit"], "retry_on is Exception"
    client.dispatch_background_task(name, "huge")

    wait_until(lambda: "failed in attempt 3, with" in worker.output, "it has failed for good")
    assert trail() == ["exit", "huge", "huge", "huge"]
    assert is_idle(own_gearmand)


def test_no_room_at_all_loses_no_attempt(launch, client, own_gearmand, trail):
    name = "tests.integration.untellable_jobs.fail_and_retry_as"
    worker = launch("gearman_worker")
    workers_ready(own_gearmand, 1)
    wait_until(lambda: f"{name}@delayed" in own_gearmand.totals(), "both names are registered")
    own_gearmand.ask(f"maxqueue {name} 1")
    own_gearmand.ask(f"maxqueue {name}@delayed 1")
    in_a_while = datetime.timedelta(seconds=4)
    client.using(run_after=in_a_while).dispatch_background_task(name, "exit")

    client.dispatch_background_task(name, "huge")

    wait_until(lambda: "failed in attempt 3, with" in worker.output, "it has failed for good")
    assert trail().count("exit") == 1
    assert 3 < trail().count("huge") < 30, "it runs again until there is room, and not all the time"
    wait_until(lambda: is_idle(own_gearmand), "nothing is left")
    assert worker.stop() == 0
    assert "starting another one" not in worker.output
