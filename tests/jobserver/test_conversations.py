"""Conversations with the job server, packet by packet."""

from __future__ import annotations

import socket
import time

import pytest

from django_gearman import __version__
from django_gearman.protocol.packets import PacketType, encode
from tests.support.job_server import PATIENCE, Wire, all_of

SUBMITS = [
    PacketType.SUBMIT_JOB,
    PacketType.SUBMIT_JOB_HIGH,
    PacketType.SUBMIT_JOB_LOW,
]
BACKGROUND_SUBMITS = [
    PacketType.SUBMIT_JOB_BG,
    PacketType.SUBMIT_JOB_HIGH_BG,
    PacketType.SUBMIT_JOB_LOW_BG,
]


@pytest.mark.parametrize("kind", SUBMITS)
def test_a_client_that_waits_gets_the_result(connect, function, kind):
    client, worker = connect(), connect()
    worker.can_do(function)

    handle = client.submit(function, b"\0work\0", b"mine", kind)
    assert worker.grab() == (handle, function, b"mine", b"\0work\0")
    worker.send(PacketType.WORK_DATA, handle, b"part")
    worker.send(PacketType.WORK_STATUS, handle, b"1", b"2")
    worker.send(PacketType.WORK_WARNING, handle, b"careful")
    worker.send(PacketType.WORK_COMPLETE, handle, b"\0result")

    assert client.expect(PacketType.WORK_DATA) == (handle, b"part")
    assert client.expect(PacketType.WORK_STATUS) == (handle, b"1", b"2")
    assert client.expect(PacketType.WORK_WARNING) == (handle, b"careful")
    assert client.expect(PacketType.WORK_COMPLETE) == (handle, b"\0result")


@pytest.mark.parametrize("kind", BACKGROUND_SUBMITS)
def test_a_background_job_runs_though_its_client_has_left(connect, function, kind):
    client, worker = connect(), connect()
    handle = client.submit(function, b"work", kind=kind)
    client.close()

    worker.can_do(function)
    assert worker.grab() == (handle, function, b"", b"work")


def test_a_waiting_job_is_dropped_when_its_client_leaves(connect, function):
    client, worker = connect(), connect()
    handle = client.submit(function)
    client.close()

    wait_until_unknown(connect(), handle)
    worker.can_do(function)
    assert worker.grab() is None


def wait_until_unknown(wire: Wire, handle: bytes) -> None:
    deadline = time.monotonic() + PATIENCE
    while status(wire, handle)[0] != b"0":
        assert time.monotonic() < deadline, f"{handle!r} is still known"


def status(wire: Wire, handle: bytes) -> tuple[bytes, ...]:
    wire.send(PacketType.GET_STATUS, handle)
    asked, *rest = wire.expect(PacketType.STATUS_RES)
    assert asked == handle
    return tuple(rest)


def test_status_follows_a_job(connect, function):
    client, worker = connect(), connect()
    handle = client.submit(function)
    assert status(client, handle) == (b"1", b"0", b"0", b"0")

    worker.can_do(function)
    worker.grab()
    worker.send(PacketType.WORK_STATUS, handle, b"3", b"10")
    worker.echo()
    client.expect(PacketType.WORK_STATUS)
    assert status(client, handle) == (b"1", b"1", b"3", b"10")

    worker.send(PacketType.WORK_COMPLETE, handle, b"")
    client.expect(PacketType.WORK_COMPLETE)
    assert status(client, handle) == (b"0", b"0", b"0", b"0")


def test_status_by_unique_counts_who_waits(connect, function):
    one, other, asker = connect(), connect(), connect()
    unique = b"unique of " + function
    one.submit(function, unique=unique)
    other.submit(function, unique=unique)

    asker.send(PacketType.GET_STATUS_UNIQUE, unique)
    expected = (unique, b"1", b"0", b"0", b"0", b"2")
    assert asker.expect(PacketType.STATUS_RES_UNIQUE) == expected


