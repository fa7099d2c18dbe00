"""`gearman_worker --with-server`: a job server and workers, under one supervisor."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from django_gearman.protocol.packets import PacketType
from django_gearman.testing.gearmand import free_port
from tests.integration.conftest import Process
from tests.support.gearmand import wait_until
from tests.support.job_server import Wire

pytestmark = pytest.mark.integration

MARK, HOLD = b"tests.integration.mark", b"tests.integration.hold"


class Site(Process):
    """A `gearman_worker --with-server` and its server."""

    def __init__(self, log: Path, port: int, *arguments: str) -> None:
        self.port = port
        super().__init__(
            log, f"127.0.0.1:{port}", "gearman_worker", "--with-server", "--no-color", *arguments
        )

    def ask(self, command: str) -> str:
        with Wire(self.port) as wire:
            return wire.ask(command, b"\n" if command == "getpid" else b".\n")

    def server_pid(self) -> int:
        with suppress(OSError):  # it is not there yet
            return int(self.ask("getpid").split()[1])
        return 0

    def ready(self, workers: int = 1) -> None:
        def serve() -> bool:
            with suppress(OSError):
                return f"{MARK.decode()}\t0\t0\t{workers}\n" in self.ask("status")
            return False

        wait_until(serve, f"{workers} workers")

    def submit(self, function: bytes, workload: bytes) -> None:
        with Wire(self.port) as wire:
            wire.submit(function, workload, kind=PacketType.SUBMIT_JOB_BG)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def make(*arguments: str, port: int = 0) -> Site:
        sites.append(Site(tmp_path / f"{len(sites)}.log", port or free_port(), *arguments))
        return sites[-1]

    yield make
    for site in sites:
        site.close()


def test_a_site_of_one_command(start, trail):
    site = start("-w", "2")
    site.ready(2)

    site.submit(MARK, b"1")

    wait_until(lambda: trail() == ["1"], "the job")
    assert "1 more process is the job server, with jobs in memory" in site.output
    wait_until(lambda: "ready: 2 processes are serving" in site.output, "the report")
    assert site.stop() == 0
    assert "No job is lost" in site.output
    assert "trying again" not in site.output, "a worker was there before its server, or after it"


def test_it_is_stopped_when_the_workers_have_reported(start, trail):
    site = start()
    site.ready()
    with Wire(site.port) as client:
        client.submit(HOLD, b"0.7")
        wait_until(lambda: trail() == ["begun"], "the job has begun")
        site.process.send_signal(signal.SIGTERM)
        _, result = client.expect(PacketType.WORK_COMPLETE)

    assert result == b'"held"'
    assert site.process.wait(30) == 0
    assert "No job is lost" in site.output


def test_a_server_that_dies_is_replaced_and_loses_no_stored_job(start, trail, tmp_path):
    site = start("--store", str(tmp_path / "jobs.db"))
    site.ready()
    site.submit(HOLD, b"0.5")
    site.submit(MARK, b"1")
    wait_until(lambda: trail() == ["begun"], "the job has begun")
    first = site.server_pid()

    os.kill(first, signal.SIGKILL)

    second = wait_until(site.server_pid, "another server")
    assert second != first
    wait_until(lambda: "1" in trail(), "the job that was queued")
    assert f"job server: process {first} was killed by SIGKILL; starting another one" in site.output
    wait_until(lambda: f"{MARK.decode()}\t0\t0\t1\n" in site.ask("status"), "the end of all jobs")
    assert site.stop() == 0
    assert "Background jobs kept in" in site.output


def test_a_reload_replaces_the_workers_and_keeps_the_server(start, trail):
    site = start("-w", "2")
    wait_until(lambda: "2 processes are serving" in site.output, "the first workers")
    server, before = site.server_pid(), set(site.children())
    site.submit(b"waits", b"for a worker")

    site.process.send_signal(signal.SIGHUP)

    wait_until(lambda: site.output.count("2 processes are serving") == 2, "the new workers")
    wait_until(lambda: before & set(site.children()) == {server}, "the end of the old ones")
    assert site.server_pid() == server
    assert "waits\t1\t0\t0" in site.ask("status")
    site.submit(MARK, b"1")
    wait_until(lambda: trail() == ["1"], "the job")
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: site.server_pid() not in (0, server), "another server")
    assert site.stop() == 0


def test_a_burst_ends_the_server_when_its_jobs_are_done(start, trail, tmp_path):
    store = str(tmp_path / "jobs.db")
    site = start("--store", store, "-q", "default")
    site.ready()
    site.submit(HOLD, b"0")  # of a queue that is not served
    assert site.stop() == 0
    assert f"Background jobs kept in {store}: 1" in site.output

    burst = start("--store", store, "--burst")

    assert burst.process.wait(30) == 0
    assert trail() == ["begun", "done"]
    assert f"Background jobs kept in {store}: 0" in burst.output


def test_a_second_signal_kills_the_jobs_and_the_server_keeps_them(start, trail, tmp_path):
    site = start("--store", str(tmp_path / "jobs.db"))
    site.ready()
    site.submit(HOLD, b"600")
    wait_until(lambda: trail() == ["begun"], "the job has begun")

    site.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "a second signal stops at once" in site.output, "the first signal")

    assert site.stop() == 0
    assert re.search(r"Background jobs kept in .*: 1\.", site.output)


def test_all_that_it_writes_is_json(start):
    site = start("--log-format", "json")
    site.ready()
    assert site.stop() == 0

    messages = [json.loads(line)["message"] for line in site.output.splitlines()]
    assert any(message.startswith("Gearman job server on") for message in messages)
    assert any(message.startswith("The job server has stopped") for message in messages)


def test_a_second_site_is_refused_and_the_first_continues(start, tmp_path):
    store = str(tmp_path / "jobs.db")
    site = start("--store", store)
    site.ready()

    same_port = start(port=site.port)
    same_store = start("--store", store)

    assert same_port.process.wait(30) == 1
    assert same_port.output.count("\n") == 1
    assert f"127.0.0.1:{site.port} is in use" in same_port.output
    assert "Leave out --with-server to use that one" in same_port.output
    assert same_store.process.wait(30) == 1
    assert same_store.output.count("\n") == 1
    assert "jobs.db is in use by another gearman_server" in same_store.output
    site.ready()
    assert site.stop() == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "is a directory"), (b"Dear Ada", "is a file of another program; nothing was changed")],
)
def test_a_store_that_cannot_be_is_left_as_it_is(start, tmp_path, content, reason):
    store = tmp_path / "store"
    if content is None:
        store.mkdir()
    else:
        store.write_bytes(content)

    site = start("--store", str(store))

    assert site.process.wait(30) == 1
    assert reason in site.output
    assert content is None or store.read_bytes() == content


def test_the_check_of_new_code_takes_no_port(start):
    site = start()
    site.ready()

    check = start("--check", port=site.port)

    assert check.process.wait(30) == 0
    assert check.output == "the worker can start\n"
