"""Odd input from clients, administrators and the machine: it is reported or ignored."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import subprocess
import sys
import time

import pytest

from django_gearman.protocol.packets import PacketType
from tests.support.job_server import PATIENCE, ROOT, JobServerProcess, Wire

PROGRAM = [sys.executable, "-m", "django_gearman.jobserver"]


def serves(server: JobServerProcess) -> bool:
    with Wire(server.port) as wire:
        wire.echo()
    return server.process.poll() is None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--host="], "lets other machines connect"),
        (["--host=127.0.0.1:4730"], "lets other machines connect"),
        (["--store="], "is a directory; name a file"),
        (["--store=/dev/null"], "is not a regular file"),
        (["--tls-cert="], "--tls-cert . cannot be read: Is a directory"),
    ],
)
def test_odd_arguments_are_refused(arguments, reason):
    found = subprocess.run(
        [*PROGRAM, "--port=0", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )

    assert found.returncode == 1
    assert re.search(reason, found.stderr), found.stderr
    assert "Traceback" not in found.stderr


def test_a_port_in_use_beside_a_store_that_is_free(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = subprocess.run(
            [*PROGRAM, f"--port={port}", f"--store={tmp_path}/jobs.db"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    assert found.returncode == 1
    assert found.stderr.startswith(f"error: 127.0.0.1:{port} is in use")


def test_each_address_of_a_name_has_its_own_free_port():
    with subprocess.Popen(
        [*PROGRAM, "--port=0", "--host=localhost"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        greeting = process.stdout.readline()
        for host, port in re.findall(r"(\S+):(\d+)(?: and|:)", greeting.replace("[", "")):
            socket.create_connection((host.strip("]"), int(port)), PATIENCE).close()
        process.terminate()
    assert "127.0.0.1:" in greeting


def test_a_client_that_speaks_tls_is_hung_up_on_at_once():
    with JobServerProcess() as server:
        context = ssl.create_default_context()
        started = time.monotonic()
        with (
            socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain,
            pytest.raises(OSError, match=r"(?i)version|record|packet|reset|eof"),
        ):
            context.wrap_socket(plain, server_hostname="localhost")
        assert time.monotonic() - started < PATIENCE

        assert serves(server)
        assert "speaks TLS, and this server has no --tls-cert" in server.stop()


@pytest.mark.parametrize("name", [b"", b"x" * 513, b"x" * 1_000_000])
@pytest.mark.parametrize("kind", [PacketType.CAN_DO, PacketType.CAN_DO_TIMEOUT])
def test_a_worker_of_a_function_that_cannot_be(connect, kind, name):
    worker = connect()
    worker.send(kind, name, *([b"1"] if kind is PacketType.CAN_DO_TIMEOUT else []))

    assert worker.expect(PacketType.ERROR)[0] == b"ARGUMENT_TOO_LARGE"
    assert "x" * 513 not in worker.ask("status")


@pytest.mark.parametrize("when", [b"", b"soon", b"-1", b"1e9", b"9" * 400, b"\xff", b"0"])
def test_a_time_that_is_none_is_now(connect, function, when):
    client, worker = connect(), connect()
    worker.can_do(function)
    client.send(PacketType.SUBMIT_JOB_EPOCH, function, b"", when, b"x")
    client.expect(PacketType.JOB_CREATED)

    assert worker.grab() is not None


def test_a_time_after_the_end_of_all_timers(connect, function):
    client, worker = connect(), connect()
    worker.can_do(function)
    client.send(PacketType.SUBMIT_JOB_EPOCH, function, b"", b"9" * 19, b"x")
    client.expect(PacketType.JOB_CREATED)

    assert worker.grab() is None
    client.echo()


@pytest.mark.parametrize("numbers", [(b"", b""), (b"x", b"-1"), (b"9" * 5000, b"\xff")])
def test_progress_that_is_not_a_number(connect, function, numbers):
    client, worker = connect(), connect()
    handle = client.submit(function)
    worker.can_do(function)
    worker.grab()
    worker.send(PacketType.WORK_STATUS, handle, *numbers)

    assert client.expect(PacketType.WORK_STATUS) == (handle, *numbers)
    client.send(PacketType.GET_STATUS, handle)
    assert client.expect(PacketType.STATUS_RES)[3:] == (b"0", b"0")


def test_the_end_of_another_workers_job(connect, function):
    client, worker, thief = connect(), connect(), connect()
    handle = client.submit(function)
    worker.can_do(function)
    worker.grab()
    thief.send(PacketType.WORK_COMPLETE, handle, b"mine")
    assert thief.expect(PacketType.ERROR)[0] == b"JOB_NOT_FOUND"

    worker.send(PacketType.WORK_COMPLETE, handle, b"done")

    assert client.expect(PacketType.WORK_COMPLETE) == (handle, b"done")


def test_a_client_id_cannot_write_lines(connect):
    worker = connect()
    worker.send(PacketType.SET_CLIENT_ID, b"one\n.\n\x1b[2J two")
    worker.echo()

    assert " one_._" in worker.ask("workers")


@pytest.mark.parametrize("replaced", [False, True])
def test_a_store_that_is_removed_acknowledges_nothing_more(tmp_path, replaced):
    store = tmp_path / "jobs.db"
    with JobServerProcess(f"--store={store}") as server, Wire(server.port) as client:
        client.submit(b"f", kind=PacketType.SUBMIT_JOB_BG)
        store.rename(tmp_path / "elsewhere")
        if replaced:
            store.touch()
        client.send(PacketType.SUBMIT_JOB_BG, b"f", b"", b"x")

        code, text = client.expect(PacketType.ERROR)
        assert code == b"QUEUE_ERROR"
        assert b"was removed or replaced" in text
        client.submit(b"f")
        assert "background jobs are refused" in server.stop()


def test_the_end_of_its_terminal_ends_it_in_order():
    with JobServerProcess() as server, Wire(server.port) as client:
        client.submit(b"f")

        assert "Jobs lost: 1 foreground." in server.stop(signal.SIGHUP)
        assert server.process.returncode == 0


def test_its_output_need_not_be_read(tmp_path):
    with subprocess.Popen(
        [*PROGRAM, "--port=0"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        process.terminate()
        error = process.stderr.read()
        process.wait(PATIENCE)

    assert b"Traceback" not in error


def test_a_server_without_descriptors_serves_those_it_has():
    limited = ["prlimit", "--nofile=40", *PROGRAM, "--port=0"]
    with subprocess.Popen(
        limited, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        port = int(re.findall(r":(\d+):", process.stdout.readline())[0])
        with Wire(port) as first:
            others = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
            first.echo()
            for other in others:
                other.close()
        with Wire(port) as late:
            late.echo()
        process.terminate()
        assert process.wait(PATIENCE) == 0