class TestUniques:
    def test_equal_ones_share_a_job_and_all_hear_of_it(self, connect, function):
        one, other, worker = connect(), connect(), connect()
        first = one.submit(function, b"first", b"same")
        assert other.submit(function, b"second", b"same") == first

        worker.can_do(function)
        assert worker.grab() == (first, function, b"same", b"first")
        assert worker.grab() is None
        worker.send(PacketType.WORK_COMPLETE, first, b"done")
        for client in (one, other):
            assert client.expect(PacketType.WORK_COMPLETE) == (first, b"done")

    def test_twice_on_one_connection_is_answered_twice(self, connect, function):
        client, worker = connect(), connect()
        handle = client.submit(function, unique=b"same")
        assert client.submit(function, unique=b"same") == handle

        worker.can_do(function)
        worker.grab()
        worker.send(PacketType.WORK_COMPLETE, handle, b"done")
        for _ in range(2):
            assert client.expect(PacketType.WORK_COMPLETE) == (handle, b"done")

    def test_without_one_nothing_is_shared(self, connect, function):
        client = connect()
        assert client.submit(function) != client.submit(function)

    def test_a_dash_means_the_same_workload(self, connect, function):
        client = connect()
        first = client.submit(function, b"work", b"-")
        assert client.submit(function, b"work", b"-") == first
        assert client.submit(function, b"other", b"-") != first
        assert client.submit(function, b"", b"-") != client.submit(function, b"", b"-")

    @pytest.mark.parametrize("background_first", [True, False])
    def test_a_background_job_survives_those_who_wait_for_it(
        self, connect, function, background_first
    ):
        waiting, leaving, worker = connect(), connect(), connect()
        kinds = [PacketType.SUBMIT_JOB_BG, PacketType.SUBMIT_JOB]
        for kind in kinds if background_first else kinds[::-1]:
            wire = waiting if kind is PacketType.SUBMIT_JOB_BG else leaving
            handle = wire.submit(function, b"work", b"same", kind)
        leaving.close()

        all_of([waiting])
        worker.can_do(function)
        assert worker.grab() == (handle, function, b"same", b"work")

    def test_after_its_end_a_unique_is_free(self, connect, function):
        client, worker = connect(), connect()
        worker.can_do(function)
        first = client.submit(function, unique=b"same")
        worker.grab()
        worker.send(PacketType.WORK_FAIL, first)
        assert client.expect(PacketType.WORK_FAIL) == (first,)

        assert client.submit(function, unique=b"same") != first


class TestOrder:
    def test_by_priority_over_all_functions_then_in_turn(self, connect, function):
        client, worker = connect(), connect()
        for name, kind in (
            (b"a", PacketType.SUBMIT_JOB_LOW_BG),
            (b"b", PacketType.SUBMIT_JOB_BG),
            (b"a", PacketType.SUBMIT_JOB_BG),
            (b"b", PacketType.SUBMIT_JOB_HIGH_BG),
        ):
            client.submit(name + function, name + kind.name.encode(), kind=kind)
        worker.can_do(b"a" + function, b"b" + function)

        workloads = [job[3] for _ in range(4) if (job := worker.grab())]
        assert workloads == [
            b"bSUBMIT_JOB_HIGH_BG",
            b"bSUBMIT_JOB_BG",
            b"aSUBMIT_JOB_BG",
            b"aSUBMIT_JOB_LOW_BG",
        ]

    def test_the_job_of_a_lost_worker_goes_to_the_end_and_runs_once_more(self, connect, function):
        client, lost, worker = connect(), connect(), connect()
        handles = [client.submit(function, b"%d" % n) for n in range(3)]
        lost.can_do(function)
        lost.grab()
        lost.close()

        worker.can_do(function)
        all_of([client])
        ran = [job[0] for _ in range(3) if (job := worker.grab())]
        assert ran == [handles[1], handles[2], handles[0]]

    def test_a_worker_that_leaves_a_function_gives_its_jobs_back(self, connect, function):
        client, one, other = connect(), connect(), connect()
        handle = client.submit(function)
        one.can_do(function)
        one.grab()
        one.send(PacketType.CANT_DO, function)
        one.echo()

        other.can_do(function)
        assert other.grab() == (handle, function, b"", b"")
        one.send(PacketType.WORK_COMPLETE, handle, b"too late")
        assert one.expect(PacketType.ERROR)[0] == b"JOB_NOT_FOUND"


