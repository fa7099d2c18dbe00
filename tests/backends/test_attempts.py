"""Next attempts of jobs on each transport: by whom they are known, and in which order they come."""

from __future__ import annotations

import itertools

import pytest

from django_gearman import GearmanWorker, gearman_job
from django_gearman.backends import get_backend
from django_gearman.jobs.registry import registry
from django_gearman.signals import job_started
from tests.support.gearmand import wait_until
from tests.support.job_server import JobServerProcess

GEARMAN = pytest.param("gearman", marks=pytest.mark.gearmand)
PYTHON_GEARMAN = pytest.param("python-gearman", marks=pytest.mark.gearmand)
#: The bindings have no delayed jobs.
WITH_DELAYED = pytest.mark.parametrize(
    "transport", ["memory", "job-server", GEARMAN], indirect=True
)

_names = itertools.count()


@pytest.fixture(scope="module")
def job_server():
    with JobServerProcess() as server:
        yield server


@pytest.fixture(params=["memory", "job-server", GEARMAN, PYTHON_GEARMAN])
def transport(request, production, settings):
    """Return the name of the transport that the settings say."""
    settings.GEARMAN_BACKEND = "gearman" if request.param == "job-server" else request.param
    if request.param == "memory":
        settings.GEARMAN_OPTIONS = {"name": request.node.nodeid}
    else:
        server = "job_server" if request.param == "job-server" else "gearmand"
        settings.GEARMAN_SERVERS = [request.getfixturevalue(server).address]
    yield request.param
    get_backend().close()


@pytest.fixture
def declare():
    """Return a function that declares a job with a number of failures."""

    def make(failures: int, **options: object):
        def fail(label: object = None) -> None:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise OSError("again")

        name = f"attempts-{next(_names)}"
        made.append(name)
        return gearman_job(queue=name, name=name, **options)(fail)

    made: list[str] = []
    yield make
    for name in made:
        del registry._jobs[name]


def work(job) -> None:
    GearmanWorker([job.queue], clean_connections=False).work(burst=True)


def waiting(job) -> int:
    return sum(each.total for each in get_backend().functions() if each.function == job.name)


@pytest.mark.parametrize("unique", [None, "ada", "x" * 200])
@pytest.mark.parametrize("priority", [None, "HIGH", "LOW"])
def test_the_attempts_of_a_job_are_known_by_one_id(transport, runs, declare, unique, priority):
    job = declare(2, retries=2, backoff=0)
    request = job.using(unique=unique, priority=priority).do_background()
    work(job)

    assert [run.attempt for run in runs] == [1, 2, 3]
    assert {run.id for run in runs} == {request.id}
    assert {run.unique for run in runs} == {unique or request.id}
    assert {run.enqueued_at for run in runs} != {None}
    assert len({run.handle for run in runs}) == 3


@WITH_DELAYED
def test_a_delayed_attempt_is_of_the_same_job(transport, runs, declare):
    job = declare(1, retries=1, backoff=1)
    request = job.using(unique="ada", priority="HIGH").do_background()

    def is_done() -> bool:
        work(job)
        return len(runs) == 2

    wait_until(is_done, "its second attempt has run")
    assert {(run.id, run.unique) for run in runs} == {(request.id, "ada")}


@WITH_DELAYED
def test_failures_of_one_unique_do_not_pile_up(transport, runs, declare):
    job = declare(10, retries=3, backoff=3600)
    for _ in range(4):
        job.using(unique="ada").do_background()
        work(job)

    assert [run.attempt for run in runs] == [1] * 4
    assert waiting(job) == 1


def test_an_attempt_at_once_goes_before_jobs_of_less_priority(transport, runs, declare):
    job = declare(1, retries=1, backoff=0)
    important = job.using(priority="HIGH").do_background()
    others = [job.do_background(n) for n in range(3)]
    work(job)

    ids = [request.id for request in [important, important, *others]]
    assert [run.id for run in runs] == ids


def test_an_attempt_at_once_lets_jobs_of_more_priority_go_first(transport, runs, declare):
    job = declare(1, retries=1, backoff=0)
    idle = job.using(priority="LOW").do_background()

    def submit_more(context, **kwargs):
        if context.attempt == 1 and context.id == idle.id:
            others.append(job.do_background())

    others: list = []
    job_started.connect(submit_more)
    try:
        work(job)
    finally:
        job_started.disconnect(submit_more)

    assert [run.id for run in runs] == [idle.id, others[0].id, idle.id]
