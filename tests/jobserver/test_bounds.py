"""Limits to the harm that one peer can do to the server and to other peers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from django_gearman.jobserver.peer import Limits
from django_gearman.jobserver.server import JobServer
from django_gearman.protocol.packets import PacketType, encode
from tests.support.job_server import PATIENCE, JobServerProcess, Wire


def memory(pid: int) -> float:
    """Return the resident memory of a process, in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu(pid: int) -> float:
    """Return the processor time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_client_that_does_not_read_its_answers_is_not_read_either():
    with JobServerProcess() as server, Wire(server.port) as deaf, Wire(server.port) as other:
        before = memory(server.process.pid)
        deaf.socket.settimeout(0.5)
        echo = encode(PacketType.ECHO_REQ, b"x" * 1_000_000)
        with contextlib.suppress(TimeoutError):
            for _ in range(300):
                deaf.socket.sendall(echo)
        other.echo()
        assert memory(server.process.pid) - before < 60


def test_a_client_that_does_not_read_its_results_is_closed():
    async def conversation() -> None:
        server = JobServer(limits=Limits(unread=5_000_000))
        await server.bind("127.0.0.1", 0)
        [(_, port)] = await server.start()
        _, deaf = await asyncio.open_connection("127.0.0.1", port, limit=1)
        reader, worker = await asyncio.open_connection("127.0.0.1", port)
        deaf.write(encode(PacketType.SUBMIT_JOB, b"f", b"", b""))
        worker.write(encode(PacketType.CAN_DO, b"f"))
        handle = b""
        while not handle:
            worker.write(encode(PacketType.GRAB_JOB))
            answer = await reader.read(1000)
            handle = answer[12:].split(b"\0")[0]
        for _ in range(200):
            worker.write(encode(PacketType.WORK_DATA, handle, b"x" * 100_000))
            await worker.drain()
        deadline = time.monotonic() + PATIENCE
        while len(server.dispatcher.peers) > 1:
            assert time.monotonic() < deadline, "the deaf client is still there"
            await asyncio.sleep(0.01)
        worker.close()
        deaf.close()
        await server.stop()

    asyncio.run(conversation())


def test_half_a_request_is_not_waited_for_forever():
    async def conversation() -> None:
        server = JobServer(limits=Limits(half_request_seconds=0.05), look_seconds=0.02)
        await server.bind("127.0.0.1", 0)
        [(_, port)] = await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        idle_reader, idle = await asyncio.open_connection("127.0.0.1", port)
        writer.write(encode(PacketType.ECHO_REQ, b"whole") + b"\0REQ")
        assert await asyncio.wait_for(reader.read(), PATIENCE)  # up to the end
        idle.write(encode(PacketType.ECHO_REQ, b"x"))
        assert await asyncio.wait_for(idle_reader.read(100), PATIENCE)
        for each in (writer, idle):
            each.close()
        await server.stop()

    asyncio.run(conversation())


def test_a_flood_of_sleeps_beside_work_is_bounded():
    with JobServerProcess() as server, Wire(server.port) as flood, Wire(server.port) as other:
        other.submit(b"f")
        before = memory(server.process.pid)
        flood.can_do(b"f")
        flood.socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            for _ in range(500):
                flood.socket.sendall(encode(PacketType.PRE_SLEEP) * 10_000)
        other.echo()
        assert memory(server.process.pid) - before < 60


def test_a_thousand_idle_workers_cost_no_time():
    with JobServerProcess() as server, contextlib.ExitStack() as stack:
        for number in range(1000):
            worker = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            worker.sendall(
                encode(PacketType.CAN_DO, b"f%d" % (number % 10)) + encode(PacketType.PRE_SLEEP)
            )
        with Wire(server.port) as client:
            while client.ask("status").count("\t100\n") < 10:  # of 100 workers each
                time.sleep(0.01)
            client.echo()
            before = cpu(server.process.pid)
            client.socket.settimeout(1.0)
            with contextlib.suppress(TimeoutError):
                client.socket.recv(1)  # nothing comes
            assert cpu(server.process.pid) - before < 0.1
            started = cpu(server.process.pid)
            for _ in range(100):
                client.submit(b"f1", kind=PacketType.SUBMIT_JOB_BG)
            assert cpu(server.process.pid) - started < 0.5


def test_many_queued_jobs_are_small_and_harmless():
    with JobServerProcess() as server, Wire(server.port) as client:
        before = memory(server.process.pid)
        count, batch = 100_000, 1000
        for start in range(0, count, batch):
            packets = [
                encode(PacketType.SUBMIT_JOB_BG, b"f", b"unique%d" % number, b"x" * 100)
                for number in range(start, start + batch)
            ]
            client.socket.sendall(b"".join(packets))
            for _ in range(batch):
                client.expect(PacketType.JOB_CREATED)
        assert (memory(server.process.pid) - before) * 1e6 / count < 1000 + 100
        started = cpu(server.process.pid)
        for _ in range(100):
            client.submit(b"f", kind=PacketType.SUBMIT_JOB_BG)
            client.submit(b"g", kind=PacketType.SUBMIT_JOB_BG)
        assert cpu(server.process.pid) - started < 0.2


chunks = st.one_of(
    st.binary(max_size=60),
    st.builds(
        encode,
        st.sampled_from(sorted(PacketType)),
        st.sampled_from([b"f", b"", b"H:1", b"1"]),
        st.sampled_from([b"u", b"2"]),
        st.binary(max_size=20),
    ),
    st.sampled_from([b"status\n", b"workers\r\n", b"show jobs\n", b"maxqueue f 1\n"]),
)


def test_random_bytes_hurt_no_other_connection():
    """Each example talks nonsense over two connections; a third one must have its jobs done."""
    with JobServerProcess() as server:

        @settings(max_examples=150, deadline=None)
        @given(st.lists(st.tuples(st.integers(0, 1), chunks), max_size=20))
        def talk(said):
            noisy = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2)]
            for who, data in said:
                with contextlib.suppress(OSError):
                    noisy[who].sendall(data)
            with Wire(server.port) as client, Wire(server.port) as worker:
                worker.can_do(b"sound")
                handle = client.submit(b"sound", b"work", b"mine")
                assert worker.grab() == (handle, b"sound", b"mine", b"work")
                worker.send(PacketType.WORK_COMPLETE, handle, b"result")
                assert client.expect(PacketType.WORK_COMPLETE) == (handle, b"result")
            for each in noisy:
                each.close()

        talk()
        assert server.process.poll() is None
        assert "Traceback" not in server.stop()