class TestSleep:
    def test_one_worker_is_woken_for_a_job(self, connect, function):
        client, workers = connect(), [connect() for _ in range(5)]
        for worker in workers:
            worker.can_do(function)
            worker.send(PacketType.PRE_SLEEP)
        all_of(workers)
        client.submit(function)

        assert workers[0].receive() is not None  # NOOP, as it has slept longest
        workers[0].grab()
        assert [worker.receive(0.2) for worker in workers[1:]] == [None] * 4

    def test_another_is_woken_when_the_first_does_not_come(self, connect, function):
        client, one, other = connect(), connect(), connect()
        for worker in (one, other):
            worker.can_do(function)
            worker.send(PacketType.PRE_SLEEP)
            worker.echo()
        client.submit(function)

        one.expect(PacketType.NOOP)
        other.expect(PacketType.NOOP)

    def test_a_worker_that_would_sleep_beside_a_job_is_woken_at_once(self, connect, function):
        client, worker = connect(), connect()
        client.submit(function)
        worker.can_do(function)
        for _ in range(3):
            worker.send(PacketType.PRE_SLEEP)
            worker.expect(PacketType.NOOP)

    def test_a_delayed_job_wakes_a_sleeper_at_its_time(self, connect, function):
        client, worker = connect(), connect()
        worker.can_do(function)
        worker.send(PacketType.PRE_SLEEP)
        worker.echo()
        due = int(time.time()) + 2
        client.send(PacketType.SUBMIT_JOB_EPOCH, function, b"", b"%d" % due, b"late")
        [handle] = client.expect(PacketType.JOB_CREATED)
        assert worker.grab() is None
        worker.send(PacketType.PRE_SLEEP)

        worker.expect(PacketType.NOOP)
        assert time.time() >= due
        assert worker.grab() == (handle, function, b"", b"late")

    @pytest.mark.parametrize("when", [b"0", b"-5", b"abc", b"", b"9" * 30])
    def test_a_time_that_is_none_means_at_once(self, connect, function, when):
        client, worker = connect(), connect()
        client.send(PacketType.SUBMIT_JOB_EPOCH, function, b"", when, b"")
        client.expect(PacketType.JOB_CREATED)
        worker.can_do(function)
        assert worker.grab() is not None


class TestEnds:
    def test_an_exception_reaches_who_asked_for_it_and_is_a_failure_for_others(
        self, connect, function
    ):
        one, other, worker = connect(), connect(), connect()
        one.send(PacketType.OPTION_REQ, b"Exceptions")
        assert one.expect(PacketType.OPTION_RES) == (b"Exceptions",)
        handle = one.submit(function, unique=b"same")
        other.submit(function, unique=b"same")
        worker.can_do(function)
        worker.grab()
        worker.send(PacketType.WORK_EXCEPTION, handle, b"no\0pe")

        assert one.expect(PacketType.WORK_EXCEPTION) == (handle, b"no\0pe")
        assert other.expect(PacketType.WORK_FAIL) == (handle,)

    def test_a_second_end_is_an_error_and_no_more(self, connect, function):
        client, worker = connect(), connect()
        handle = client.submit(function)
        worker.can_do(function)
        worker.grab()
        worker.send(PacketType.WORK_EXCEPTION, handle, b"first")
        worker.send(PacketType.WORK_FAIL, handle)

        assert worker.expect(PacketType.ERROR)[0] == b"JOB_NOT_FOUND"
        worker.echo()

    def test_the_nul_before_empty_data_may_be_missing(self, connect, function):
        client, worker = connect(), connect()
        handle = client.submit(function)
        worker.can_do(function)
        worker.grab()
        worker.socket.sendall(
            encode(PacketType.WORK_FAIL, handle).replace(b"\x00\x0e", b"\x00\x0d")
        )

        assert client.expect(PacketType.WORK_COMPLETE) == (handle, b"")

    def test_a_job_that_takes_longer_than_its_worker_said_fails(self, connect, function):
        client, worker = connect(), connect()
        worker.send(PacketType.CAN_DO_TIMEOUT, function, b"1")  # a second is the least
        handle = client.submit(function)
        worker.grab()

        assert client.expect(PacketType.WORK_FAIL) == (handle,)
        worker.send(PacketType.WORK_COMPLETE, handle, b"late")
        assert worker.expect(PacketType.ERROR)[0] == b"JOB_NOT_FOUND"


