"""Clients and workers of other programs on the included job server, without our workers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gear
import pytest

from django_gearman.protocol.packets import PacketType
from tests.support.gearmand import wait_until
from tests.support.job_server import PATIENCE, ROOT, JobServerProcess, Wire

pytestmark = pytest.mark.integration

NODE_MODULES = ROOT / ".node" / "node_modules"
NODE_WORKER = """
const worker = require("gearman")("127.0.0.1", Number(process.argv.at(-1)));
worker.on("JOB_ASSIGN", (job) => {
  if (job.func_name == "node.fail") worker.sendWorkFail(job.handle);
  else {
    worker.sendWorkStatus(job.handle, "1", "2");
    worker.sendWorkComplete(job.handle, job.payload.toString().toUpperCase());
  }
  worker.preSleep();
});
worker.on("NOOP", () => worker.grabJob());
worker.connect(() => {
  worker.addFunction("node.upper");
  worker.addFunction("node.fail");
  worker.preSleep();
});
"""
NODE_CLIENT = """
const client = require("gearman")("127.0.0.1", Number(process.argv.at(-1)));
const seen = [];
for (const kind of ["WORK_STATUS", "WORK_COMPLETE", "WORK_FAIL"])
  client.on(kind, (job) => {
    seen.push([kind, job.payload ? job.payload.toString() : ""]);
    if (kind == "WORK_COMPLETE") client.submitJob("node.fail", "x");
    if (kind == "WORK_FAIL") { console.log(JSON.stringify(seen)); client.close(); }
  });
client.connect(() => client.submitJob("node.upper", "gr\\u00fc\\u00df"));
"""


@pytest.fixture(params=["memory", "store"])
def server(request, tmp_path) -> Iterator[JobServerProcess]:
    arguments = [f"--store={tmp_path}/jobs.db"] if request.param == "store" else []
    with JobServerProcess(*arguments) as started:
        yield started


def missing(what: str) -> None:
    """Skip the test; a change must be tested with all programs."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture
