"""Failing servers, on both transports to real job servers; tests/backends/gearmand has more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_gearman.backends.base import BaseBackend, JobSpec, WorkComplete, WorkStatus
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.backends.python_gearman.backend import PythonGearmanBackend
from django_gearman.backends.remote import worker_rows
from django_gearman.exceptions import (
    ConnectionLost,
    InvalidBackend,
    ServerError,
    ServerUnavailable,
    SubmitUncertain,
)
from django_gearman.protocol.address import ServerAddress
from django_gearman.testing.gearmand import free_port
from tests.support.gearmand import Gearmand, wait_until

pytestmark = pytest.mark.gearmand

Connect = Callable[..., BaseBackend]
SHORT = {"connect_timeout": 1.0, "reply_timeout": 1.5, "status_interval": 0.5}
PATIENCE = 60.0


@pytest.fixture(params=[GearmandBackend, PythonGearmanBackend], ids=["gearman", "python-gearman"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    made: list[BaseBackend] = []

    def make(*addresses: str) -> BaseBackend:
        made.append(request.param([ServerAddress.parse(address) for address in addresses], **SHORT))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


@pytest.fixture
def second_gearmand() -> Iterator[Gearmand]:
    with Gearmand() as server:
        yield server


def background(workload: bytes = b"x", **options: Any) -> JobSpec:
    return JobSpec("f", workload, background=True, **options)


def dead() -> str:
    return f"127.0.0.1:{free_port()}"


def test_no_server_is_reported_at_once(connect):
    backend = connect(dead())

    for call in (lambda: backend.submit([background()]), backend.functions, backend.workers):
        with pytest.raises(ServerUnavailable, match="refused"):
            call()


def test_a_stopped_server_is_reported_in_time(connect, own_gearmand):
    fresh, used = connect(own_gearmand.address), connect(own_gearmand.address)
    [waiting] = used.submit([JobSpec("f", b"x")])
    own_gearmand.pause()
    started = time.monotonic()

    with pytest.raises(ServerUnavailable, match="no answer"):
        fresh.submit([background()])
    [submission] = used.submit([background()])
    with pytest.raises(ConnectionLost):
        waiting.next_update(PATIENCE)

    assert isinstance(submission.error, SubmitUncertain)
    assert time.monotonic() - started < PATIENCE


def test_a_restart_between_two_submits_is_not_noticed(connect, own_gearmand):
    backend = connect(own_gearmand.address)
    backend.submit([background()])
    own_gearmand.kill()
    own_gearmand.start()

    [submission] = backend.submit([background()])

    assert submission.handle
    assert own_gearmand.totals()["f"][0] == 1


def test_a_waiting_client_learns_that_its_server_died(connect, own_gearmand):
    [submission] = connect(own_gearmand.address).submit([JobSpec("f", b"x")])
    killer = threading.Timer(0.2, own_gearmand.kill)
    killer.start()

    with pytest.raises(ConnectionLost, match=own_gearmand.address):
        submission.next_update(PATIENCE)
    killer.join()


def test_an_idle_worker_comes_back_after_a_restart(connect, own_gearmand):
    worker = connect(own_gearmand.address).register(["f"], "survivor")
    assert worker.grab_job(0.1) is None
    own_gearmand.kill()
    assert worker.grab_job(0.1) is None
    own_gearmand.start()

    connect(own_gearmand.address).submit([background(b"after")])

    job = wait_until(lambda: worker.grab_job(0.5), "the job")
    assert job.workload == b"after"
    assert "survivor" in own_gearmand.ask("workers")
    worker.close()


def test_progress_after_the_end_of_a_job_is_refused_with_that_reason(connect, own_gearmand):
    worker = connect(own_gearmand.address).register(["f"])
    connect(own_gearmand.address).submit([background()])
    job = worker.grab_job(PATIENCE)
    worker.send(job, WorkComplete(b""))

    with pytest.raises(ConnectionLost, match="the job has ended, or"):
        worker.send(job, WorkStatus(1, 2))
    worker.close()


def test_a_job_whose_server_died_cannot_be_reported_on(connect, own_gearmand):
    worker = connect(own_gearmand.address).register(["f"])
    connect(own_gearmand.address).submit([background()])
    job = worker.grab_job(PATIENCE)
    own_gearmand.kill()
    assert worker.grab_job(0.1) is None

    with pytest.raises(ConnectionLost, match="no longer has job"):
        worker.send(job, WorkComplete(b""))
    worker.close()


def test_one_of_two_servers_is_enough_for_clients(connect, own_gearmand):
    backend = connect(dead(), own_gearmand.address)

    submissions = backend.submit([background(unique=str(number)) for number in range(20)])

    assert all(submission.handle.startswith(own_gearmand.address) for submission in submissions)


def test_one_of_two_servers_is_enough_for_workers(connect, own_gearmand):
    worker = connect(dead(), own_gearmand.address).register(["f"])
    connect(own_gearmand.address).submit([background()])

    assert worker.grab_job(PATIENCE)
    worker.close()


def test_a_worker_serves_two_servers_though_one_is_stopped(connect, own_gearmand, second_gearmand):
    worker = connect(own_gearmand.address, second_gearmand.address).register(["f"])
    assert worker.grab_job(0.1) is None
    own_gearmand.pause()
    connect(second_gearmand.address).submit([background(b"second")])

    job = wait_until(lambda: worker.grab_job(0.5), "the second server's job")

    assert job.workload == b"second"
    own_gearmand.kill()
    worker.close()


def test_equal_uniques_choose_the_same_server(connect, own_gearmand, second_gearmand):
    addresses = [own_gearmand.address, second_gearmand.address]
    specs = [background(unique=str(number)) for number in range(20)]

    first = [s.handle for s in connect(*addresses).submit(specs)]
    again = [s.handle for s in connect(*reversed(addresses)).submit(specs)]

    assert first == again
    assert {handle.partition("//")[0] for handle in first} == set(addresses)


def test_a_full_queue_refuses_one_and_takes_the_others(connect, own_gearmand):
    own_gearmand.ask("create function f")
    own_gearmand.ask("maxqueue f 2")

    first, second, third, other = connect(own_gearmand.address).submit(
        [background(), background(), background(), JobSpec("g", b"x", background=True)]
    )

    assert all(submission.handle for submission in (first, second, other))
    assert isinstance(third.error, ServerError)
    assert (third.error.code, third.error.text) == ("QUEUE_ERROR", "Job queue is full")


def test_python_gearman_refuses_what_its_bindings_cannot_do():
    with pytest.raises(InvalidBackend, match="no TLS"):
        PythonGearmanBackend([ServerAddress.parse({"host": "localhost", "tls": {}})])


def test_the_connections_of_one_worker_are_one_row_and_those_of_other_programs_are_not():
    answers = [
        ("h:1", "10.0.0.1", "web/7/default", ["f", "g"]),
        ("h:1", "10.0.0.1", "web/7/default", ["f@delayed", "quick"]),
        ("h:1", "10.0.0.1", "php", ["f"]),
        ("h:1", "10.0.0.1", "php", ["f"]),
        ("h:1", "10.0.0.1", "-", []),
    ]

    rows = [(row.client_id, row.functions) for row in worker_rows(answers)]

    assert rows == [("web/7/default", ("f", "g", "quick")), ("php", ("f",)), ("php", ("f",))]