class TestRefusals:
    @pytest.mark.parametrize(
        ("function", "unique"),
        [(b"", b""), (b"f" * 513, b""), (b"f", b"u" * 65)],
    )
    def test_names_have_their_length(self, connect, function, unique):
        client = connect()
        client.send(PacketType.SUBMIT_JOB, function, unique, b"")
        assert client.expect(PacketType.ERROR)[0] == b"ARGUMENT_TOO_LARGE"
        client.echo()

    @pytest.mark.parametrize(
        "kind",
        [
            PacketType.NOOP,
            PacketType.JOB_CREATED,
            PacketType.NO_JOB,
            PacketType.ALL_YOURS,
            PacketType.SUBMIT_JOB_SCHED,
            PacketType.SUBMIT_REDUCE_JOB,
        ],
    )
    def test_a_packet_that_is_not_a_request_is_an_error(self, connect, kind):
        client = connect()
        client.send(kind, *[b"1"] * 8)
        assert client.expect(PacketType.ERROR)[0] == b"INVALID_COMMAND"
        client.echo()

    def test_an_option_that_is_none(self, connect):
        client = connect()
        client.send(PacketType.OPTION_REQ, b"speed")
        assert client.expect(PacketType.ERROR)[0] == b"UNKNOWN_OPTION"

    @pytest.mark.parametrize(
        "noise",
        [
            b"\0XXX" + bytes(8),
            b"\0REQ\xff\xff\xff\xff" + bytes(4),
            b"\0REQ\0\0\0\x07\xff\xff\xff\xff",
            b"\0REQ\0\0\0\x07\0\0\0\x03abc",
            b"x" * 9000,
        ],
        ids=["magic", "type", "size", "arguments", "line"],
    )
    def test_noise_ends_its_connection_and_no_other(self, connect, noise):
        noisy, other = connect(), connect()
        noisy.socket.sendall(noise)
        with pytest.raises(EOFError):
            while noisy.receive() is not None:
                pass
        other.echo()


