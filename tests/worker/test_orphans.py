"""Reports in the name of a dead worker process, to a real server."""

from __future__ import annotations

import pytest

from django_gearman.backends import get_backend
from django_gearman.backends.base import JobSpec, WorkComplete
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.jobs.registry import registry
from django_gearman.signals import job_failed
from django_gearman.supervisor import WorkerExit
from django_gearman.supervisor.scoreboard import Reported
from django_gearman.worker.execution import Run
from django_gearman.worker.orphans import end_orphan
from django_gearman.worker.process import encode_task
from tests.support.gearmand import wait_until

pytestmark = pytest.mark.gearmand

FUNCTION = "tests.app.flaky"  # with retries=2


@pytest.fixture
def backend(own_gearmand, settings):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [own_gearmand.address]
    settings.GEARMAN_OPTIONS = {"reply_timeout": 1.0}
    backend = get_backend()
    assert isinstance(backend, GearmandBackend)
    yield backend
    backend.close()


class Dead:
    """A worker process that died while it ran a job: its parent holds its connection."""

    def __init__(self, backend, function=FUNCTION, background=True, unique="") -> None:
        self.sockets = {}
        workload = b'{"args":[9],"kwargs":{}}'
        spec = JobSpec(function, workload, unique, background=background)
        [self.submission] = backend.submit([spec])
        self.session = backend.register([function])
        self.session.on_connect = lambda name, opened: self.sockets.update({name: opened.dup()})
        self.job = self.session.grab_job(10)

    def death(self, reported=Reported.NOTHING, times=1):
        return WorkerExit("has died", encode_task(self.job), self.sockets, times, False, reported)


@pytest.fixture
def dead(backend):
    """Return a factory of workers that died while they ran a job."""
    made = []

    def make(*arguments, **named) -> Dead:
        made.append(Dead(backend, *arguments, **named))
        return made[-1]

    yield make
    for each in made:
        each.session.close()
        for opened in each.sockets.values():
            opened.close()


def jobs_left(server):
    return {name: total for name, (total, _, _) in server.totals().items() if total}


def test_the_next_attempt_is_queued(dead, own_gearmand):
    worker = dead()

    end_orphan(worker.death())

    assert jobs_left(own_gearmand) == {f"{FUNCTION}@delayed": 1}


def test_a_next_attempt_that_is_queued_already_is_not_doubled(dead, own_gearmand):
    worker = dead()

    end_orphan(worker.death(Reported.NEXT))

    assert jobs_left(own_gearmand) == {}


@pytest.mark.parametrize("unique", ["", "ada"])
def test_a_next_attempt_is_not_doubled_though_was_not_recorded_it(dead, own_gearmand, unique):
    """The process had queued it, and was killed before it could note that on the board."""
    worker = dead(unique=unique)
    run = Run(registry.get(FUNCTION), worker.job, worker.session, get_backend().submit)
    again = run.failed(OSError("again"), died=True).again
    [submission] = get_backend().submit([again])
    assert submission.handle

    end_orphan(worker.death(Reported.NOTHING))

    assert jobs_left(own_gearmand) == {f"{FUNCTION}@delayed": 1}


@pytest.mark.parametrize("reported", [Reported.NOTHING, Reported.ALL])
def test_a_job_that_has_ended_is_not_run_again(dead, own_gearmand, reported):
    """The process had sent the outcome, and died before or after it could note that."""
    worker = dead()
    worker.session.send(worker.job, WorkComplete(b"9"))

    end_orphan(worker.death(reported))

    assert jobs_left(own_gearmand) == {}


def test_a_connection_that_is_lost_queues_nothing(dead, own_gearmand):
    worker = dead()
    worker.session.close()

    end_orphan(worker.death())

    assert jobs_left(own_gearmand) == {FUNCTION: 1}, "the server gives it to another worker"


def test_half_a_result_queues_nothing(dead, own_gearmand, monkeypatch):
    """A report after half a packet would be read as its rest, so the server gives the job to others."""
    monkeypatch.setattr("django_gearman.backends.gearmand.orphan._SECONDS", 0.5)
    worker = dead()
    [opened] = worker.sockets.values()
    opened.sendall(b"\0REQ\0\0\0\x0d\0\1\0\0" + b"H:half a result")

    end_orphan(worker.death())
    worker.session.close()

    wait_until(lambda: jobs_left(own_gearmand) == {FUNCTION: 1}, "it is queued again")


def test_receivers_are_called_when_the_server_has_the_report(dead, own_gearmand):
    worker = dead("tests.app.fail", background=False)
    left = []

    def look(**named):
        left.append(jobs_left(own_gearmand))

    job_failed.connect(look)
    try:
        end_orphan(worker.death(times=3))
    finally:
        job_failed.disconnect(look)

    assert left == [{}]
