"""`map` in production: results of many jobs, of which few have a request."""

from __future__ import annotations

import datetime
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from django_gearman import JOB_COMPLETE, GearmanWorker, environment
from django_gearman.backends import close_backends
from django_gearman.exceptions import (
    ConnectionLost,
    JobFailed,
    JobRaised,
    JobTimeout,
    SerializationError,
    ServerError,
    ServerUnavailable,
    SubmitUncertain,
)
from django_gearman.jobs import counting
from django_gearman.protocol.packets import PacketType
from tests.app import gearman_jobs as jobs
from tests.support.fake_server import FakeServer, Peer


@pytest.fixture(autouse=True)
def production():
    with environment.replaced(environment.PRODUCTION):
        yield
        close_backends()


@contextmanager
def serving(settings, number: int, answer: Callable[[Peer], None]) -> Iterator[FakeServer]:
    """Run a server that acknowledges a number of jobs, and then answers."""

    def serve(peer: Peer) -> None:
        peer.handshake()
        peer.acknowledge(number)
        answer(peer)
        peer.hang_up()

    with FakeServer(serve) as server:
        settings.GEARMAN_BACKEND, settings.GEARMAN_OPTIONS = "gearman", {}
        settings.GEARMAN_SERVERS = [server.address]
        yield server


def complete(peer: Peer, number: int, result: bytes | None = None) -> None:
    data = b"%d" % number if result is None else result
    peer.reply(PacketType.WORK_COMPLETE, b"H:fake:%d" % number, data)


def test_results_are_in_the_order_of_the_items_however_they_come(settings, made):
    def answer(peer):
        for number in range(500, 0, -1):
            complete(peer, number)

    with serving(settings, 500, answer):
        assert jobs.echo.map(iter(range(500))) == [*range(1, 501)]

    assert len(made) < 100, "requests are for the jobs that were waited for"


def test_a_worker_runs_all_items(settings):
    settings.GEARMAN_BACKEND, settings.GEARMAN_OPTIONS = "memory", {"name": "mapping"}
    worker = GearmanWorker(clean_connections=False)
    thread = threading.Thread(target=worker.work)
    thread.start()
    try:
        assert jobs.add.map(range(100)) == [*range(10, 110)]
        assert jobs.echo.map([(1, 2), {"a": None}, "é"]) == [(1, 2), {"a": None}, "é"]
        assert jobs.echo.using(priority="HIGH").map([1, 2]) == [1, 2]
        with pytest.raises(JobRaised, match="no"):
            jobs.fail.map(["no", "never"])
    finally:
        worker.stop()
        thread.join()


def test_items_run_in_the_caller_on_eager(settings):
    settings.GEARMAN_BACKEND, settings.GEARMAN_OPTIONS = "eager", {}

    assert jobs.add.map([1, 2]) == [11, 12]


def test_the_first_failed_job_is_the_error_when_all_have_ended(settings):
    ended: list[int] = []

    def answer(peer):
        complete(peer, 1)
        peer.reply(PacketType.WORK_WARNING, b"H:fake:2", b"beware")
        peer.reply(PacketType.WORK_FAIL, b"H:fake:2")
        peer.reply(PacketType.WORK_FAIL, b"H:fake:3")
        peer.reply(PacketType.WORK_DATA, b"H:fake:4", b"1")
        ended.append(4)
        complete(peer, 4)

    with (
        serving(settings, 4, answer),
        pytest.raises(JobFailed, match=r"H:fake:2.*beware"),
    ):
        jobs.echo.map(range(4))

    assert ended == [4]


def test_parts_of_results_and_progress_do_not_count_as_results(settings):
    def answer(peer):
        for number in (1, 2):
            peer.reply(PacketType.WORK_DATA, b"H:fake:%d" % number, b'"part"')
            peer.reply(PacketType.WORK_STATUS, b"H:fake:%d" % number, b"1", b"2")
        complete(peer, 2)
        complete(peer, 1)

    with serving(settings, 2, answer):
        assert jobs.echo.map(["a", "b"]) == [1, 2]


def test_jobs_without_a_result_in_time_are_a_timeout(settings):
    released = threading.Event()

    def answer(peer):
        complete(peer, 1)
        released.wait(60)

    with serving(settings, 3, answer):
        try:
            with pytest.raises(JobTimeout, match="H:fake:2"):
                jobs.echo.map(range(3), timeout=0.2)
        finally:
            released.set()


def test_a_refused_job_is_an_error_when_the_others_have_ended(settings):
    def serve(peer):
        peer.handshake()
        peer.acknowledge(1)
        peer.expect(PacketType.SUBMIT_JOB)
        peer.reply(PacketType.ERROR, b"JOB_QUEUE_FULL", b"full")
        complete(peer, 1)
        peer.wait_for_end()

    with FakeServer(serve) as server:
        settings.GEARMAN_BACKEND, settings.GEARMAN_OPTIONS = "gearman", {}
        settings.GEARMAN_SERVERS = [server.address]
        with pytest.raises(ServerError, match="full"):
            jobs.echo.map(range(2))
        close_backends()


def test_jobs_that_were_not_acknowledged_are_an_error_with_all_requests(settings):
    def answer(peer):
        complete(peer, 1)
        complete(peer, 2)

    with (
        serving(settings, 2, answer),
        pytest.raises(SubmitUncertain, match="1 of 3 jobs were sent") as caught,
    ):
        jobs.echo.map(["a", "b", "c"])

    requests = caught.value.requests
    assert [request.call.args for request in requests] == [("a",), ("b",), ("c",)]
    assert [request.state == JOB_COMPLETE for request in requests] == [True, True, False]
    assert [request.result for request in requests[:2]] == [1, 2]
    assert isinstance(requests[2].exception, SubmitUncertain)
    copied = pickle.loads(pickle.dumps(caught.value)).requests
    assert [request.handle for request in copied] == [request.handle for request in requests]
    assert copied[1].result == 2


def test_a_connection_that_breaks_before_the_results_is_an_error(settings):
    def answer(peer):
        complete(peer, 1)

    with serving(settings, 2, answer), pytest.raises(ConnectionLost):
        jobs.echo.map(range(2))


def test_a_result_that_cannot_be_read_is_an_error(settings):
    def answer(peer):
        complete(peer, 1, b"{")

    with serving(settings, 1, answer), pytest.raises(SerializationError, match="not JSON"):
        jobs.echo.map(["a"])


def test_nothing_is_sent_if_an_item_is_wrong_or_no_server_is_there(settings):
    with serving(settings, 0, lambda peer: None) as server:
        with pytest.raises(SerializationError, match=r"^items\[1\]: job tests.app.echo: "):
            jobs.echo.map([1, object()])
        with pytest.raises(ValueError, match="run_after is for background jobs"):
            jobs.echo.using(run_after=datetime.timedelta(1)).map([1])
        assert server.count(PacketType.SUBMIT_JOB) == 0
    with pytest.raises(ServerUnavailable):
        jobs.echo.map([1, 2])


def test_submitted_jobs_are_counted(settings, monkeypatch):
    class Counter:
        def submitted_batch(self, job, number):
            counted.append((job.name, number))

    counted: list[tuple[str, int]] = []
    monkeypatch.setattr(counting, "counter", Counter())

    with serving(settings, 2, lambda peer: [complete(peer, 1), complete(peer, 2)]):
        jobs.echo.map(range(2))

    assert counted == [("tests.app.echo", 2)]
