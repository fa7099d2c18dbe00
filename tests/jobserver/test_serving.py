"""How the job server starts, refuses to start, and ends."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from unittest import mock

import pytest
import trustme
from django.core.management import CommandError, call_command

from django_gearman.backends.base import JobSpec, WorkComplete
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.jobserver.server import JobServer
from django_gearman.protocol.address import ServerAddress
from django_gearman.protocol.packets import PacketType
from tests.support.job_server import PATIENCE, ROOT, JobServerProcess, Wire

MANAGE = [sys.executable, "manage.py", "gearman_server"]


def refused(*arguments: str) -> str:
    """Return why it does not start, when it is called in this process."""
    out = io.StringIO()
    serves = mock.patch.object(JobServer, "start", side_effect=AssertionError("it serves"))
    with serves, pytest.raises(CommandError) as caught:
        call_command("gearman_server", *arguments, stdout=out)
    assert out.getvalue() == ""
    return str(caught.value)


def ended(*arguments: str) -> str:
    """Return why it does not start, when it is called in a terminal."""
    found = subprocess.run(
        [*MANAGE, "--no-color", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert found.returncode == 1, found
    assert found.stdout == ""
    assert "Traceback" not in found.stderr
    return found.stderr


@pytest.fixture
def files(tmp_path):
    """Return files to name: `{tmp}` in the cases below."""
    one, other = trustme.CA(), trustme.CA()
    (tmp_path / "directory").mkdir()
    (tmp_path / "letter").write_text("Dear Ada")
    for name, authority in (("one", one), ("other", other)):
        certificate = authority.issue_cert("localhost")
        certificate.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.cert")
        certificate.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--host 0.0.0.0", "lets other machines connect.*Add --allow-remote"),
        ("--host :: --port 0", "lets other machines connect"),
        ("--host 0.0.0.0 --allow-remote", "without TLS, everyone.*--allow-remote insecure"),
        ("--host nowhere.invalid --allow-remote insecure", "name an address of this machine"),
        ("--store {tmp}/directory", "is a directory; name a file"),
        ("--store {tmp}/letter", "is a file of another program; nothing was changed"),
        ("--store {tmp}/no/where.db", "directory that does not exist"),
        ("--tls-cert {tmp}/none", r"--tls-cert .*none cannot be read: No such file"),
        ("--tls-cert {tmp}/directory", r"--tls-cert .*directory cannot be read: Is a directory"),
        ("--tls-cert {tmp}/letter", r"--tls-cert .*letter and its key .*letter do not match"),
        ("--tls-cert {tmp}/one.cert --tls-key {tmp}/other.key", "do not match"),
        ("--tls-cert {tmp}/one.cert --tls-key {tmp}/one.key --tls-ca {tmp}/letter", "--tls-ca"),
        ("--tls-key {tmp}/one.key", "name the certificate, too"),
    ],
)
def test_an_address_that_cannot_be_served_is_reported(files, arguments, reason):
    message = refused(*(word.replace("{tmp}", str(files)) for word in arguments.split()))
    assert re.search(reason, message), message
    assert (files / "letter").read_text() == "Dear Ada"


def test_a_refusal_is_an_exit_code_and_one_line():
    assert re.fullmatch("CommandError: .*lets other machines connect.*\n", ended("--host=0.0.0.0"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--port 65536", "expected a number from 0 to 65535, got '65536'"),
        ("--port x", "got 'x'"),
        ("--max-queued -1", "got '-1'"),
    ],
)
def test_arguments_are_checked(arguments, reason):
    with pytest.raises(CommandError) as caught:
        call_command("gearman_server", *arguments.split())
    assert reason in str(caught.value)


def test_a_port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert re.search(
            rf"127.0.0.1:{port} is in use.*--port 0 picks a free one", refused("--port", str(port))
        )


def test_a_store_in_use(tmp_path):
    store = f"--store={tmp_path / 'jobs.db'}"
    with JobServerProcess(store):
        assert "in use by another gearman_server" in refused("--port=0", store)


def test_it_says_what_it_is_and_what_is_lost(tmp_path):
    with JobServerProcess() as server, Wire(server.port) as client:
        assert "jobs in memory, lost when it ends (--store FILE" in server.greeting
        client.submit(b"f")
        client.submit(b"f", kind=PacketType.SUBMIT_JOB_BG)
        client.submit(b"f", kind=PacketType.SUBMIT_JOB_BG)
        assert "Jobs lost: 1 foreground and 2 background." in server.stop(signal.SIGINT)
        assert server.process.returncode == 0
    with JobServerProcess(f"--store={tmp_path / 'jobs.db'}") as server, Wire(server.port) as client:
        client.submit(b"f", kind=PacketType.SUBMIT_JOB_BG)
        message = server.stop()
        assert "No job is lost. Background jobs kept in" in message
        assert message.endswith("jobs.db: 1.\n")


def test_an_administrator_ends_it():
    with JobServerProcess() as server, Wire(server.port) as admin:
        assert admin.ask("shutdown") == "OK\r\n"
        server.process.wait(PATIENCE)
        assert server.process.returncode == 0


def test_the_number_of_jobs_has_its_limit():
    with JobServerProcess("--max-queued=2") as server, Wire(server.port) as client:
        for _ in range(2):
            client.submit(b"f")
        client.send(PacketType.SUBMIT_JOB, b"f", b"", b"")
        assert client.expect(PacketType.ERROR) == (
            b"QUEUE_ERROR",
            b"The server has 2 jobs, its limit (--max-queued)",
        )


def test_the_command_logs_json():
    process = subprocess.Popen(
        [*MANAGE, "--port=0", "--log-format=json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    out, rest = process.communicate(timeout=PATIENCE)
    assert out == ""
    lines = [json.loads(line) for line in [first, *rest.splitlines()]]
    assert [line["message"].split(":")[0] for line in lines][-1].startswith("The job server has")


def test_over_tls_with_certificates_of_clients(tmp_path):
    authority = trustme.CA()
    certificate, own = authority.issue_cert("localhost"), authority.issue_cert("client")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = [f"--tls-cert={tmp_path / 'server.pem'}", f"--tls-ca={tmp_path / 'ca.pem'}"]
    with JobServerProcess(*files) as server:
        assert "over TLS" in server.greeting
        tls = {"cafile": str(tmp_path / "ca.pem"), "server_hostname": "localhost"}
        address = {"host": "127.0.0.1", "port": server.port}
        backend = GearmandBackend(
            [
                ServerAddress.parse(
                    {**address, "tls": {**tls, "certfile": str(tmp_path / "client.pem")}}
                )
            ]
        )
        worker = backend.register(["f"])
        [submission] = backend.submit([JobSpec("f", b"x" * 1_000_000)])
        job = worker.grab_job(PATIENCE)
        assert job is not None
        worker.send(job, WorkComplete(job.workload))
        assert submission.next_update(PATIENCE) == WorkComplete(job.workload)
        worker.close()
        backend.close()

        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        with (
            pytest.raises(OSError, match=r"(?i)certificate|reset|closed"),
            socket.create_connection(("127.0.0.1", server.port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            secure.sendall(b"version\n")
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                if not secure.recv(100):
                    raise ConnectionResetError("closed")
