"""Connections on an event loop, to servers that behave badly."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest
import trustme

from django_gearman.backends.base import JobSpec, LoopBackend, WorkComplete
from django_gearman.backends.gearmand import backend
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.exceptions import (
    ConnectionLost,
    JobLost,
    ProtocolError,
    ServerError,
    ServerUnavailable,
    SubmitUncertain,
)
from django_gearman.protocol.address import ServerAddress
from django_gearman.protocol.packets import PacketType
from django_gearman.utils.clock import monotonic
from tests.support.fake_server import PATIENCE, FakeServer, Peer, tls_proxy

SPEC = JobSpec("f", b"work")
LONG = 1000.0  # seconds, for what is not to be waited for


def greet(peer: Peer) -> None:
    peer.handshake()
    answer_status(peer)


def answer_status(peer: Peer) -> None:
    handle = peer.expect(PacketType.GET_STATUS).args[0]
    peer.reply(PacketType.STATUS_RES, handle, b"0", b"0", b"0", b"0")


def run(act: Callable[[LoopBackend], Awaitable[Any]], *addresses: object, **options: float) -> Any:
    """Run a coroutine with the half of a backend for these servers."""

    async def main() -> Any:
        transport = GearmandBackend([ServerAddress.parse(each) for each in addresses], **options)
        async with asyncio.timeout(PATIENCE):
            return await act(transport.on_loop())

    return asyncio.run(main())


async def submit(half: LoopBackend, seconds: float | None = None) -> Any:
    [submission] = await half.submit([SPEC], None if seconds is None else monotonic() + seconds)
    return submission


# Opening


def test_a_server_that_says_nothing_is_given_up_in_time():
    with FakeServer(Peer.wait_for_end) as server:
        began = time.monotonic()
        with pytest.raises(ServerUnavailable, match=r"no answer in 0\.3 s"):
            run(submit, server.address, connect_timeout=0.3)

    assert time.monotonic() - began < PATIENCE


def test_a_server_that_knows_no_options_is_used_all_the_same():
    def script(peer: Peer) -> None:
        answer_status(peer)
        peer.acknowledge(1)
        peer.wait_for_end()

    with FakeServer(script) as server:
        assert run(submit, server.address).handle == f"{server.address}//H:fake:1"


def test_a_server_that_refuses_options_is_used_all_the_same():
    def script(peer: Peer) -> None:
        peer.expect(PacketType.OPTION_REQ)
        peer.reply(PacketType.ERROR, b"UNKNOWN_OPTION", b"no")
        answer_status(peer)
        peer.acknowledge(1)
        peer.wait_for_end()

    with FakeServer(script) as server:
        assert run(submit, server.address).error is None


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_another_kind_of_server_is_named(data):
    def script(peer: Peer) -> None:
        peer.raw(data)
        peer.hang_up()

    with FakeServer(script) as server, pytest.raises(ServerUnavailable, match=str(server.port)):
        run(submit, server.address)


def test_many_tasks_open_one_connection_and_one_that_leaves_disturbs_no_other():
    def script(peer: Peer) -> None:
        has_left.wait(PATIENCE)  # all of them wait for it
        greet(peer)
        peer.acknowledge(20)
        peer.wait_for_end()

    async def act(half: LoopBackend) -> list[Any]:
        leaves = asyncio.create_task(submit(half))
        stay = [asyncio.create_task(submit(half)) for _ in range(20)]
        while not server.peers:
            await asyncio.sleep(0.01)
        leaves.cancel()
        has_left.set()
        return await asyncio.gather(*stay)

    has_left = threading.Event()
    with FakeServer(script) as server:
        submissions = run(act, server.address)

    assert len({submission.handle for submission in submissions}) == 20
    assert len(server.peers) == 1


def test_a_silent_server_costs_the_first_job_a_moment_and_the_next_none(unused_port, monkeypatch):
    def script(peer: Peer) -> None:
        greet(peer)
        peer.acknowledge(1000)
        peer.wait_for_end()

    async def act(half: LoopBackend) -> None:
        while not silent.peers:
            assert (await submit(half)).handle
        monkeypatch.setattr(backend, "_HEAD_START", LONG)  # what it would cost the next ones
        for _ in range(20):
            assert (await submit(half)).handle

    with FakeServer(Peer.wait_for_end) as silent, FakeServer(script) as server:
        addresses = [silent.address, server.address, f"127.0.0.1:{unused_port}"]
        run(act, *addresses, connect_timeout=LONG, submit_timeout=LONG, down_time=LONG)
        assert len(silent.peers) == 1


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


def test_every_server_that_failed_is_named_with_its_reason(unused_port):
    with (
        FakeServer(Peer.wait_for_end) as silent,
        pytest.raises(ServerUnavailable) as caught,
    ):
        run(submit, silent.address, f"127.0.0.1:{unused_port}", connect_timeout=0.3)

    assert f"{silent.address}: no answer in 0.3 s" in str(caught.value)
    assert f"127.0.0.1:{unused_port}: [Errno 111] Connection refused" in str(caught.value)


def test_a_name_whose_look_up_hangs_takes_no_longer_than_the_limit(monkeypatch):
    is_over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: is_over.wait(PATIENCE) and [])
    began = time.monotonic()

    with pytest.raises(ServerUnavailable, match=r"name was not looked up in 0\.2 s"):
        run(submit, "jobs.example:4730", connect_timeout=0.2)

    assert time.monotonic() - began < PATIENCE / 2
    is_over.set()


def test_a_name_is_looked_up_and_each_of_its_addresses_tried():
    def script(peer: Peer) -> None:
        greet(peer)
        peer.acknowledge(1)
        peer.wait_for_end()

    with FakeServer(script) as server:  # on 127.0.0.1, and not on ::1
        assert run(submit, f"localhost:{server.port}").handle


# Acknowledgements


@pytest.mark.parametrize(
    ("options", "limit", "says"),
    [({}, 2.5, "in the time given"), ({"reply_timeout": 0.3}, None, r"not answered for 0\.3 s")],
)
def test_a_server_that_does_not_acknowledge_is_given_up_in_time(options, limit, says):
    def script(peer: Peer) -> None:
        greet(peer)
        peer.wait_for_end()

    with FakeServer(script) as server:
        began = time.monotonic()
        submission = run(lambda half: submit(half, limit), server.address, **options)

    assert isinstance(submission.error, SubmitUncertain)
    assert re.search(says, str(submission.error))
    assert time.monotonic() - began < 12


def test_a_late_answer_is_not_taken_for_that_of_the_next_job():
    def script(peer: Peer) -> None:
        greet(peer)
        peer.expect(PacketType.SUBMIT_JOB)
        peer.expect(PacketType.SUBMIT_JOB)
        peer.reply(PacketType.JOB_CREATED, b"H:fake:1")
        peer.reply(PacketType.JOB_CREATED, b"H:fake:2")
        peer.reply(PacketType.WORK_COMPLETE, b"H:fake:1", b"first")
        peer.reply(PacketType.WORK_COMPLETE, b"H:fake:2", b"second")
        peer.wait_for_end()

    async def act(half: LoopBackend) -> None:
        first = await submit(half, 2.5)
        assert isinstance(first.error, SubmitUncertain)
        second = await submit(half)
        assert second.handle.endswith("H:fake:2")
        assert await second.wait_update(5) == WorkComplete(b"second")

    with FakeServer(script) as server:
        run(act, server.address)


def test_a_refusal_is_the_error_of_its_own_job():
    def script(peer: Peer) -> None:
        greet(peer)
        for number in range(3):
            peer.expect(PacketType.SUBMIT_JOB)
            if number == 1:
                peer.reply(PacketType.ERROR, b"QUEUE_FULL", b"too many")
            else:
                peer.reply(PacketType.JOB_CREATED, b"H:fake:%d" % number)
        peer.wait_for_end()

    with FakeServer(script) as server:
        submissions = run(lambda half: half.submit([SPEC] * 3), server.address)

    assert [bool(s.handle) for s in submissions] == [True, False, True]
    assert isinstance(submissions[1].error, ServerError)
    assert submissions[1].error.code == "QUEUE_FULL"


@pytest.mark.parametrize("end", [Peer.hang_up, Peer.reset])
def test_a_connection_that_ends_too_early_leaves_the_job_uncertain(end):
    def script(peer: Peer) -> None:
        greet(peer)
        peer.expect(PacketType.SUBMIT_JOB)
        end(peer)

    with FakeServer(script) as server:
        submission = run(submit, server.address)

    assert isinstance(submission.error, SubmitUncertain)


def test_a_server_that_reads_nothing_is_given_up():
    def script(peer: Peer) -> None:
        greet(peer)
        time.sleep(2)

    async def act(half: LoopBackend) -> Any:
        specs = [JobSpec("f", bytes(1 << 20))] * 64
        return await half.submit(specs)

    with FakeServer(script) as server:
        began = time.monotonic()
        submissions = run(act, server.address, send_timeout=0.5)

    assert all(submission.error is not None for submission in submissions)
    assert time.monotonic() - began < 15


# Waiting


def acknowledge_then(then: Callable[[Peer], object]) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        greet(peer)
        peer.acknowledge(1)
        then(peer)
        peer.wait_for_end()

    return script


async def wait(half: LoopBackend) -> Any:
    return await (await submit(half)).wait_update(10)


def test_a_connection_that_ends_while_a_task_waits_is_an_error():
    with (
        FakeServer(acknowledge_then(Peer.hang_up)) as server,
        pytest.raises(ConnectionLost, match="closed the connection"),
    ):
        run(wait, server.address)


def test_noise_while_a_task_waits_is_an_error():
    with (
        FakeServer(acknowledge_then(lambda peer: peer.raw(b"what?" * 5))) as server,
        pytest.raises(ProtocolError, match="not a Gearman packet"),
    ):
        run(wait, server.address)


@pytest.mark.parametrize("kind", [PacketType.JOB_CREATED, PacketType.ECHO_RES])
def test_an_unrequested_packet_is_an_error(kind):
    with (
        FakeServer(acknowledge_then(lambda peer: peer.reply(kind, b"x"))) as server,
        pytest.raises(ProtocolError, match=f"{kind.name} unasked"),
    ):
        run(wait, server.address)


def test_updates_of_an_unknown_job_are_passed_over():
    def then(peer: Peer) -> None:
        peer.reply(PacketType.WORK_COMPLETE, b"H:fake:99", b"of another")
        peer.reply(PacketType.WORK_COMPLETE, b"H:fake:1", b"mine")

    with FakeServer(acknowledge_then(then)) as server:
        assert run(wait, server.address) == WorkComplete(b"mine")


def test_a_job_that_the_server_has_forgotten_is_lost():
    with (
        FakeServer(acknowledge_then(answer_status)) as server,
        pytest.raises(JobLost, match="no longer knows job"),
    ):
        run(wait, server.address, status_interval=0.2)


stopped = threading.Event()  # the first wait


async def leave_and_wait_again(half: LoopBackend) -> Any:
    submission = await submit(half)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await submission.wait_update()
    stopped.set()
    submission.release()
    return await submission.wait_update(10)


def test_a_caller_that_stopped_waiting_may_wait_again():
    def then(peer: Peer) -> None:
        stopped.wait(PATIENCE)
        peer.reply(PacketType.WORK_COMPLETE, b"H:fake:1", b"late")

    stopped.clear()

    with FakeServer(acknowledge_then(then)) as server:
        assert run(leave_and_wait_again, server.address) == WorkComplete(b"late")


async def wait_on_another_loop(half: LoopBackend, seconds: float) -> Any:
    submission = await submit(half)
    return await asyncio.to_thread(lambda: asyncio.run(submission.wait_update(seconds)))


def test_another_loop_may_wait():
    def then(peer: Peer) -> None:
        time.sleep(0.2)
        peer.reply(PacketType.WORK_COMPLETE, b"H:fake:1", b"late")

    with FakeServer(acknowledge_then(then)) as server:
        found = run(partial(wait_on_another_loop, seconds=10), server.address)
    assert found == WorkComplete(b"late")


def test_another_loop_may_stop_waiting():
    with FakeServer(acknowledge_then(lambda peer: None)) as server:
        assert run(partial(wait_on_another_loop, seconds=0.1), server.address) is None


def test_a_second_wait_learns_that_the_server_has_forgotten_the_job():
    with (
        FakeServer(acknowledge_then(answer_status)) as server,
        pytest.raises(JobLost, match="no longer knows job"),
    ):
        run(leave_and_wait_again, server.address, status_interval=2.5)


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_a_second_wait_learns_that_the_connection_has_ended(seconds):
    """It ends while nobody waits, or while somebody waits again."""

    def then(peer: Peer) -> None:
        time.sleep(seconds)
        peer.hang_up()

    async def act(half: LoopBackend) -> Any:
        submission = await submit(half)
        submission.release()
        await asyncio.sleep(0.15)
        return await submission.wait_update(10)

    with (
        FakeServer(acknowledge_then(then)) as server,
        pytest.raises(ConnectionLost, match="closed the connection"),
    ):
        run(act, server.address)


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_server(authority: trustme.CA, gearmand) -> Iterator[FakeServer]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with tls_proxy(context, gearmand.port) as server:
        yield server


@pytest.mark.gearmand
def test_jobs_go_over_tls(authority, tls_server, gearmand, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = {"cafile": str(tmp_path / "ca.pem")}
    worker = GearmandBackend([ServerAddress.parse(gearmand.address)]).register(["over-tls"])

    async def act(half: LoopBackend) -> Any:
        specs = [JobSpec("over-tls", bytes(size)) for size in (1, 16_384, 3_000_000)]
        submissions = await half.submit(specs)
        for _ in specs:
            job = worker.grab_job(20)
            assert job is not None
            worker.send(job, WorkComplete(job.workload))
        assert [row.function for row in await half.functions(5)].count("over-tls") == 1
        return [len((await each.wait_update(20)).data) for each in submissions]

    address = {"host": "127.0.0.1", "port": tls_server.port, "tls": tls}
    assert run(act, address) == [1, 16_384, 3_000_000]
    worker.close()


@pytest.mark.gearmand
def test_a_certificate_of_another_authority_is_refused(tls_server, tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    tls = {"cafile": str(tmp_path / "other.pem")}

    with pytest.raises(ServerUnavailable, match=r"TLS: .*certificate verify failed"):
        run(submit, {"host": "127.0.0.1", "port": tls_server.port, "tls": tls})
