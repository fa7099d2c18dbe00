"""The job server's store, under load, killed at random: no acknowledged job is lost."""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import statistics
import threading
import time
from pathlib import Path

import pytest

from django_gearman.protocol.packets import PacketType, encode
from tests.jobserver.test_bounds import memory
from tests.support.job_server import JobServerProcess, Wire

pytestmark = pytest.mark.integration

KILLS = 100
BATCH = 20


def submit_until_it_dies(port: int, numbers: itertools.count[int], acknowledged: set[int]) -> None:
    with contextlib.suppress(EOFError, OSError), Wire(port) as wire:
        while True:
            batch = [next(numbers) for _ in range(BATCH)]
            for number in batch:
                text = b"%d" % number
                wire.send(PacketType.SUBMIT_JOB_BG, b"f", text, text)
            for number in batch:
                wire.expect(PacketType.JOB_CREATED)
                acknowledged.add(number)


def work_until_it_dies(port: int, ran: set[int]) -> None:
    with contextlib.suppress(EOFError, OSError), Wire(port) as wire:
        wire.can_do(b"f")
        while True:
            job = wire.grab()
            if job is None:
                time.sleep(0.001)
                continue
            ran.add(int(job[3]))
            wire.send(PacketType.WORK_COMPLETE, job[0], b"")


def test_killed_a_hundred_times_it_loses_no_acknowledged_job(tmp_path):
    store, numbers = tmp_path / "jobs.db", itertools.count()
    acknowledged: set[int] = set()
    ran: set[int] = set()
    for _ in range(KILLS):
        with JobServerProcess(f"--store={store}") as server:
            threads = [
                threading.Thread(
                    target=submit_until_it_dies, args=(server.port, numbers, acknowledged)
                ),
                threading.Thread(target=work_until_it_dies, args=(server.port, ran)),
            ]
            for thread in threads:
                thread.start()
            time.sleep(random.uniform(0.001, 0.06))
            server.kill()
            for thread in threads:
                thread.join()
    with JobServerProcess(f"--store={store}") as server, Wire(server.port) as worker:
        worker.can_do(b"f")
        while (job := worker.grab()) is not None:
            ran.add(int(job[3]))
            worker.send(PacketType.WORK_COMPLETE, job[0], b"")
        worker.echo()
        assert "Background jobs kept in" in server.stop(signal.SIGTERM)
    assert len(acknowledged) > KILLS, "there was no load"
    assert acknowledged - ran == set()
    with JobServerProcess(f"--store={store}") as server:
        assert "(0 found there)" in server.greeting


def submissions(wire: Wire, count: int) -> float:
    """Submit jobs one by one; return the median of the seconds that each took."""
    times = []
    for _ in range(count):
        started = time.perf_counter()
        wire.submit(b"f", b"x" * 100, kind=PacketType.SUBMIT_JOB_BG)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def test_many_queued_jobs_cost_little_memory_and_do_not_slow_the_next_one():
    count, batch = 200_000, 1000
    with JobServerProcess() as server, Wire(server.port) as wire:
        alone, before = submissions(wire, 500), memory(server.process.pid)
        job = encode(PacketType.SUBMIT_JOB_BG, b"f", b"", b"x" * 100)
        for _ in range(count // batch):
            wire.socket.sendall(job * batch)
            for _ in range(batch):
                wire.expect(PacketType.JOB_CREATED)

        assert (memory(server.process.pid) - before) * 1e6 / count < 1024 + 100
        assert submissions(wire, 500) < 5 * alone


def test_delayed_and_urgent_jobs_survive_as_they_were(tmp_path: Path):
    store = tmp_path / "jobs.db"
    due = int(time.time()) + 3
    with JobServerProcess(f"--store={store}") as server, Wire(server.port) as client:
        low = client.submit(b"f", b"\0low", b"a", PacketType.SUBMIT_JOB_LOW_BG)
        high = client.submit(b"f", b"high\xff", b"b", PacketType.SUBMIT_JOB_HIGH_BG)
        client.send(PacketType.SUBMIT_JOB_EPOCH, b"f", b"c", b"%d" % due, b"late")
        [late] = client.expect(PacketType.JOB_CREATED)
        client.submit(b"f", b"gone", b"d")  # its client is gone after a crash
        server.kill()
    with JobServerProcess(f"--store={store}") as server, Wire(server.port) as worker:
        assert "(3 found there)" in server.greeting
        worker.can_do(b"f")
        assert worker.grab() == (high, b"f", b"b", b"high\xff")
        assert worker.grab() == (low, b"f", b"a", b"\0low")
        worker.send(PacketType.PRE_SLEEP)
        worker.expect(PacketType.NOOP)
        assert time.time() >= due
        assert worker.grab() == (late, b"f", b"c", b"late")