class TestAdministration:
    def test_status(self, connect, function):
        client, worker, admin = connect(), connect(), connect()
        worker.can_do(function)
        client.submit(function)
        worker.grab()
        client.submit(function, kind=PacketType.SUBMIT_JOB_HIGH_BG)
        due = b"%d" % (time.time() + 1000)
        client.send(PacketType.SUBMIT_JOB_EPOCH, function, b"", due, b"")
        client.expect(PacketType.JOB_CREATED)

        name = function.decode()
        assert f"{name}\t3\t1\t1\n" in admin.ask("status")
        assert f"{name}\t1\t1\t0\t1\n" in admin.ask("PRIORITYSTATUS")

    def test_workers_are_shown_whatever_their_ids(self, connect, function):
        worker, admin = connect(), connect()
        worker.send(PacketType.SET_CLIENT_ID, b"a b\nc\xff")
        worker.can_do(b"x" + function, b"y" + function)
        worker.echo()

        admin.socket.sendall(b"workers\n")
        answer = admin.socket.recv(65536)
        assert b" 127.0.0.1 a_b_c\xff : y%b x%b\n" % (function, function) in answer

    def test_jobs_are_shown_and_cancelled(self, connect, function):
        client, admin, worker = connect(), connect(), connect()
        handle = client.submit(function, unique=b"u" + function)
        assert f"{handle.decode()}\t0\t0\t0\n" in admin.ask("show jobs")
        assert f"u{function.decode()}\n" in admin.ask("show unique jobs")

        assert admin.ask(f"cancel job {handle.decode()}") == "OK\r\n"
        assert client.expect(PacketType.WORK_FAIL) == (handle,)
        assert admin.ask(f"cancel job {handle.decode()}") == "ERR UNKNOWN_JOB\r\n"
        worker.can_do(function)
        assert worker.grab() is None
        assert client.submit(function, unique=b"u" + function) != handle

    def test_a_full_queue_refuses(self, connect, function):
        client, admin = connect(), connect()
        assert admin.ask(f"maxqueue {function.decode()} 2") == "OK\r\n"
        first = client.submit(function, unique=b"one")
        client.submit(function)
        client.send(PacketType.SUBMIT_JOB, function, b"", b"")
        code, text = client.expect(PacketType.ERROR)

        assert (code, text) == (b"QUEUE_ERROR", b"Job queue is full")
        assert client.submit(function, unique=b"one") == first  # which makes no job

    def test_functions_are_made_and_dropped(self, connect, function):
        admin, client, name = connect(), connect(), function.decode()
        assert admin.ask(f"create function {name}") == "OK\r\n"
        assert f"{name}\t0\t0\t0\n" in admin.ask("status")
        client.submit(function)
        assert admin.ask(f"drop function {name}").startswith("ERR there are still")
        client.close()
        deadline = time.monotonic() + PATIENCE
        while admin.ask(f"drop function {name}") != "OK\r\n":
            assert time.monotonic() < deadline
        assert admin.ask(f"drop function {name}") == "ERR function not found\r\n"

    @pytest.mark.parametrize(
        ("command", "answer"),
        [
            ("version", "OK 2.0.0\n"),
            ("software", f"OK gearman_server {__version__}\n"),
            ("verbose", "OK ERROR\n"),
            ("nonsense", "ERR UNKNOWN_COMMAND Unknown+server+commandnonsense\r\n"),
            ("show", "ERR UNKNOWN_COMMAND Unknown+server+commandshow\r\n"),
            ("show me", "ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
            ("maxqueue", None),
            ("cancel job", None),
            ("create function", None),
            ("drop function", None),
            ("purge", None),
            ("purge no-such-function", "OK 0\r\n"),
        ],
    )
    def test_other_commands(self, connect, command, answer):
        found = connect().ask(command, end=b"\n")
        assert found == answer if answer else found.startswith("ERR INVALID_ARGUMENTS")

    def test_getpid_tells_the_process(self, connect, server):
        assert connect().ask("getpid", end=b"\n") == f"OK {server.process.pid}\n"

    def test_text_and_packets_mix_on_one_connection(self, connect, server):
        wire = connect()
        wire.socket.sendall(b"getpid\n" + encode(PacketType.ECHO_REQ, b"x") + b"verbose\r\n")
        expected = f"OK {server.process.pid}\n".encode() + b"\0RES\0\0\0\x11\0\0\0\x01xOK ERROR\n"
        found = b""
        while len(found) < len(expected):
            found += wire.socket.recv(1000)
        assert found == expected

    def test_a_browser_gets_a_description(self, connect):
        wire = connect()
        wire.socket.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while data := wire.socket.recv(1000):
            answer += data
        assert answer.startswith(b"HTTP/1.1 400 Bad Request")
        assert b"Gearman job server" in answer


def test_cut_anywhere_a_conversation_is_the_same(connect, function):
    client, worker = connect(), connect()
    worker.can_do(function)
    for byte in encode(PacketType.SUBMIT_JOB, function, b"u", b"work"):
        client.socket.send(bytes([byte]))
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.expect(PacketType.JOB_CREATED)
    assert worker.grab()[1:] == (function, b"u", b"work")
