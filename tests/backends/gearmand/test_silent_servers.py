"""Several servers that hang: every limit is kept, and few calls pay for finding out."""

from __future__ import annotations

import contextlib
import gc
import io
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
from django.core.management import CommandError, call_command

from django_gearman import GearmanClient
from django_gearman.backends import close_backends, opening
from django_gearman.backends.base import JobSpec, WorkComplete
from django_gearman.backends.reach import at_once
from django_gearman.backends.remote import servers_standing
from django_gearman.exceptions import ConnectionLost, ServerUnavailable, SubmitUncertain
from django_gearman.protocol.packets import PacketType
from django_gearman.testing.gearmand import free_port
from django_gearman.utils.clock import monotonic
from django_gearman.utils.waiting import submit_by
from tests.support.fake_server import PATIENCE, FakeServer, Peer
from tests.support.gearmand import wait_until

pytestmark = pytest.mark.gearmand

LONG = 1000.0  # seconds, for what is not to be waited for


@contextlib.contextmanager
def silent_servers(count: int) -> Iterator[list[FakeServer]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(FakeServer(Peer.wait_for_end)) for _ in range(count)]


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Set a time limit, in seconds, for submissions in the block."""
    token = submit_by.set(monotonic() + seconds)
    try:
        yield
    finally:
        submit_by.reset(token)


def background(**options: str) -> JobSpec:
    return JobSpec(f"f-{uuid.uuid4().hex}", b"work", background=True, **options)


def seconds_of(call: Callable[[], object]) -> float:
    started = monotonic()
    call()
    return monotonic() - started


# Which server


@pytest.mark.parametrize("unique", ["", "the same"])
def test_seven_of_eight_silent_servers_cost_one_submit_a_moment(open_backend, gearmand, unique):
    with silent_servers(7) as servers:
        addresses = [*(server.address for server in servers), gearmand.address]
        options = {"connect_timeout": LONG, "submit_timeout": LONG, "down_time": LONG}
        backend = open_backend(*addresses, **options)

        assert seconds_of(lambda: backend.submit([background(unique=unique)])) < PATIENCE
        others = [open_backend(*addresses, **options) for _ in range(20)]
        took = seconds_of(
            lambda: [each.submit([background(unique=unique)]) for each in [backend] * 20 + others]
        )
        assert took < PATIENCE
        tried = sum(len(server.peers) for server in servers)
        assert tried < 40, "each submit found out anew that seven servers are silent"


def test_several_threads_learn_of_a_silent_server_from_one_another(
    open_backend, gearmand, monkeypatch
):
    with silent_servers(3) as servers:
        addresses = [*(server.address for server in servers), gearmand.address]
        options = {"connect_timeout": LONG, "submit_timeout": LONG, "down_time": LONG}
        monkeypatch.setattr("django_gearman.backends.gearmand.backend._LAST_RESORT", LONG)
        open_backend(*addresses, **options).submit([background()] * 50)
        tried = sum(len(server.peers) for server in servers)

        def submit() -> None:
            backend = open_backend(*addresses, **options)
            took.append(seconds_of(lambda: backend.submit([background()] * 5)))

        took: list[float] = []
        threads = [threading.Thread(target=submit) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(took) == 8
        assert max(took) < PATIENCE
        assert sum(len(server.peers) for server in servers) == tried


def test_a_silent_server_is_passed_over_for_a_time_that_grows(open_backend, gearmand):
    with silent_servers(1) as [silent]:
        options = {"connect_timeout": 0.6, "down_time": 1000.0}
        backend = open_backend(silent.address, gearmand.address, **options)

        def is_silent_again() -> bool:
            backend.submit([background()])
            return servers_standing.silences(silent.address) == number

        def let_pass(seconds: float) -> None:
            mark = servers_standing._marks[silent.address]
            servers_standing._marks[silent.address] = replace(mark, since=mark.since - seconds)

        for number, seconds in enumerate([1000, 2000, 4000], start=1):
            wait_until(is_silent_again, "it is tried")
            let_pass(seconds - 500)
            for _ in range(20):
                backend.submit([background()])
            assert len(silent.peers) == number, "it was tried again too early"
            let_pass(500)


def test_a_server_that_answers_again_is_used_again(open_backend, gearmand):
    answers = threading.Event()

    def serve(peer: Peer) -> None:
        if answers.is_set():
            peer.handshake()
            peer.acknowledge(1000)
        peer.wait_for_end()

    with FakeServer(serve) as server:
        backend = open_backend(server.address, gearmand.address, connect_timeout=0.5, down_time=0.2)
        backend.submit([background()] * 20)
        answers.set()

        def goes_there() -> bool:
            submissions = backend.submit([background()] * 5)
            return any(each.handle.startswith(server.address) for each in submissions)

        wait_until(goes_there, "the server is used again")
        backend.close()


def test_a_connection_that_wins_too_late_is_closed(open_backend, gearmand):
    def late(peer: Peer) -> None:
        time.sleep(1.0)
        peer.handshake()
        peer.wait_for_end()
        ended.set()

    ended = threading.Event()
    with FakeServer(late) as server:
        backend = open_backend(server.address, gearmand.address)
        backend.submit([background()] * 20)

        assert ended.wait(PATIENCE), "a connection that nobody uses stays open"


# Questions to all servers


@pytest.mark.parametrize("ask", ["functions", "workers"])
def test_all_servers_are_asked_at_the_same_time(open_backend, gearmand, ask):
    all_asked = threading.Barrier(8)

    def answer_late(peer: Peer) -> None:
        peer.handshake()
        peer._socket.recv(100)
        all_asked.wait(PATIENCE)
        peer.raw(b".\n")

    with contextlib.ExitStack() as stack:
        late = [stack.enter_context(FakeServer(answer_late)) for _ in range(8)]
        addresses = [*(server.address for server in late), gearmand.address]
        backend = open_backend(*addresses, submit_timeout=PATIENCE)

        getattr(backend, ask)()  # if one after another, the first one would not answer


def test_silent_servers_cost_a_health_check_no_more_than_one(open_backend, gearmand):
    with silent_servers(8) as servers:
        backend = open_backend(*(server.address for server in servers), gearmand.address)
        started = monotonic()
        answers = backend.ping(4.0)

        assert monotonic() - started < 16
        assert [*answers] == [*(server.address for server in servers), gearmand.address]
        assert [error is None for error in answers.values()] == [False] * 8 + [True]


def test_servers_are_asked_one_after_another_where_threads_cannot_start(monkeypatch):
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert at_once({n: partial(int, str(n)) for n in range(3)}) == {0: 0, 1: 1, 2: 2}


def test_status_of_silent_servers_takes_no_longer_than_of_one(settings, gearmand):
    with silent_servers(4) as servers:
        settings.GEARMAN_SERVERS = [*(server.address for server in servers), gearmand.address]
        settings.GEARMAN_BACKEND = "gearman"
        settings.GEARMAN_OPTIONS = {"connect_timeout": 3.0}
        output = io.StringIO()
        started = monotonic()
        with pytest.raises(CommandError):
            call_command("gearman_status", stdout=output)

        assert monotonic() - started < 10
        assert [[server.address, "DOWN"] for server in servers] == [
            line.split() for line in output.getvalue().splitlines() if "DOWN" in line
        ]


# One deadline


def test_a_limit_holds_for_all_servers_together(open_backend):
    with silent_servers(8) as servers:
        backend = open_backend(*(server.address for server in servers))
        for seconds in (1.0, 1.5):
            started = monotonic()
            with within(seconds), pytest.raises(ServerUnavailable) as caught:
                backend.submit([background()])

            assert seconds * 0.9 <= monotonic() - started < seconds * 6, (
                "each server had the whole limit"
            )
            for server in servers:  # an attempt may end just before the limit
                said = "(no answer yet after|.* no answer in|not tried, as the time was up)"
                assert re.search(f"{server.address}: {said}", str(caught.value))


def test_a_submission_without_a_limit_has_one_of_its_own(open_backend):
    with silent_servers(8) as servers:
        backend = open_backend(*(s.address for s in servers), submit_timeout=0.7)

        started = monotonic()
        with pytest.raises(ServerUnavailable):
            backend.submit([background()])
        assert monotonic() - started < 10


@pytest.mark.parametrize("step", ["handshake", "acknowledgement"])
@pytest.mark.parametrize("noise", ["nothing", "progress of other jobs"])
def test_no_step_outlasts_the_limit(open_backend, step, noise):
    def serve(peer: Peer) -> None:
        if step == "acknowledgement":
            peer.handshake()
            peer.read()
        if noise == "nothing" or step == "handshake":
            peer.wait_for_end()
        while not done.is_set():
            peer.reply(PacketType.WORK_STATUS, b"H:other:1", b"1", b"2")
            time.sleep(0.05)

    done = threading.Event()
    with FakeServer(serve) as server:
        backend = open_backend(server.address, connect_timeout=LONG, reply_timeout=LONG)
        started = monotonic()
        with within(2.5):
            try:
                [submission] = backend.submit([JobSpec("f", b"work")])
                error = submission.error
            except ServerUnavailable as unavailable:
                error = unavailable
        took = monotonic() - started
        done.set()
        backend.close()

    assert 2.4 < took < PATIENCE
    assert server.address in str(error)
    assert isinstance(error, SubmitUncertain if step == "acknowledgement" else ServerUnavailable)


def test_foreign_packets_do_not_stretch_the_patience_with_a_server(open_backend):
    def serve(peer: Peer) -> None:
        peer.handshake()
        peer.read()
        while not done.is_set():
            peer.reply(PacketType.WORK_STATUS, b"H:other:1", b"1", b"2")
            time.sleep(0.05)

    done = threading.Event()
    with FakeServer(serve) as server:
        backend = open_backend(server.address, reply_timeout=0.5)
        started = monotonic()
        [submission] = backend.submit([background()])
        took = monotonic() - started
        done.set()

    assert isinstance(submission.error, SubmitUncertain)
    assert took < 10  # the limit of a whole submission is 15 s


def test_an_answer_after_the_limit_is_not_taken_for_that_of_the_next_job(open_backend):
    def serve(peer: Peer) -> None:
        peer.handshake()
        peer.expect(PacketType.SUBMIT_JOB_BG)
        is_over.wait(PATIENCE)
        peer.reply(PacketType.JOB_CREATED, b"H:fake:1")
        peer.expect(PacketType.SUBMIT_JOB_BG)
        peer.reply(PacketType.JOB_CREATED, b"H:fake:2")
        peer.wait_for_end()

    is_over = threading.Event()
    with FakeServer(serve) as server:
        backend = open_backend(server.address)
        with within(2.5):
            [first] = backend.submit([background()])
        is_over.set()
        [second] = backend.submit([background()])
        backend.close()

    assert isinstance(first.error, SubmitUncertain)
    assert (second.error, second.handle) == (None, f"{server.address}//H:fake:2")
    assert first.handle == ""


def test_a_full_backlog_is_no_longer_than_the_limit(open_backend):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as s:
        port = listener.getsockname()[1]
        for _ in range(4):  # more than it takes
            waiting = s.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(("127.0.0.1", port))
        backend = open_backend(f"127.0.0.1:{port}", connect_timeout=LONG)

        started = monotonic()
        with within(2.5), pytest.raises(ServerUnavailable, match=r"no connection in [0-2]\.?\d* "):
            backend.submit([background()])
        assert monotonic() - started < PATIENCE


def test_a_name_whose_look_up_hangs_is_no_longer_than_the_limit(
    open_backend, gearmand, monkeypatch
):
    real, hang = socket.getaddrinfo, threading.Event()
    reasons: list[str] = []

    def look_up(host, *args, **options):
        if host == "hangs.example":
            hang.wait(LONG)
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        started = monotonic()
        backend = open_backend("hangs.example:4730", connect_timeout=LONG)
        for _ in range(12):
            with within(0.2), pytest.raises(ServerUnavailable) as caught:
                backend.submit([background()])
            reasons.append(str(caught.value))
        assert monotonic() - started < PATIENCE
        assert any(re.search(r"hangs\.example:4730.*name", reason) for reason in reasons)
        looking = [t for t in threading.enumerate() if t.name == "gearman-connect"]
        assert len(looking) <= 8, "each submit leaves a thread behind"

        both = open_backend("hangs.example:4730", gearmand.address, connect_timeout=LONG)
        assert seconds_of(lambda: both.submit([background()] * 9)) < PATIENCE
    finally:
        hang.set()


def test_of_two_addresses_of_a_name_one_may_be_silent(open_backend, gearmand, monkeypatch):
    with silent_servers(1) as [silent]:
        both = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
            for port in (silent.port, gearmand.port)
        ]
        real = socket.getaddrinfo

        def look_up(host, *args, **options):
            return both if host == "two.example" else real(host, *args, **options)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

        for _ in range(5):
            backend = open_backend("two.example:4730", connect_timeout=LONG, submit_timeout=LONG)
            assert seconds_of(partial(backend.submit, [background()])) < PATIENCE
            monkeypatch.setattr(opening, "PASSED_OVER", LONG)
            monkeypatch.setattr(opening, "_HEAD_START", LONG)
        assert len(silent.peers) == 1, "the silent address was tried again and again"


def test_a_server_that_closes_during_the_handshake_is_named(open_backend, gearmand):
    with FakeServer(lambda peer: None) as closing:
        with pytest.raises(ServerUnavailable, match=closing.address):
            open_backend(closing.address).submit([background()])
        options = {"connect_timeout": LONG, "submit_timeout": LONG}
        backend = open_backend(closing.address, gearmand.address, **options)
        assert seconds_of(lambda: backend.submit([background()] * 10)) < PATIENCE


@pytest.mark.parametrize("transport", ["gearman", "python-gearman"])
def test_poll_timeout_bounds_the_call_of_a_client(settings, production, transport):
    settings.GEARMAN_BACKEND = transport
    settings.GEARMAN_EXTERNAL_JOBS = ["*"]
    with silent_servers(8) as servers:
        settings.GEARMAN_SERVERS = [server.address for server in servers]
        for retries in (None, 5):
            started = monotonic()
            with pytest.raises(ServerUnavailable):
                GearmanClient().submit_job("f", 1, poll_timeout=1, max_retries=retries)
            assert monotonic() - started < 6  # eight times one second, if each had it
    close_backends()


@pytest.mark.parametrize("transport", ["gearman", "python-gearman"])
def test_poll_timeout_bounds_the_acknowledgement(settings, production, transport):
    settings.GEARMAN_BACKEND = transport
    settings.GEARMAN_EXTERNAL_JOBS = ["*"]

    def serve(peer: Peer) -> None:
        peer.handshake()
        peer.wait_for_end()

    with FakeServer(serve) as server:
        settings.GEARMAN_SERVERS = [server.address]
        started = monotonic()
        with pytest.raises(SubmitUncertain):
            GearmanClient().submit_job("f", 1, poll_timeout=2.5)
        assert monotonic() - started < 12
        close_backends()


def test_progress_without_end_does_not_stretch_a_wait(settings, production, own_gearmand):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_EXTERNAL_JOBS = ["*"]

    def serve(peer: Peer) -> None:
        peer.handshake()
        peer.acknowledge(1)
        with contextlib.suppress(OSError):
            while not done.is_set():
                peer.reply(PacketType.WORK_STATUS, b"H:fake:1", b"1", b"2")

    done = threading.Event()
    with FakeServer(serve) as server:
        settings.GEARMAN_SERVERS = [server.address]
        started = monotonic()
        request = GearmanClient().submit_job("f", 1, poll_timeout=2.5)
        took = monotonic() - started
        done.set()
        close_backends()

    assert took < PATIENCE
    assert request.timed_out


# Abandoned jobs


def test_jobs_that_timed_out_are_forgotten_by_client_and_server(open_backend, own_gearmand):
    backend = open_backend(own_gearmand.address)
    function = "nobody-serves-it"
    for _ in range(20):
        [submission] = backend.submit([JobSpec(function, b"work")])
        assert submission.next_update(0.01) is None
        submission.release()
    [channel] = backend._channels.values()
    del submission
    gc.collect()

    wait_until(lambda: own_gearmand.totals()[function][0] == 0, "gearmand forgets the jobs")
    assert not channel._open.running
    assert own_gearmand.totals()[function] == (0, 0, 0)
    [submission] = backend.submit([background()])  # over a new connection
    assert submission.error is None


def test_calls_that_timed_out_leave_nothing_behind(settings, production, own_gearmand):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [own_gearmand.address]
    settings.GEARMAN_EXTERNAL_JOBS = ["*"]
    entries = [{"task": "nobody", "data": number} for number in range(20)]
    requests = GearmanClient().submit_multiple_jobs(entries, poll_timeout=2.5)
    assert all(request.timed_out for request in requests)
    assert own_gearmand.totals()["nobody"][0] == 20, "somebody may wait for them again"

    del requests
    gc.collect()

    wait_until(lambda: own_gearmand.totals()["nobody"][0] == 0, "gearmand forgets the jobs")
    close_backends()


def test_a_caller_that_keeps_a_timed_out_job_can_wait_again(open_backend, own_gearmand):
    backend = open_backend(own_gearmand.address)
    kept, dropped = backend.submit([JobSpec("f", b"kept"), JobSpec("f", b"dropped")])
    for submission in (kept, dropped):
        assert submission.next_update(0.01) is None
        submission.release()
    del submission, dropped
    gc.collect()
    time.sleep(0.6)  # in which it is looked whether the connection is needed

    worker = open_backend(own_gearmand.address).register(["f"])
    for _ in range(2):
        job = worker.grab_job(20)
        worker.send(job, WorkComplete(job.workload))
    assert kept.next_update(20) == WorkComplete(b"kept")
    worker.close()


def test_a_job_that_is_shared_is_not_lost_for_the_others(open_backend, own_gearmand):
    shared = JobSpec("f", b"work", unique="shared")
    leaving, staying = open_backend(own_gearmand.address), open_backend(own_gearmand.address)
    [dropped] = leaving.submit([shared])
    [kept] = staying.submit([shared])
    dropped.release()
    del dropped
    gc.collect()
    [channel] = leaving._channels.values()
    wait_until(lambda: channel.broken is not None, "the connection is closed")

    worker = open_backend(own_gearmand.address).register(["f"])
    worker.send(worker.grab_job(20), WorkComplete(b"done"))
    assert kept.next_update(20) == WorkComplete(b"done")
    worker.close()


def test_jobs_of_others_stay_when_those_that_timed_out_are_forgotten(open_backend, own_gearmand):
    open_backend(own_gearmand.address).submit(
        [JobSpec("f", b"queued", background=True), JobSpec("f", b"awaited")]
    )
    backend = open_backend(own_gearmand.address)
    [dropped] = backend.submit([JobSpec("f", b"dropped")])
    dropped.release()
    del dropped
    gc.collect()
    [channel] = backend._channels.values()
    wait_until(lambda: channel.broken is not None, "the connection is closed")
    wait_until(lambda: own_gearmand.clients() == 1, "the server has seen the end of the connection")

    worker = open_backend(own_gearmand.address).register(["f"])
    assert {worker.grab_job(20).workload for _ in range(2)} == {b"queued", b"awaited"}
    assert worker.grab_job(0.2) is None
    worker.close()


def test_a_dead_address_is_reported_with_the_others(open_backend):
    with silent_servers(1) as [silent]:
        dead = f"127.0.0.1:{free_port()}"
        backend = open_backend(dead, silent.address, connect_timeout=0.5)
        with pytest.raises(ServerUnavailable) as caught:
            backend.submit([background()])

    assert f"{dead}: [Errno 111] Connection refused" in str(caught.value)
    assert f"{silent.address}: it accepts connections, but gave no answer in 0.5 s" in str(
        caught.value
    )
    assert isinstance(caught.value, ServerUnavailable)
    assert not isinstance(caught.value, ConnectionLost)