def run(server: JobServerProcess) -> Callable[..., str]:
    """Run a tool of libgearman or gearmand, and return its output."""

    def run_tool(tool: str, *arguments: str, input: str = "", code: int = 0) -> str:
        if (program := shutil.which(tool)) is None:
            missing(f"{tool} is not installed: apt-get install gearman-tools")
        done = subprocess.run(
            [str(program), "-h", "127.0.0.1", "-p", str(server.port), *arguments],
            input=input,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == code, done
        return done.stdout

    return run_tool


@contextlib.contextmanager
def running(*command: str, environment: dict[str, str] | None = None) -> Iterator[None]:
    process = subprocess.Popen(command, env={**os.environ, **(environment or {})})
    try:
        yield
    finally:
        process.kill()
        process.wait()


def has_workers(server: JobServerProcess, function: str, number: int = 1) -> None:
    def there() -> bool:
        with Wire(server.port) as wire:
            return f"{function}\t0\t0\t{number}\n" in wire.ask("status")

    wait_until(there, f"{number} workers for {function}")


# libgearman: the tools gearman and gearadmin


def test_a_client_and_a_worker_in_c(server, run):
    worker = [str(shutil.which("gearman")), "-h127.0.0.1", f"-p{server.port}", "-w"]
    with running(*worker, "-f", "reverse", "--", "rev"), running(*worker, "-f", "fail", "false"):
        has_workers(server, "reverse")
        has_workers(server, "fail")

        assert run("gearman", "-f", "reverse", "hello") == "olleh"
        assert run("gearman", "-f", "reverse", "-I", "hello") == "olleh"
        assert run("gearman", "-f", "reverse", "-L", "-u", "x", "hello") == "olleh"
        large = "x" * 300_000
        assert run("gearman", "-f", "reverse", input=large) == large
        assert run("gearman", "-f", "reverse", "-n", input="ab\ncd\n") == "ba\ndc\n"
        run("gearman", "-f", "fail", "x", code=1)
        run("gearman", "-b", "-f", "reverse", "hello")
        has_workers(server, "reverse")


def test_the_tool_of_administrators(server, run):
    handle = ""
    with Wire(server.port) as client:
        handle = client.submit(b"f", b"x", b"mine", PacketType.SUBMIT_JOB_BG).decode()

        assert run("gearadmin", "--status") == "f\t1\t0\t0\n.\n"
        assert handle in run("gearadmin", "--show-jobs")
        assert "mine" in run("gearadmin", "--show-unique-jobs")
        assert "127.0.0.1 - :" in run("gearadmin", "--workers")
        assert run("gearadmin", "--getpid").strip() == str(server.process.pid)
        assert "2.0.0" in run("gearadmin", "--server-version")
        run("gearadmin", "--server-verbose")
        run("gearadmin", "--create-function", "g")
        assert run("gearadmin", "--status") == "f\t1\t0\t0\ng\t0\t0\t0\n.\n"
        run("gearadmin", "--drop-function", "g")
        run("gearadmin", "--cancel-job", handle)
        assert run("gearadmin", "--status") == "f\t0\t0\t0\n.\n"


# gear, in Python

of_gear = pytest.mark.filterwarnings("ignore:notifyAll:DeprecationWarning")


class Worker(threading.Thread):
    """A worker of gear's, in a thread."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.worker = gear.Worker("gear")
        self.worker.addServer("127.0.0.1", port)
        self.worker.waitForServer()
        for function in ("gear.upper", "gear.fail", "gear.raise"):
            self.worker.registerFunction(function)

    def run(self) -> None:
        with contextlib.suppress(gear.InterruptedError):
            while True:
                job = self.worker.getJob()
                if job.name == "gear.fail":
                    job.sendWorkFail()
                elif job.name == "gear.raise":
                    job.sendWorkException(b"out of ink")
                else:
                    job.sendWorkData(b"data")
                    job.sendWorkStatus(1, 2)
                    job.sendWorkComplete(job.arguments.upper())


def submit(client: gear.Client, *job: str, **options: Any) -> gear.TextJob:
    submitted = gear.TextJob(*job)
    client.submitJob(submitted, **options)
    return submitted


@pytest.fixture
def gear_client(server: JobServerProcess) -> Iterator[gear.Client]:
    worker = Worker(server.port)
    worker.start()
    has_workers(server, "gear.upper")
    client = gear.Client("gear")
    client.addServer("127.0.0.1", server.port)
    client.waitForServer()
    yield client
    client.shutdown()
    worker.worker.stopWaitingForJobs()
    worker.join(PATIENCE)
    worker.worker.shutdown()


@of_gear
def test_a_client_and_a_worker_of_gear(server, gear_client):
    client = gear_client
    jobs = [
        submit(client, "gear.upper", "hello", precedence=precedence)
        for precedence in (gear.PRECEDENCE_LOW, gear.PRECEDENCE_NORMAL, gear.PRECEDENCE_HIGH)
    ]
    failing = submit(client, "gear.fail", "x")
    raising = submit(client, "gear.raise", "x")
    background = submit(client, "gear.upper", "x", background=True)

    wait_until(lambda: all(job.complete for job in [*jobs, failing, raising]), "their ends")

    assert [job.data for job in jobs] == [["data", "HELLO"]] * 3
    assert [(job.numerator, job.denominator) for job in jobs] == [(b"1", b"2")] * 3
    assert (failing.failure, raising.failure) == (True, True)
    assert background.handle
    has_workers(server, "gear.upper")


@of_gear
def test_gear_as_an_administrator(server, gear_client):
    with Wire(server.port) as wire:
        handle = wire.submit(b"nobody", b"x", kind=PacketType.SUBMIT_JOB_BG)
    connection = gear_client.getConnection()

    for request in (gear.StatusAdminRequest(), gear.WorkersAdminRequest()):
        connection.sendAdminRequest(request)
        assert b"gear" in request.response
    cancel = gear.CancelJobAdminRequest(handle)
    connection.sendAdminRequest(cancel)
    assert cancel.response == b"OK\r\n"


# Node


def test_a_client_and_a_worker_in_node(server):
    node = shutil.which("node")
    if node is None or not Path(NODE_MODULES, "gearman").is_dir():
        missing("a Node client is not installed: npm install --prefix .node gearman@2.1.0")
    environment = {"NODE_PATH": str(NODE_MODULES)}
    command = [str(node), "-e"]
    with running(*command, NODE_WORKER, "--", str(server.port), environment=environment):
        has_workers(server, "node.upper")
        done = subprocess.run(
            [*command, NODE_CLIENT, "--", str(server.port)],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )

    seen = json.loads(done.stdout)
    assert [kind for kind, _ in seen] == ["WORK_STATUS", "WORK_COMPLETE", "WORK_FAIL"]
    assert seen[1][1] == "GRÜSS"
