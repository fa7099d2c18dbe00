"""A private job server: gearmand, or the included one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from django_gearman.backends.base import JobSpec
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.protocol.address import ServerAddress
from django_gearman.testing import GearmandNotInstalled, GearmanServer, programs
from django_gearman.testing import gearmand as module
from tests.support.gearmand import wait_until


def backend_at(server: GearmanServer) -> GearmandBackend:
    return GearmandBackend([ServerAddress.parse(server.address)], connect_timeout=1.0)


@pytest.fixture(params=[pytest.param("gearmand", marks=pytest.mark.gearmand), "gearman_server"])
def either(request, monkeypatch) -> str:
    """Run a test with gearmand and with the included server as private servers."""
    if request.param == "gearman_server":
        monkeypatch.setenv("GEARMAND", "gearman_server")
    return str(request.param)


def test_it_runs_empty_until_the_block_ends(either):
    with GearmanServer() as server:
        assert server.name == either
        assert backend_at(server).functions() == []
        process = server.process

    assert process.poll() is not None


def test_it_pauses_and_resumes_and_starts_again(either):
    with GearmanServer() as server:
        server.pause()
        server.resume()
        backend_at(server).submit([JobSpec("f", b"x", background=True)])
        address = server.address
        server.kill()
        server.start()

        assert server.address == address
        assert backend_at(server).functions() == []


@pytest.mark.gearmand
def test_arguments_are_those_of_gearmand(monkeypatch):
    with GearmanServer("--verbose=INFO") as server:
        assert server.name == "gearmand"

    monkeypatch.setenv("GEARMAND", "gearman_server")
    with pytest.raises(GearmandNotInstalled, match="is the included server, and no gearmand"):
        GearmanServer("--verbose=INFO")


def test_the_included_one_takes_its_own_arguments(tmp_path):
    store = f"--store={tmp_path}/jobs.db"
    with GearmanServer(store, program=programs.included_server()) as server:
        backend_at(server).submit([JobSpec("f", b"x", background=True)])
        server.kill()
        server.start()

        [row] = backend_at(server).functions()
        assert (row.function, row.total) == ("f", 1)


def test_it_is_reset_only_when_something_is_left(either):
    with GearmanServer() as server:
        first = server.process
        server.reset()
        assert server.process is first

        backend_at(server).submit([JobSpec("f", b"x", background=True)])
        server.reset()
        assert server.process is not first
        assert backend_at(server).functions() == []

        server.kill()
        server.reset()
        assert backend_at(server).functions() == []


@pytest.mark.gearmand
def test_one_that_does_not_start_tells_its_log():
    with pytest.raises(RuntimeError, match=r"does not start at 127.*no-such-option"):
        GearmanServer("--no-such-option")


@pytest.mark.gearmand
def test_the_environment_chooses_the_program(monkeypatch, tmp_path):
    chosen = tmp_path / "another"
    chosen.symlink_to(programs.find_gearmand())
    monkeypatch.setenv("GEARMAND", str(chosen))

    with GearmanServer() as server:
        command = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
        assert str(chosen).encode() in command


def test_a_program_that_is_chosen_and_missing_is_not_a_reason_to_skip(monkeypatch):
    monkeypatch.setenv("GEARMAND", "/no/gearmand")

    with pytest.raises(RuntimeError, match="'/no/gearmand' is not a program"):
        GearmanServer()


def test_the_included_server_runs_if_gearmand_is_not_installed(monkeypatch):
    monkeypatch.delenv("GEARMAND", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(programs, "_PLACES", "")

    with GearmanServer() as server:
        assert server.name == "gearman_server"
    with pytest.raises(GearmandNotInstalled, match="apt-get install gearman-job-server"):
        GearmanServer("--verbose=INFO")


def test_another_server_at_its_port_is_not_taken_for_it(either, monkeypatch):
    with GearmanServer() as first:
        ports = iter([first.port, first.port, module.free_port()])
        monkeypatch.setattr(module, "free_port", lambda: next(ports))
        monkeypatch.setattr(module, "_SECONDS", 2.0)

        with GearmanServer() as second:
            assert second.port != first.port
            backend_at(first).submit([JobSpec("f", b"x", background=True)])
            assert backend_at(second).functions() == []


def test_a_worker_left_running_does_not_find_it_after_a_reset(either):
    with GearmanServer() as server:
        left = backend_at(server).register(["f"])
        assert left.grab_job(0.1) is None

        server.reset()

        assert left.grab_job(0.5) is None
        assert backend_at(server).workers() == []
        left.close()


def test_one_that_hangs_is_replaced_by_a_reset(either):
    with GearmanServer() as server:
        server.pause()
        server.reset()

        assert backend_at(server).functions() == []


def test_it_ends_with_the_process_that_started_it(either, tmp_path):
    program = """
import sys, time
from django_gearman.testing import GearmanServer
print(GearmanServer().process.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        parent.kill()

    wait_until(lambda: not Path(f"/proc/{server}/exe").exists(), "its end")
